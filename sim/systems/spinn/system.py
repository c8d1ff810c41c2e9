"""SPINN as the first FluxShard paper reads it: a network cut once, its features uncompressed (§6.2).

The edge computes up to a fixed cut, the features cross the link as float32, the server computes the rest. How
the cut is chosen, and what of SPINN itself is not here: README.md beside this module.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from profiler.latency import Cut
from sim.components.context import SystemContext
from sim.components.message_sizes import check_result_bytes, result_bytes
from sim.components.splits import FLOAT_BITS, cut_after, fastest_cut, feature_bytes, inner_cuts
from sim.records.outcome import Outcome
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError


class Spinn:
    """One camera's static split."""

    works_without_pixels = True
    max_in_flight = 4  # no frame builds on another

    @dataclass(frozen=True, slots=True)
    class Options:
        """Where the network is cut.

        Args:
            variant: "static", the paper's reading; there is no other yet.
            after: the layer to cut after; None chooses the fastest cut at `nominal_bps`.
            nominal_bps: the uplink that the cut is chosen for: the papers' medium level.
            bits: of a feature value on the wire; 32 is float32 as it is.
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        variant: Literal["static"] = "static"
        after: str | None = None
        nominal_bps: float = 56e6
        bits: int = 32
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            if self.variant != "static":
                raise InputError(f"system.variant: expected static, found {self.variant!r}")
            if not (isfinite(self.nominal_bps) and self.nominal_bps > 0.0):
                raise InputError(f"system.nominal_bps: expected a rate > 0 bit/s, found {self.nominal_bps}")
            if not 1 <= self.bits <= 32:
                raise InputError(f"system.bits: expected 1 to 32 bits a value, found {self.bits}")
            check_result_bytes(self.result_bytes)

        @property
        def unmeasured(self) -> str | None:
            """Why accuracy cannot be measured: features are quantised, and what runs may be a stand-in."""
            if self.bits == FLOAT_BITS:
                return None
            return (
                f"system.bits={self.bits} quantises features of the run's model, which may not be what runs"
            )

    def __init__(self, context: SystemContext, options: Options) -> None:
        self.options = options
        self.blocks_total = context.geometry.blocks_total
        self.cuts = context.cuts()
        self.cut: Cut | None = None  # chosen with the first frame, then fixed
        self.network = context.network()
        inner_cuts(self.cuts)
        if options.after is not None:
            self.cut = cut_after(self.cuts, options.after)

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """The network's front on the edge, its features up, its rear in the cloud, the result down."""
        options = self.options
        if self.cut is None:
            edge_s, cloud_s = world.edge.profile.dense_s, world.cloud.profile.dense_s
            self.cut = fastest_cut(self.cuts, edge_s, cloud_s, options.nominal_bps, options.bits)
        cut = self.cut
        yield world.infer_edge_dense(cut.arithmetic_share)
        yield world.send(feature_bytes(cut, options.bits))
        yield world.infer_cloud_dense(1.0 - cut.arithmetic_share)
        result = self.network.dense(frame)
        yield world.reply(result_bytes(options.result_bytes, result))
        total = self.blocks_total
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
