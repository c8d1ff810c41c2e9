"""Full offload: every frame goes to the server whole, is inferred densely there, and nothing is reused.

Frames are coded each by itself, or as one stream: two classes, since what either can be set to is nothing to
the other. How the papers were read, and what they seem to have sent: README.md beside this module.
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
from sim.components.frame_offload import FrameOffload
from sim.components.message_sizes import check_result_bytes
from sim.components.payload import Payload, check_recorded
from sim.components.turns import FRAMES_UNDER_WAY
from sim.records.outcome import Outcome
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError

STREAM = "h264"  # the codec that is no payload of blocks: each frame builds on the last


class _WholeFrames:
    """One camera's full offload, however frames are coded."""

    works_without_pixels = True
    # Frames of a stream are sent in order, and the next may be encoded once one is on its way.
    max_in_flight = FRAMES_UNDER_WAY

    def __init__(
        self, context: SystemContext, payload: Payload, encoder: FrameEncoder, result_bytes: int | None
    ) -> None:
        self.payload_codec, self.payload_quality = payload.codec, payload.quality
        self.offload = FrameOffload(encoder, payload, context.network(), context.geometry, result_bytes)

    @property
    def encoder(self) -> FrameEncoder:
        """What makes messages of frames."""
        return self.offload.encoder

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Encode, send, infer densely, reply."""
        return self.offload.process(frame, world)


class FullOffload(_WholeFrames):
    """Each frame coded by itself."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """How frames are encoded.

        Args:
            codec: a payload codec ("jpeg", "png", "raw", …); None: the payload's.
            quality: of that; None: the payload's.
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        codec: str | None = None
        quality: int | None = None
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            if self.codec == STREAM:
                raise InputError(
                    "system.codec: expected null or a payload codec, whose frames do not build on one "
                    f"another (a stream is system=full_offload_h264), found {self.codec!r}"
                )
            check_result_bytes(self.result_bytes)

    def __init__(self, context: SystemContext, options: Options) -> None:
        codec = context.block_codec(options.codec, options.quality)
        encoder: FrameEncoder
        if context.counts is None:
            encoder = PixelFrameEncoder(context.frame_codec(options.codec, options.quality))
        else:
            recorded = context.counts.statistics.frame_bytes
            check_recorded(codec, recorded, options.codec, options.quality)
            encoder = DrawnFrameEncoder(context.counts, codec.name)
        super().__init__(context, Payload.of(codec), encoder, options.result_bytes)


class FullOffloadStream(_WholeFrames):
    """One H.264 stream of constant quality, each frame against the last."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """How the stream is encoded.

        Args:
            crf: constant rate factor of H.264, 0 to 51; lower is better.
            keyframe_interval: frames from one keyframe to the next at the latest.
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        crf: float = 23.0
        keyframe_interval: int = 250
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            if not 0.0 <= self.crf <= 51.0:
                raise InputError(f"system.crf: expected a rate factor of 0 to 51, found {self.crf}")
            if self.keyframe_interval < 1:
                raise InputError(
                    f"system.keyframe_interval: expected at least 1 frame, found {self.keyframe_interval}"
                )
            check_result_bytes(self.result_bytes)

    def __init__(self, context: SystemContext, options: Options) -> None:
        encoder: FrameEncoder
        if context.counts is None:
            encoder = PixelFrameEncoder.stream(options.crf, options.keyframe_interval)
        else:
            check_recorded_stream(options.crf, options.keyframe_interval)
            encoder = DrawnFrameEncoder(context.counts, STREAM)
        super().__init__(context, Payload(STREAM, options.crf), encoder, options.result_bytes)
