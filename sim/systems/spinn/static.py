"""SPINN as the first FluxShard paper reads it: a network cut once, its features uncompressed (§6.2).

The edge computes up to a fixed cut, the features cross the link as float32, the server computes the rest. How
the cut is chosen, and what of SPINN itself is not here: README.md beside this module.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from profiler.latency import Cut
from sim.components.context import SystemContext
from sim.components.message_sizes import result_bytes
from sim.components.splits import cut_after, fastest_cut, feature_bytes, inner_cuts
from sim.records.outcome import Outcome
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld


@dataclass(slots=True, eq=False)
class StaticSplit:
    """One camera's static split.

    Args:
        context: what it is built on.
        after: the layer to cut after; None chooses the fastest cut at `nominal_bps`.
        nominal_bps: the uplink that the cut is chosen for.
        bits: of a feature value on the wire; 32 is float32 as it is.
        result_bytes: size of a result on the downlink; None: of the network's result.
    """

    context: SystemContext
    after: str | None
    nominal_bps: float
    bits: int
    result_bytes: int | None
    cuts: tuple[Cut, ...] = field(init=False)
    cut: Cut | None = None  # chosen with the first frame, then fixed

    def __post_init__(self) -> None:
        self.cuts = self.context.cuts()
        inner_cuts(self.cuts)
        if self.after is not None:
            self.cut = cut_after(self.cuts, self.after)

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """The network's front on the edge, its features up, its rear in the cloud, the result down."""
        if self.cut is None:
            edge_s, cloud_s = world.edge.profile.dense_s, world.cloud.profile.dense_s
            self.cut = fastest_cut(self.cuts, edge_s, cloud_s, self.nominal_bps, self.bits)
        cut = self.cut
        yield world.infer_edge_dense(cut.arithmetic_share)
        yield world.send(feature_bytes(cut, self.bits))
        yield world.infer_cloud_dense(1.0 - cut.arithmetic_share)
        result = self.context.network().dense(frame)
        yield world.reply(result_bytes(self.result_bytes, result))
        total = self.context.geometry.blocks_total
        return Outcome(
            "split",
            total,
            total,
            0,
            active_edge=total,
            active_cloud=total,
            result=result,
            computed=total,
        )
