"""MotionDeltaCNN: deltas against a reference that one homography aligns the frame with.

A frame is drawn onto a canvas along the homography that explains most of its motion; the pixels that differ
from the canvas by more than ε cross the link, block by block, and a sparse network computes what they touch.
The canvas follows the camera in whole steps of the network's period, so that its features move exactly; what
it uncovers is computed anew, and where no homography explains the motion the canvas begins anew with the
whole frame. All else is DeltaCNN's (`sim/components/deltas`). What the paper leaves open, and what was chosen
for it: README.md beside this module.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sim.components.context import SystemContext
from sim.components.deltas import (
    DeltaPaths,
    check_delta_options,
    check_time,
)
from sim.components.payload import Payload
from sim.components.turns import FRAMES_UNDER_WAY
from sim.records.outcome import Outcome
from sim.systems.motion_deltacnn.alignment import CanvasTracker
from sim.systems.motion_deltacnn.canvas import CanvasReceiver, CanvasReference
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError


class MotionDeltaCnn:
    """One camera's MotionDeltaCNN.

    `shared` is the edge's copy of the canvas that `server` builds from the messages; `local` is that of the
    edge's own network.
    """

    @dataclass(frozen=True, slots=True)
    class Options:
        """What counts as a change, how frames are aligned, and where they are computed.

        Args:
            threshold: ε, the difference on [0, 1] that a pixel must exceed to be active.
            dilation_px: side of the window whose largest difference decides, odd; 1 is the pixel alone.
            min_inliers: share of the textured blocks whose motion the homography must explain; with fewer
                the whole frame is sent and inferred densely.
            min_overlap: share of the frame that a canvas centred on it must hold, which zooming and turning
                lessen; with less the canvas begins anew with the whole frame.
            period_px: steps in which the canvas moves: the network's largest stride, or a multiple.
            placement: "cloud", "edge", or "latency" (the side that should be through sooner).
            dense_fallback: infer densely where the sparse latency is larger.
            alignment_s: time of fitting the homography and drawing the frame along it on the edge, motion
                search apart; booked as edge computation.
            difference_s: time of the difference and mask on the edge; booked the same.
            codec: of the blocks with active pixels; None: the payload's.
            quality: of a payload codec; None: the payload's.
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        threshold: float = 0.15
        dilation_px: int = 1
        min_inliers: float = 0.5
        min_overlap: float = 0.9
        period_px: int = 32
        placement: str = "latency"
        dense_fallback: bool = True
        alignment_s: float = 0.011
        difference_s: float = 0.001
        codec: str | None = None
        quality: int | None = None
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            check_delta_options(self)
            check_time("alignment_s", self.alignment_s)
            for name in ("min_inliers", "min_overlap"):
                if not 0.0 <= (share := getattr(self, name)) <= 1.0:
                    raise InputError(f"system.{name}: expected a share in [0, 1], found {share}")
            if self.period_px < 1:
                raise InputError(f"system.period_px: expected at least 1 px, found {self.period_px}")

    def __init__(self, context: SystemContext, options: Options) -> None:
        context.need_pixels("frames to align")
        geometry, matching = context.geometry, context.matching
        if options.period_px % geometry.block_px:
            raise InputError(
                f"system.period_px: expected a multiple of the blocks' {geometry.block_px} px, "
                f"found {options.period_px}"
            )
        if matching.aligner != "search":
            raise InputError(
                "matching.aligner: expected search, from whose vectors the homography is fitted, "
                f"found {matching.aligner!r}"
            )
        self.options = options
        codec = context.block_codec(options.codec, options.quality)
        payload = Payload.of(codec, geometry.block_px)
        self.payload_codec, self.payload_quality = payload.codec, payload.quality
        self.local, self.shared = (
            CanvasReference(
                geometry,
                CanvasTracker(geometry, matching.radius_px, options.min_inliers, rng),
                options.threshold,
                options.dilation_px,
                options.period_px,
                options.min_overlap,
                own_codec,
            )
            for own_codec, rng in zip((None, codec), context.rng.spawn(2), strict=True)
        )
        self.server = CanvasReceiver(codec)
        self.paths = DeltaPaths.of(context, options, self.local, self.shared, self.server, payload, codec)

    max_in_flight = FRAMES_UNDER_WAY

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Align, take the difference, pick a side, infer what is active there."""
        return self.paths.process(frame, world, partial(self._prepare, world))

    def _prepare(self, world: FrameWorld) -> Generator[Any, Any, None]:
        yield world.extract()
        work_s = self.options.alignment_s + self.options.difference_s
        if work_s > 0.0:
            yield world.work_edge(work_s)
