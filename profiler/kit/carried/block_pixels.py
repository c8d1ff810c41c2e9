"""`kernels.codecs.block_pixels` without numba: the same functions and results, by numpy's indexing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def gather_blocks(
    image: NDArray[np.uint8], indices: NDArray[np.integer], block_px: int = 16
) -> NDArray[np.uint8]:
    """The blocks at flat `indices`, as a (k, b, b) or (k, b, b, 3) array."""
    row, column = np.divmod(np.asarray(indices, np.intp), image.shape[1] // block_px)
    blocks: NDArray[np.uint8] = _in_blocks(image, block_px)[row, :, column]
    return np.ascontiguousarray(blocks)


def paste_blocks(
    image: NDArray[np.uint8], indices: NDArray[np.integer], blocks: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Write (k, b, b[, 3]) `blocks` at flat `indices` of a contiguous image, in place; returns the image."""
    block_px = blocks.shape[1]
    row, column = np.divmod(np.asarray(indices, np.intp), image.shape[1] // block_px)
    _in_blocks(image, block_px)[row, :, column] = blocks
    return image


def _in_blocks(image: NDArray[np.uint8], block_px: int) -> NDArray[np.uint8]:
    """(rows, b, columns, b[, 3]), sharing memory with a contiguous image of whole blocks."""
    rows, columns = image.shape[0] // block_px, image.shape[1] // block_px
    return image.reshape(rows, block_px, columns, block_px, *image.shape[2:])
