"""Full offload: every frame goes to the server whole, is inferred densely there, and nothing is reused.

How the papers were read, and what they seem to have sent: README.md beside this module.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from profiler.latency import KEYFRAME
from sim.components.context import SystemContext
from sim.components.message_sizes import NOTICE_BYTES, check_result_bytes, result_bytes
from sim.components.payload import Payload, check_recorded
from sim.components.server_memory import ServerMemory
from sim.physics.events import Unreachable
from sim.records.outcome import Outcome
from sim.systems.full_offload.encoders import (
    DrawnFrameEncoder,
    FrameEncoder,
    PixelFrameEncoder,
    check_recorded_stream,
)
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
        self.blocks_total = context.geometry.blocks_total
        self.network = context.network()
        self.pixels = context.geometry.height_px * context.geometry.width_px
        if options.codec == STREAM:
            payload = Payload(STREAM, options.crf)
        else:
            payload = Payload.of(context.block_codec(options.codec, options.quality))
        self.payload_codec, self.payload_quality = payload.codec, payload.quality
        self.encoder = self._encoder(context)
        self._stream = self.encoder.builds_on_last
        self._lossless = payload.lossless
        self._decoder = ServerMemory()  # the server's half of a stream
        self._in_stream = False  # whether the next frame builds on the last one

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
        """One where a frame builds on the last, as H.264's do."""
        return 1 if self._stream else 4

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Encode, send, infer densely, reply."""
        total = self.blocks_total
        needs_decoder = self._in_stream
        message = self.encoder.encode(frame)
        codec = self.payload_codec + KEYFRAME if message.keyframe else self.payload_codec
        encoding = world.encode(codec, self.pixels, message.size_bytes)
        if not encoding.processed:  # otherwise there is nothing to wait for
            yield encoding
        try:
            yield world.send(message.size_bytes)
            if needs_decoder and self._decoder.lost(world):
                yield world.reply(NOTICE_BYTES)
                raise Unreachable("the server has lost its decoder")
            if self._stream:
                self._decoder.fill(world)
            decoding = world.decode(codec, self.pixels, message.size_bytes)
            if not decoding.processed:
                yield decoding
            result = self.network.dense(frame, message.decoded)
            yield world.infer_cloud_dense()
            yield world.reply(result_bytes(self.options.result_bytes, result))
        except Unreachable:
            self.encoder.restart()
            self._in_stream = False
            raise
        self._in_stream = self._stream
        rests_on = None if self._lossless else message.decoded
        return Outcome(
            "cloud",
            total,
            total,
            0,
            active_cloud=total,
            result=result,
            rests_on=rests_on,
            computed=total,
            sent=total,
        )
