"""Moving images and per-block values along motion vectors."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.motion.byte_rows import copy_row, flat_bytes
from kernels.motion.field import block_grid, check_vectors


def warp_image(
    image: NDArray[np.uint8],
    vectors: NDArray[np.int16],
    block_px: int = 16,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Build an image of blocks of `image` taken at their vectors: out(p) = image(p + v(block of p)).

    A vector that points outside is moved so that its block lies inside.

    Args:
        image: (H, W) or (H, W, C) uint8, H and W multiples of `block_px`.
        vectors: (H/b, W/b, 2) integers, (dx, dy) in pixels.
        out: where to write, C-contiguous, of the image's shape and not overlapping it; None: a new array.

    Raises:
        TypeError, ValueError: an argument that is none of the above, by name.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise TypeError("image must be a uint8 array of the shape (H, W) or (H, W, C)")
    height, width = image.shape[:2]
    vectors = check_vectors(vectors, block_grid(height, width, block_px), "vectors")
    if out is None:
        out = np.empty_like(image, order="C")
    elif out.shape != image.shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise ValueError(f"out must be a contiguous uint8 array of the shape {image.shape} (got {out.shape})")
    elif np.shares_memory(out, image):
        raise ValueError("out must not share memory with image")
    _warp(flat_bytes(image), height, width, block_px, vectors, out.reshape(-1))
    return out


def warp_blocks_map(
    values: NDArray[np.generic],
    vectors: NDArray[np.int16],
    block_px: int = 16,
    reduce: Literal["max"] = "max",
) -> NDArray[Any]:
    """Move a value per block (dirty flags, ages) along the vectors.

    The place that a block comes from overlaps up to four blocks of the reference; the largest of their values
    wins, so that a block is clean only if everything it was built from is.

    Args:
        values: (rows, columns), any ordered type or bool.
        vectors: (rows, columns, 2) integers, (dx, dy) in pixels; clamped as in `warp_image`.
        reduce: how several values become one.
    """
    if reduce != "max":
        raise ValueError(f"reduce must be 'max' (got {reduce!r})")
    if values.ndim != 2:
        raise ValueError(f"values must have the shape (rows, columns) (got {values.shape})")
    rows, columns = values.shape
    vectors = check_vectors(vectors, (rows, columns), "vectors")
    x = np.clip(np.arange(columns) * block_px + vectors[..., 0], 0, (columns - 1) * block_px)
    y = np.clip(np.arange(rows)[:, None] * block_px + vectors[..., 1], 0, (rows - 1) * block_px)
    left, right = x // block_px, -(-x // block_px)
    top, bottom = y // block_px, -(-y // block_px)
    upper = np.maximum(values[top, left], values[top, right])
    lower = np.maximum(values[bottom, left], values[bottom, right])
    result: NDArray[Any] = np.maximum(upper, lower)
    return result


@njit(cache=True, nogil=True)
def _warp(image, height, width, block, vectors, out):  # type: ignore[no-untyped-def]
    rows, columns = height // block, width // block
    channels = image.size // (height * width)
    stride, run = width * channels, block * channels
    for row in range(rows):
        for column in range(columns):
            x = min(max(column * block + np.int64(vectors[row, column, 0]), 0), width - block)
            y = min(max(row * block + np.int64(vectors[row, column, 1]), 0), height - block)
            source = y * stride + x * channels
            target = row * block * stride + column * run
            for i in range(block):
                copy_row(out, target + i * stride, image, source + i * stride, run)
