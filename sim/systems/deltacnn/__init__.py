"""DeltaCNN: changed pixels against an accumulated reference, no motion."""

from __future__ import annotations

from sim.systems.deltacnn.system import DeltaCnn

__all__ = ["DeltaCnn"]
