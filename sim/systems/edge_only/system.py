"""Edge only: dense inference on the edge for every frame, no network link."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from sim.components.context import SystemContext
from sim.records.outcome import Outcome
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld


class EdgeOnly:
    """One camera's edge-only inference."""

    works_without_pixels = True

    @dataclass(frozen=True, slots=True)
    class Options:
        """Nothing to choose."""

    def __init__(self, context: SystemContext, options: Options) -> None:
        self.blocks_total = context.geometry.blocks_total
        self.network = context.network()

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Infer densely."""
        total = self.blocks_total
        yield world.infer_edge_dense()
        result = self.network.dense(frame)
        return Outcome("edge", total, total, 0, active_edge=total, result=result, computed=total, sent=0)
