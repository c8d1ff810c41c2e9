"""Whole frames as messages: really encoded, or of a size drawn from a recording."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.world.frame import Frame
from traces.errors import InputError

if TYPE_CHECKING:
    from kernels.codecs.frame_codecs import FrameCodec
    from traces.video.block_statistics import BlockSampler


class EncodedFrame(Protocol):
    """One frame on its way."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    @property
    def keyframe(self) -> bool:
        """Whether it is a keyframe of a stream."""

    @property
    def coded_pixels(self) -> int | None:
        """Pixels that were coded, where that is not the whole frame at its size."""

    def decoded(self) -> NDArray[np.uint8]:
        """The frame as it arrives, (H, W, 3); a stream's frames must be asked for in order."""


class FrameEncoder(Protocol):
    """Encodes whole frames, one after another."""

    @property
    def builds_on_last(self) -> bool:
        """Whether a frame decodes only after the one before it."""

    def encode(self, frame: Frame) -> EncodedFrame:
        """The encoded frame. Encoders with memory must be given each frame that is sent, once."""

    def restart(self) -> None:
        """The far side may have missed a frame: the next one must decode without any before it."""


class Decoder(Protocol):
    """The far side of a codec."""

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """The frame of a message; a stream's messages must come in order."""


@dataclass(slots=True, eq=False)
class Packet:
    """Bytes of a codec, decoded once, whoever asks."""

    codec: Decoder
    data: bytes
    keyframe: bool = False
    coded_pixels: int | None = None
    _decoded: NDArray[np.uint8] | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def decoded(self) -> NDArray[np.uint8]:
        if self._decoded is None:
            self._decoded = self.codec.decode(self.data)
        return self._decoded


@dataclass(frozen=True, slots=True, eq=False)
class PixelFrameEncoder:
    """Frames through a codec of `kernels.codecs.frame_codecs`."""

    codec: FrameCodec

    @classmethod
    def stream(cls, crf: float, keyframe_interval: int) -> PixelFrameEncoder:
        """One H.264 stream of constant quality."""
        from kernels.codecs.frame_codecs import H264Codec

        return cls(H264Codec(crf=crf, keyframe_interval=keyframe_interval))

    @property
    def builds_on_last(self) -> bool:
        return self.codec.builds_on_last

    def encode(self, frame: Frame) -> Packet:
        data = self.codec.encode(frame.pixels)
        return Packet(self.codec, data, getattr(self.codec, "keyframe", False))

    def restart(self) -> None:
        from kernels.codecs.frame_codecs import H264Codec

        if isinstance(self.codec, H264Codec):
            self.codec.force_keyframe()


RECORDED_STREAM = (23.0, 250)  # rate factor and keyframe interval of the streams in statistics of videos


def check_recorded_stream(crf: float, keyframe_interval: int) -> None:
    """Refuse a stream whose sizes the statistics of a video do not hold.

    Raises:
        InputError: it has another quality or another distance of keyframes than the recorded ones.
    """
    if (crf, keyframe_interval) != RECORDED_STREAM:
        raise InputError(
            f"system.crf, system.keyframe_interval: statistics are recorded with {RECORDED_STREAM[0]:g} and "
            f"{RECORDED_STREAM[1]}, found {crf:g} and {keyframe_interval}; use video=scene or video=file"
        )


class DrawnSize(NamedTuple):  # one a frame: made faster than a frozen dataclass
    """A size without content."""

    size_bytes: int
    keyframe: bool = False
    coded_pixels: int | None = None

    def decoded(self) -> NDArray[np.uint8]:
        raise TypeError("a frame without pixels has nothing to decode")


@dataclass(slots=True, eq=False)
class DrawnFrameEncoder:
    """Sizes of encoded frames as a recording has them, with its quality and keyframe interval.

    The first H.264 frame, and the first after a restart, is a keyframe.
    """

    sampler: BlockSampler
    codec: str
    builds_on_last: bool = field(init=False)
    _keyframe: bool = True

    def __post_init__(self) -> None:
        self.builds_on_last = self.codec == "h264"

    def encode(self, frame: Frame) -> DrawnSize:
        if self.builds_on_last and self._keyframe:
            self._keyframe = False
            return DrawnSize(int(self.sampler.statistics.keyframe_bytes + 0.5), True)
        return DrawnSize(int(self.sampler.frame_bytes(frame.index, self.codec) + 0.5))

    def restart(self) -> None:
        self._keyframe = True
