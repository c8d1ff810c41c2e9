"""Blocks that hold changed pixels, through any block codec: the input of a delta network over a link.

Which pixels have changed is the rule of :mod:`kernels.codecs.pixel_delta`; every block with at least one of
them is sent whole, as the codec writes it. Both ends keep the image that the messages decode to, lossy codecs
included, so that the next difference is taken against what the far side really has. Within a block that is
sent the pixels that have not changed are brought up to date, too, which costs a block codec next to nothing.

With a lossy codec a pixel of a block just sent is off by the codec's error. Where that exceeds ε the block is
sent again with every frame: ε must be larger than the error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.block_codecs import BlockCodec
from kernels.codecs.block_payload import decode_blocks, encode_blocks
from kernels.codecs.block_pixels import paste_blocks
from kernels.codecs.pixel_delta import PixelDelta, changed_pixels, touched_blocks


class BlockDeltaSender:
    """The edge's end: keeps the image that the receiver has once every message has arrived.

    Args:
        threshold, dilation_px, block_px: as for :class:`~kernels.codecs.pixel_delta.PixelDeltaSender`.
        codec: what the blocks are encoded with.
    """

    def __init__(self, threshold: float, dilation_px: int, block_px: int, codec: BlockCodec) -> None:
        self.threshold = threshold
        self.dilation_px = dilation_px
        self.block_px = block_px
        self.codec = codec
        self.reference: NDArray[np.uint8] | None = None

    def reset(self) -> None:
        """Forget the reference: the next message carries the whole frame."""
        self.reference = None

    def encode(self, image: NDArray[np.uint8]) -> PixelDelta:
        """The message that brings the receiver's image up to `image`, (H, W, 3) uint8.

        Raises:
            TypeError, ValueError: another type or shape, or another size than the frames before.
        """
        changed = changed_pixels(image, self.reference, self.threshold, self.dilation_px)
        blocks = touched_blocks(changed, self.block_px)
        data = encode_blocks(image, blocks, None, self.codec, self.block_px)
        if self.reference is None:
            self.reference = np.zeros(image.shape, np.uint8)
        paste_blocks(self.reference, blocks, decode_blocks(data, self.codec).pixels)
        return PixelDelta(data, float(changed.mean()), blocks)


class BlockDeltaReceiver:
    """The server's end: the same image, from the messages alone."""

    def __init__(self, codec: BlockCodec) -> None:
        self.codec = codec
        self.reference: NDArray[np.uint8] | None = None

    def apply(self, data: bytes) -> NDArray[np.uint8]:
        """Take a message in; returns the image, which the next message changes in place.

        Raises:
            ValueError: not such a message, a damaged one, or a part of a frame that is not here.
        """
        decoded = decode_blocks(data, self.codec)
        side = decoded.block_px
        shape = (decoded.rows * side, decoded.columns * side, 3)
        if len(decoded.indices) == decoded.rows * decoded.columns:
            self.reference = np.zeros(shape, np.uint8)
        elif self.reference is None or self.reference.shape != shape:
            have = None if self.reference is None else self.reference.shape
            raise ValueError(f"block message needs a reference of {shape} (got {have})")
        return paste_blocks(self.reference, decoded.indices, decoded.pixels)
