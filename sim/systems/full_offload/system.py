"""Full offload: every frame goes to the server whole, is inferred densely there, and nothing is reused.

How the papers were read, and what they seem to have sent: README.md beside this module.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from sim.components.context import SystemContext
from sim.components.frame_encoders import (
    DrawnFrameEncoder,
    FrameEncoder,
    PixelFrameEncoder,
    check_recorded_stream,
)
from sim.components.frame_offload import FRAMES_UNDER_WAY, FrameOffload
from sim.components.message_sizes import check_result_bytes
from sim.components.payload import Payload, check_recorded
from sim.records.outcome import Outcome
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError

STREAM = "h264"  # the codec that is no payload of blocks: each frame builds on the last


class FullOffload:
    """One camera's full offload."""

    works_without_pixels = True

    @dataclass(frozen=True, slots=True)
    class Options:
        """How frames are encoded.

        Args:
            codec: a payload codec ("jpeg", "png", "raw", …), or "h264" (one stream, each frame against the
                last); None: the payload's.
            quality: of a payload codec; None: the payload's.
            crf: constant rate factor of H.264, 0 to 51; lower is better.
            keyframe_interval: frames of H.264 from one keyframe to the next at the latest.
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        codec: str | None = None
        quality: int | None = None
        crf: float = 23.0
        keyframe_interval: int = 250
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            if self.codec == STREAM and self.quality is not None:
                raise InputError(
                    "system.quality: expected null with h264, whose quality is system.crf, "
                    f"found {self.quality}"
                )
            if not 0.0 <= self.crf <= 51.0:
                raise InputError(f"system.crf: expected a rate factor of 0 to 51, found {self.crf}")
            if self.keyframe_interval < 1:
                raise InputError(
                    f"system.keyframe_interval: expected at least 1 frame, found {self.keyframe_interval}"
                )
            check_result_bytes(self.result_bytes)

    def __init__(self, context: SystemContext, options: Options) -> None:
        self.options = options
        if options.codec == STREAM:
            payload = Payload(STREAM, options.crf)
        else:
            payload = Payload.of(context.block_codec(options.codec, options.quality))
        self.payload_codec, self.payload_quality = payload.codec, payload.quality
        self.offload = FrameOffload(
            self._encoder(context), payload, context.network(), context.geometry, options.result_bytes
        )

    @property
    def encoder(self) -> FrameEncoder:
        """What makes messages of frames."""
        return self.offload.encoder

    def _encoder(self, context: SystemContext) -> FrameEncoder:
        options = self.options
        if context.counts is not None:
            if options.codec == STREAM:
                check_recorded_stream(options.crf, options.keyframe_interval)
                return DrawnFrameEncoder(context.counts, STREAM)
            codec = context.block_codec(options.codec, options.quality)
            recorded = context.counts.statistics.frame_bytes
            check_recorded(codec, recorded, options.codec, options.quality)
            return DrawnFrameEncoder(context.counts, codec.name)
        if options.codec == STREAM:
            return PixelFrameEncoder.stream(options.crf, options.keyframe_interval)
        return PixelFrameEncoder(context.frame_codec(options.codec, options.quality))

    @property
    def max_in_flight(self) -> int:
        """Frames of a stream are sent in order, and the next may be encoded once one is on its way."""
        return FRAMES_UNDER_WAY

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Encode, send, infer densely, reply."""
        return self.offload.process(frame, world)
