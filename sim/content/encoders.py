"""What the rivals make of pixels: encoded frames, pixel deltas, frames that resemble earlier ones."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.frame_codecs import FrameCodec, H264Codec, QuantisedCodec, make_frame_codec
from kernels.codecs.pixel_delta import PixelDeltaReceiver, PixelDeltaSender
from kernels.motion.classification import active_blocks
from kernels.motion.field import MotionField
from kernels.motion.search import block_difference
from kernels.similarity import embed, most_similar
from sim.content.interface import Delta, DeltaReference, Frame, Likeness

DEFLATE_LEVEL = 4  # of quantised frames: within a tenth of the smallest size, in a third of its time


def pixels(frame: Frame) -> NDArray[np.uint8]:
    """The frame's image."""
    assert frame.image is not None
    return frame.image


@dataclass(slots=True, eq=False)
class PixelFrameEncoder:
    """Whole frames through a codec of `kernels.codecs.frame_codecs`; `packet` is the last one's bytes."""

    codec: FrameCodec
    packet: bytes = b""

    def encode(self, frame: Frame) -> int:
        self.packet = self.codec.encode(pixels(frame))
        return len(self.packet)

    def decoded(self) -> NDArray[np.uint8]:
        return self.codec.decode(self.packet)

    def restart(self) -> None:
        if isinstance(self.codec, H264Codec):
            self.codec.force_keyframe()


def frame_encoder(codec: str, quality: int, crf: float, keyframe_interval: int) -> PixelFrameEncoder:
    """An encoder by name, with the options that its codec has.

    Raises:
        ValueError: an unknown codec, or an option out of its range.
    """
    if codec == "jpeg":
        return PixelFrameEncoder(make_frame_codec(codec, quality=quality))
    if codec == "h264":
        return PixelFrameEncoder(make_frame_codec(codec, crf=crf, keyframe_interval=keyframe_interval))
    return PixelFrameEncoder(make_frame_codec(codec))


@dataclass(slots=True, eq=False)
class PixelQuantisedEncoder:
    """Quantised and deflated frames; `values` is how many numbers a frame has."""

    values: int
    packet: bytes = b""

    def encode(self, frame: Frame, bits: int) -> int:
        self.packet = QuantisedCodec(bits, DEFLATE_LEVEL).encode(pixels(frame))
        return len(self.packet)

    def decoded(self) -> NDArray[np.uint8]:
        return QuantisedCodec().decode(self.packet)


@dataclass(slots=True, eq=False)
class PixelDeltaReference:
    """The sender's end of `kernels.codecs.pixel_delta`, which can also look without touching its reference."""

    sender: PixelDeltaSender

    @property
    def image(self) -> NDArray[np.uint8] | None:
        """The accumulated image."""
        return self.sender.reference

    def difference(self, frame: Frame) -> Delta:
        sender = self.sender
        before = sender.reference
        sender.reference = None if before is None else before.copy()
        found = sender.encode(pixels(frame))
        after, sender.reference = sender.reference, before
        return Delta(
            len(found.data),
            len(found.blocks),
            found.active_fraction,
            before is None,
            found.data,
            after,
            found.blocks,
        )

    def commit(self, delta: Delta) -> None:
        self.sender.reference = delta.reference

    def reset(self) -> None:
        self.sender.reset()


@dataclass(slots=True, eq=False)
class PixelDeltaImage:
    """The receiver's end."""

    receiver: PixelDeltaReceiver = field(default_factory=PixelDeltaReceiver)

    def apply(self, delta: Delta) -> None:
        assert delta.data is not None
        self.receiver.apply(delta.data)

    def same_as(self, reference: DeltaReference) -> bool:
        assert isinstance(reference, PixelDeltaReference)
        mine, theirs = self.receiver.reference, reference.image
        if mine is None or theirs is None:
            return mine is theirs
        return np.array_equal(mine, theirs)


@dataclass(slots=True, eq=False)
class PixelHistory:
    """Remembered images with their embeddings."""

    frames: int
    threshold: float
    block_px: int
    _remembered: deque[tuple[int, NDArray[np.float32], NDArray[np.uint8]]] = field(init=False)
    _embedded: tuple[int, NDArray[np.float32]] | None = None  # the last frame asked about

    def __post_init__(self) -> None:
        self._remembered = deque(maxlen=self.frames)

    def _embedding(self, frame: Frame) -> NDArray[np.float32]:
        if self._embedded is None or self._embedded[0] != frame.index:
            self._embedded = frame.index, embed(pixels(frame))
        return self._embedded[1]

    def most_similar(self, frame: Frame) -> Likeness | None:
        found = most_similar(self._embedding(frame), [embedding for _, embedding, _ in self._remembered])
        return None if found is None else Likeness(self._remembered[found[0]][0], found[1])

    def remember(self, frame: Frame) -> None:
        self._remembered.append((frame.index, self._embedding(frame), pixels(frame)))

    def changed_blocks(self, frame: Frame, likeness: Likeness) -> int:
        image = next(image for index, _, image in self._remembered if index == likeness.frame_index)
        rows, columns = (side // self.block_px for side in image.shape[:2])
        still = np.zeros((rows, columns, 2), np.int16)
        difference = block_difference(pixels(frame), image, still, self.block_px)
        return len(active_blocks(MotionField(still, difference), self.threshold))
