"""Where blocks are predicted from: an image that both ends of a link have, and how the blocks have moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the blocks of a message are predicted from.

    Args:
        reference: (H, W, 3) or (H, W) uint8, contiguous: the image that both ends have.
        vectors: (H/b, W/b, 2) int16; None: the blocks have not moved.
        indices: (k,) flat indices of the blocks, in the order in which they are coded.
    """

    reference: NDArray[np.uint8]
    vectors: NDArray[np.int16] | None
    indices: NDArray[np.integer]

    def places(self, block_px: int) -> NDArray[np.int64]:
        """(k, 2), row and column of each predicted block's first pixel, moved inside as `warp_image` does."""
        height, width = self.reference.shape[:2]
        columns = width // block_px
        y, x = self.indices // columns * block_px, self.indices % columns * block_px
        if self.vectors is not None:
            moves = self.vectors.reshape(-1, 2)[self.indices].astype(np.int64)
            y, x = y + moves[:, 1], x + moves[:, 0]
        inside = np.clip(y, 0, height - block_px), np.clip(x, 0, width - block_px)
        return np.ascontiguousarray(np.stack(inside, 1), np.int64)
