"""From a configuration to a world that is ready to run."""

from __future__ import annotations

from sim.assembly.assembly import Assembly, assemble

__all__ = ["Assembly", "assemble"]
