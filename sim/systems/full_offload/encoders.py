"""Whole frames as messages: really encoded, or of a size drawn from a recording."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.world.frame import Frame

if TYPE_CHECKING:
    from kernels.codecs.frame_codecs import FrameCodec
    from traces.video.block_statistics import BlockSampler


class EncodedFrame(Protocol):
    """One frame on its way."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

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


@dataclass(slots=True, eq=False)
class Packet:
    """Bytes of a codec, decoded once, whoever asks."""

    codec: FrameCodec
    data: bytes
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
    def of(cls, codec: str, quality: int, crf: float, keyframe_interval: int) -> PixelFrameEncoder:
        """An encoder by its codec's name, with the options that the codec has."""
        from kernels.codecs.frame_codecs import make_frame_codec

        if codec == "jpeg":
            return cls(make_frame_codec(codec, quality=quality))
        if codec == "h264":
            return cls(make_frame_codec(codec, crf=crf, keyframe_interval=keyframe_interval))
        return cls(make_frame_codec(codec))

    @property
    def builds_on_last(self) -> bool:
        return self.codec.builds_on_last

    def encode(self, frame: Frame) -> Packet:
        return Packet(self.codec, self.codec.encode(frame.pixels))

    def restart(self) -> None:
        from kernels.codecs.frame_codecs import H264Codec

        if isinstance(self.codec, H264Codec):
            self.codec.force_keyframe()


class DrawnSize(NamedTuple):  # one a frame: made faster than a frozen dataclass
    """A size without content."""

    size_bytes: int

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
            return DrawnSize(int(self.sampler.statistics.keyframe_bytes + 0.5))
        return DrawnSize(int(self.sampler.frame_bytes(frame.index, self.codec) + 0.5))

    def restart(self) -> None:
        self._keyframe = True
