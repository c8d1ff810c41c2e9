"""Salient blocks: those that show, or border on, what the last result found; and τ by block.

Accuracy is about the objects, so what changes near them is recomputed from a smaller difference on than what
changes elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.motion.field import check_vectors


def salient_blocks(
    foreground: NDArray[np.bool_], vectors: NDArray[np.int16], block_px: int = 16, reach_blocks: int = 1
) -> NDArray[np.bool_]:
    """The blocks of which anything was foreground where their vectors point, and their neighbours.

    Args:
        foreground: bool (H, W), where the result of the reference frame found something.
        vectors: (⌈H/b⌉, ⌈W/b⌉, 2) of the motion search, (dx, dy) in pixels into the reference.
        block_px: side b of a block.
        reach_blocks: how many blocks around them are salient as well, diagonals included.

    Returns:
        bool (⌈H/b⌉, ⌈W/b⌉).

    Raises:
        TypeError, ValueError: an argument of another kind or shape, by name.
    """
    if isinstance(reach_blocks, bool) or not isinstance(reach_blocks, (int, np.integer)) or reach_blocks < 0:
        raise ValueError(f"reach_blocks must be an integer >= 0 (got {reach_blocks!r})")
    return grown(foreground_share(foreground, vectors, block_px) > 0.0, int(reach_blocks))


def foreground_share(
    foreground: NDArray[np.bool_], vectors: NDArray[np.int16], block_px: int = 16
) -> NDArray[np.float64]:
    """Which share of each block was foreground where its vector points; arguments as above.

    Returns:
        (⌈H/b⌉, ⌈W/b⌉) in [0, 1]; of what lies outside the frame nothing is foreground.

    Raises:
        TypeError, ValueError: an argument of another kind or shape, by name.
    """
    if not isinstance(foreground, np.ndarray) or foreground.dtype != np.bool_ or foreground.ndim != 2:
        raise TypeError(
            f"foreground must be a bool array (H, W) (got {getattr(foreground, 'dtype', foreground)})"
        )
    height, width = foreground.shape
    grid = -(-height // block_px), -(-width // block_px)
    moves = check_vectors(vectors, grid, "vectors").astype(np.int64)
    sums = np.zeros((height + 1, width + 1), np.int64)
    np.cumsum(foreground, axis=0, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    top = np.arange(grid[0])[:, None] * block_px + moves[..., 1]
    left = np.arange(grid[1])[None, :] * block_px + moves[..., 0]
    first_y, end_y = top.clip(0, height), (top + block_px).clip(0, height)
    first_x, end_x = left.clip(0, width), (left + block_px).clip(0, width)
    found = sums[end_y, end_x] - sums[first_y, end_x] - sums[end_y, first_x] + sums[first_y, first_x]
    share: NDArray[np.float64] = found / float(block_px**2)
    return share


def block_thresholds(salient: NDArray[np.bool_], near: float, elsewhere: float) -> NDArray[np.float32]:
    """τ of every block: `near` at salient blocks, `elsewhere` at the others.

    Raises:
        ValueError: a threshold outside [0, 1].
    """
    for name, value in (("near", near), ("elsewhere", elsewhere)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must be in [0, 1] (got {value!r})")
    return np.where(salient, np.float32(near), np.float32(elsewhere))


def grown(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """A mask (rows, columns) and whatever lies at most `reach` rows and columns from it."""
    for axis in (0, 1):
        padded = np.pad(mask, [(reach, reach) if side == axis else (0, 0) for side in (0, 1)])
        size = mask.shape[axis]
        mask = np.any(
            [np.take(padded, range(step, step + size), axis) for step in range(2 * reach + 1)], axis=0
        )
    return mask
