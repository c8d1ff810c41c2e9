"""Full offload: every frame goes to the server whole."""

from __future__ import annotations

from sim.systems.full_offload.system import FullOffload, FullOffloadStream

__all__ = ["FullOffload", "FullOffloadStream"]
