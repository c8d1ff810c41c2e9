"""What a run is: sections of checked keys, classes that a YAML names, model cards."""

from __future__ import annotations

from sim.configuration.sections import RunConfig, read_config

__all__ = ["RunConfig", "read_config"]
