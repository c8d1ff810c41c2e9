"""From boxes to blocks, and what the server makes of the blocks that it gets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.block_codecs import BlockCodec
from kernels.codecs.block_payload import decode_blocks
from kernels.codecs.block_pixels import paste_blocks
from sim.world.frame import FrameGeometry

GREY = 114  # what YOLO is trained to see beside a letterboxed picture


def blocks_of(boxes: NDArray[np.floating], margin_px: float, geometry: FrameGeometry) -> NDArray[np.bool_]:
    """Which blocks, (rows, columns), share area with a box that is widened by the margin on every side.

    Args:
        boxes: (n, 4), x1 y1 x2 y2 in pixels; one without area counts as none.
    """
    chosen = np.zeros((geometry.rows, geometry.columns), np.bool_)
    side = geometry.block_px
    for x1, y1, x2, y2 in boxes.tolist():
        if x2 <= x1 or y2 <= y1:
            continue
        left, top = (max(0, int((low - margin_px) // side)) for low in (x1, y1))
        right, bottom = (max(0, int(-((-high - margin_px) // side))) for high in (x2, y2))
        chosen[top:bottom, left:right] = True
    return chosen


class ServerImage:
    """The server's picture, from the messages alone.

    Args:
        geometry: of the frames.
        codec: what blocks are coded with.
        keeps: whether what no message carries stays as it was; else it is grey.
    """

    def __init__(self, geometry: FrameGeometry, codec: BlockCodec, keeps: bool) -> None:
        self._codec = codec
        self._keeps = keeps
        self._blank = np.full((geometry.height_px, geometry.width_px, 3), GREY, np.uint8)
        self.image = self._blank

    def apply(self, data: bytes) -> NDArray[np.uint8]:
        """Take a message in; returns the picture, which later messages leave as it is."""
        decoded = decode_blocks(data, self._codec)
        image = (self.image if self._keeps else self._blank).copy()
        self.image = paste_blocks(image, decoded.indices, decoded.pixels)
        return self.image
