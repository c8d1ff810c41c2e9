"""Full offload: every frame goes to the server whole, is inferred densely there, and nothing is reused.

How the papers were read, and why the default codec is PNG: README.md beside this module.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sim.components.context import SystemContext
from sim.components.message_sizes import NOTICE_BYTES, RESULT_BYTES
from sim.components.server_memory import ServerMemory
from sim.physics.events import Unreachable
from sim.records.outcome import Outcome
from sim.systems.full_offload.encoders import DrawnFrameEncoder, FrameEncoder, PixelFrameEncoder
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError

Codec = Literal["raw", "png", "jpeg", "h264"]
CODECS: tuple[str, ...] = get_args(Codec)
LOSSLESS = ("raw", "png")  # what arrives is the frame


class FullOffload:
    """One camera's full offload."""

    works_without_pixels = True

    @dataclass(frozen=True, slots=True)
    class Options:
        """How frames are encoded.

        Args:
            codec: "raw", "png" (lossless), "jpeg" (4:2:0), or "h264" (one stream, each frame against the
                last).
            quality: of JPEG, 1 to 95.
            crf: constant rate factor of H.264, 0 to 51; lower is better.
            keyframe_interval: frames of H.264 from one keyframe to the next at the latest.
            result_bytes: size of a result on the downlink.
        """

        codec: Codec = "png"
        quality: int = 85
        crf: float = 23.0
        keyframe_interval: int = 250
        result_bytes: int = RESULT_BYTES

        def __post_init__(self) -> None:
            if self.codec not in CODECS:
                raise InputError(f"system.codec: expected one of {', '.join(CODECS)}, found {self.codec!r}")
            if not 1 <= self.quality <= 95:
                raise InputError(f"system.quality: expected 1 to 95, found {self.quality}")
            if not 0.0 <= self.crf <= 51.0:
                raise InputError(f"system.crf: expected a rate factor of 0 to 51, found {self.crf}")
            if self.keyframe_interval < 1:
                raise InputError(
                    f"system.keyframe_interval: expected at least 1 frame, found {self.keyframe_interval}"
                )
            if self.result_bytes < 0:
                raise InputError(f"system.result_bytes: expected >= 0 bytes, found {self.result_bytes}")

    def __init__(self, context: SystemContext, options: Options) -> None:
        self.options = options
        self.blocks_total = context.geometry.blocks_total
        self.network = context.network()
        self.encoder: FrameEncoder
        if context.counts is not None:
            self.encoder = DrawnFrameEncoder(context.counts, options.codec)
        else:
            self.encoder = PixelFrameEncoder.of(
                options.codec, options.quality, options.crf, options.keyframe_interval
            )
        self._stream = self.encoder.builds_on_last
        self._lossless = options.codec in LOSSLESS
        self._decoder = ServerMemory()  # the server's half of a stream
        self._in_stream = False  # whether the next frame builds on the last one

    @property
    def max_in_flight(self) -> int:
        """One where a frame builds on the last, as H.264's do."""
        return 1 if self._stream else 4

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Encode, send, infer densely, reply."""
        total = self.blocks_total
        needs_decoder = self._in_stream
        message = self.encoder.encode(frame)
        if (encoding := world.encode(total)) is not None:
            yield encoding
        try:
            yield world.send(message.size_bytes)
            if needs_decoder and self._decoder.lost(world):
                yield world.reply(NOTICE_BYTES)
                raise Unreachable("the server has lost its decoder")
            if self._stream:
                self._decoder.fill(world)
            result = self.network.dense(frame, message.decoded)
            yield world.infer_cloud_dense()
            yield world.reply(self.options.result_bytes)
        except Unreachable:
            self.encoder.restart()
            self._in_stream = False
            raise
        self._in_stream = self._stream
        rests_on = None if self._lossless else message.decoded
        return Outcome("cloud", total, total, 0, None, total, result=result, rests_on=rests_on)
