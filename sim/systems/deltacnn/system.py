"""DeltaCNN as the papers use it: changed pixels cross the link, a sparse network computes what they touch.

A pixel is active iff it differs by more than ε from an accumulated reference, which takes on the new value
at active pixels only: what is truncated adds up until it is sent. The blocks that hold active pixels are sent
with the payload's codec, as FluxShard's are; `codec: delta` sends the pixels alone, as values with a mask.
What the papers leave open, and what was chosen for it (time, place, coding, accuracy, ε): README.md beside
this module.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sim.components.context import SystemContext
from sim.components.deltas import (
    DeltaPaths,
    DeltaReference,
    check_delta_options,
)
from sim.components.payload import Payload
from sim.components.turns import FRAMES_UNDER_WAY
from sim.records.outcome import Outcome
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError

PIXELS_ALONE = "delta"  # the codec that is no payload of blocks


class DeltaCnn:
    """One camera's DeltaCNN.

    `shared` is the edge's copy of the reference that `server` builds from the messages; `local` is that of
    the edge's own network. After a frame that the server may not have, the next delta is a whole frame.
    """

    @dataclass(frozen=True, slots=True)
    class Options:
        """What counts as a change, and where it is computed.

        Args:
            threshold: ε, the difference on [0, 1] that a pixel must exceed to be active.
            dilation_px: side of the window whose largest difference decides, odd; 1 is the pixel alone.
            placement: "cloud", "edge", or "latency" (the side that should be through sooner).
            dense_fallback: infer densely where the sparse latency is larger.
            difference_s: time of the difference and mask on the edge; booked as edge computation.
            codec: of the blocks with active pixels; "delta": of the pixels alone, as values and a mask; None:
                the payload's.
            quality: of a payload codec; None: the payload's.
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        threshold: float = 0.15
        dilation_px: int = 1
        placement: str = "latency"
        dense_fallback: bool = True
        difference_s: float = 0.001
        codec: str | None = None
        quality: int | None = None
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            check_delta_options(self)
            if self.codec == PIXELS_ALONE and self.quality is not None:
                raise InputError(
                    f"system.quality: expected null with delta, which is lossless, found {self.quality}"
                )

    def __init__(self, context: SystemContext, options: Options) -> None:
        from kernels.codecs.block_delta import BlockDeltaReceiver
        from kernels.codecs.pixel_delta import PixelDeltaReceiver

        self.options = options
        geometry = context.geometry
        codec = None if options.codec == PIXELS_ALONE else context.block_codec(options.codec, options.quality)
        payload = (
            Payload(PIXELS_ALONE, None, lossless=True)
            if codec is None
            else Payload.of(codec, geometry.block_px)
        )
        self.payload_codec, self.payload_quality = payload.codec, payload.quality
        self.local = DeltaReference.empty(options.threshold, options.dilation_px, geometry.block_px)
        self.shared = DeltaReference.empty(options.threshold, options.dilation_px, geometry.block_px, codec)
        self.server = PixelDeltaReceiver() if codec is None else BlockDeltaReceiver(codec)
        self.paths = DeltaPaths.of(context, options, self.local, self.shared, self.server, payload, codec)

    max_in_flight = FRAMES_UNDER_WAY

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Take the difference, pick a side, infer what is active there."""
        return self.paths.process(frame, world, partial(self._difference, world))

    def _difference(self, world: FrameWorld) -> Generator[Any, Any, None]:
        if self.options.difference_s > 0.0:
            yield world.work_edge(self.options.difference_s)
