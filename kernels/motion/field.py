"""Motion fields: where each block of a frame was in a reference, and how much it still differs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class MotionField(NamedTuple):
    """Where each block was in the reference.

    `vectors` is a (⌈H/b⌉, ⌈W/b⌉, 2) int16 array of (dx, dy): position in the reference minus position in the
    frame, in pixels. `difference` is (⌈H/b⌉, ⌈W/b⌉) float32: the mean absolute difference between the block
    and the place that its vector points to, over pixels and channels, intensities in [0, 1].

    Every block is b × b pixels. Where b does not divide the size, the blocks of the last row or column end at
    the image's edge, and share pixels with those before them.
    """

    vectors: NDArray[np.int16]
    difference: NDArray[np.float32]


def predict_vectors(
    previous: NDArray[np.int16],
    age_frames: float | None = None,
    block_px: int = 16,
    ahead_frames: float = 1.0,
) -> NDArray[np.int16]:
    """Move the vectors of the previous search against the same reference along to the next frame.

    A block that has moved by v over `age_frames` frames moves on by u = v · ahead_frames / age_frames:
    then it stands at p − u, with the vector v + u. Where several blocks arrive, the faster one is taken
    for the object in front; where none does, the block's own v + u stays.

    Args:
        previous: (rows, columns, 2) vectors of the previous search against the same reference.
        age_frames: frames between the reference and the frame of that search. None: no motion is
            extrapolated, the vectors stay as they are.
        block_px: side of a block.
        ahead_frames: frames between the frame of that search and the next one.
    """
    previous = check_vectors(previous, previous.shape[:2], "previous")
    if age_frames is None:
        return previous.copy()
    if not age_frames > 0:
        raise ValueError(f"age_frames must be > 0 (got {age_frames!r})")
    if not ahead_frames >= 0:
        raise ValueError(f"ahead_frames must be >= 0 (got {ahead_frames!r})")
    rows, columns = previous.shape[:2]
    step_px = np.rint(previous * (ahead_frames / age_frames)).astype(np.int32)
    step_blocks = np.rint(step_px / np.float32(block_px)).astype(np.int32)
    limit = np.iinfo(np.int16).max
    moved = np.clip(previous + step_px, -limit, limit).astype(np.int16).reshape(-1, 2)
    x = (np.arange(columns) - step_blocks[..., 0]).reshape(-1)
    y = (np.arange(rows)[:, None] - step_blocks[..., 1]).reshape(-1)
    slowest_first = np.argsort((step_px**2).sum(axis=2).reshape(-1), kind="stable")
    arriving = slowest_first[((x >= 0) & (x < columns) & (y >= 0) & (y < rows))[slowest_first]]
    predicted: NDArray[np.int16] = moved.copy()
    predicted[(y * columns + x)[arriving]] = moved[arriving]
    return predicted.reshape(rows, columns, 2)


def block_grid(height: int, width: int, block_px: int, multiple_px: int = 1) -> tuple[int, int]:
    """Rows and columns of blocks of an image.

    Raises:
        ValueError: they do not fit exactly, or `block_px` is no multiple of `multiple_px`.
    """
    _check_block(block_px, multiple_px)
    if height % block_px or width % block_px:
        raise ValueError(f"height and width must be multiples of block_px={block_px} (got {height}x{width})")
    return height // block_px, width // block_px


def covering_grid(height: int, width: int, block_px: int, multiple_px: int = 1) -> tuple[int, int]:
    """Rows and columns of the blocks that cover an image: the last ones end at its edge.

    Raises:
        ValueError: a block is larger than the image, or `block_px` no multiple of `multiple_px`.
    """
    _check_block(block_px, multiple_px)
    if min(height, width) < block_px:
        raise ValueError(f"height and width must be at least block_px={block_px} (got {height}x{width})")
    return -(-height // block_px), -(-width // block_px)


def _check_block(block_px: int, multiple_px: int) -> None:
    if not isinstance(block_px, (int, np.integer)) or block_px <= 0:
        raise ValueError(f"block_px must be a positive integer (got {block_px!r})")
    if block_px % multiple_px:
        raise ValueError(f"block_px must be a multiple of {multiple_px} px (got {block_px})")


def check_vectors(vectors: NDArray[np.int16], grid: tuple[int, ...], name: str) -> NDArray[np.int16]:
    """`vectors` as contiguous int16 of the shape `grid` + (2,). Raises TypeError, ValueError otherwise."""
    if not isinstance(vectors, np.ndarray) or not np.issubdtype(vectors.dtype, np.integer):
        raise TypeError(
            f"{name} must be a numpy array of integers (got {getattr(vectors, 'dtype', type(vectors))})"
        )
    if vectors.shape != (*grid, 2):
        raise ValueError(f"{name} must have the shape {(*grid, 2)} (got {vectors.shape})")
    limit = np.iinfo(np.int16).max
    if vectors.dtype != np.int16 and vectors.size and np.abs(vectors).max() > limit:
        raise ValueError(f"{name} must lie within ±{limit} px (got {np.abs(vectors).max()})")
    result = np.ascontiguousarray(vectors, np.int16)
    return result if result.flags.writeable else result.copy()
