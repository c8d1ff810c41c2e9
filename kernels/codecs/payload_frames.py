"""Whole frames through a codec for blocks: the same pixels, whether a system sends all of them or a few.

A codec of this project has an image format behind it, which codes a whole frame as one picture. Any other one
is given all blocks of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.block_codecs import BlockCodec, JpegAtlas, PngAtlas, RawBlocks
from kernels.codecs.block_payload import decode_blocks, encode_blocks
from kernels.codecs.block_pixels import paste_blocks
from kernels.codecs.frame_codecs import FrameCodec, JpegCodec, PngCodec, RawCodec


def frame_codec_of(codec: BlockCodec, block_px: int = 16) -> FrameCodec:
    """What sends whole frames as `codec` sends blocks: the same format, quality and resolution of colours.

    Args:
        codec: of blocks.
        block_px: side of the blocks that a frame is cut into where the codec has no format for whole frames.
    """
    if isinstance(codec, RawBlocks):
        return RawCodec()
    if isinstance(codec, PngAtlas):
        return PngCodec(codec.options.level)
    if isinstance(codec, JpegAtlas):
        return JpegCodec(codec.options.quality, codec.options.full_colour)
    return AllBlocks(codec, block_px)


@dataclass(frozen=True, slots=True)
class AllBlocks:
    """A frame as the message of all its blocks."""

    builds_on_last: ClassVar[bool] = False

    codec: BlockCodec
    block_px: int = 16

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        count = image.shape[0] * image.shape[1] // self.block_px**2
        return encode_blocks(image, np.arange(count), None, self.codec, self.block_px)

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        decoded = decode_blocks(data, self.codec)
        side = decoded.block_px
        image = np.empty((decoded.rows * side, decoded.columns * side, *decoded.pixels.shape[3:]), np.uint8)
        return paste_blocks(image, decoded.indices, decoded.pixels)
