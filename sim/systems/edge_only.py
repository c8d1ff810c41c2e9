"""Edge only: dense inference on the edge for every frame, no network."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from sim.content.interface import Content, Frame, Network
from sim.records.outcome import Outcome
from sim.world.frame_world import FrameWorld


@dataclass(frozen=True, slots=True)
class EdgeOnlyOptions:
    """Nothing to choose."""


@dataclass(slots=True, eq=False)
class EdgeOnly:
    """One camera's edge-only inference.

    Args:
        content: says how many blocks a frame has.
        options: none so far.
    """

    content: Content
    options: EdgeOnlyOptions = EdgeOnlyOptions()
    network: Network = field(init=False)

    def __post_init__(self) -> None:
        self.network = self.content.network()

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Infer densely."""
        total = self.content.blocks_total
        yield world.infer_edge_dense()
        return Outcome("edge", total, total, 0, total, None, result=self.network.dense(frame))
