"""The pixels of chosen blocks, out of an image and into one."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.motion.byte_rows import copy_row, flat_bytes


def gather_blocks(
    image: NDArray[np.uint8], indices: NDArray[np.integer], block_px: int = 16
) -> NDArray[np.uint8]:
    """The blocks at flat `indices`, as a (k, b, b) or (k, b, b, 3) array."""
    blocks = np.empty((len(indices), block_px, block_px, *image.shape[2:]), np.uint8)
    _gather(
        flat_bytes(image),
        image.shape[1] // block_px,
        block_px * (image.shape[2] if image.ndim == 3 else 1),
        block_px,
        np.ascontiguousarray(indices, np.int64),
        blocks.reshape(-1),
    )
    return blocks


def paste_blocks(
    image: NDArray[np.uint8], indices: NDArray[np.integer], blocks: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Write (k, b, b[, 3]) `blocks` at flat `indices` of a contiguous image, in place; returns the image."""
    block_px = blocks.shape[1]
    _paste(
        image.reshape(-1),
        image.shape[1] // block_px,
        block_px * (image.shape[2] if image.ndim == 3 else 1),
        block_px,
        np.ascontiguousarray(indices, np.int64),
        flat_bytes(blocks),
    )
    return image


@njit(cache=True, nogil=True)
def _gather(image, blocks_across, run, block, indices, blocks):  # type: ignore[no-untyped-def]
    stride = blocks_across * run
    for k in range(indices.size):
        source = (indices[k] // blocks_across) * block * stride + (indices[k] % blocks_across) * run
        for i in range(block):
            copy_row(blocks, (k * block + i) * run, image, source + i * stride, run)


@njit(cache=True, nogil=True)
def _paste(image, blocks_across, run, block, indices, blocks):  # type: ignore[no-untyped-def]
    stride = blocks_across * run
    for k in range(indices.size):
        target = (indices[k] // blocks_across) * block * stride + (indices[k] % blocks_across) * run
        for i in range(block):
            copy_row(image, target + i * stride, blocks, (k * block + i) * run, run)
