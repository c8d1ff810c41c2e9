"""Edge only: dense inference on the edge for every frame."""

from __future__ import annotations

from sim.systems.edge_only.system import EdgeOnly

__all__ = ["EdgeOnly"]
