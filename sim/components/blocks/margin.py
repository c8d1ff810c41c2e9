"""Blocks computed with a margin: those that are given, and what lies within the margin of them.

A margin stops the seam around computed blocks (`kernels/executor`). It costs computation and no bytes: what
is computed and what is sent are two sets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.world.frame import FrameGeometry
from traces.errors import InputError

Blocks = NDArray[np.integer]


def margin_reach(margin_px: int, block_px: int) -> int:
    """How many blocks a margin reaches into, in each direction: a latency model counts whole ones."""
    return -(-margin_px // block_px)


def check_margin(margin_px: int) -> None:
    """Refuse a margin that is no whole number of pixels >= 0.

    Raises:
        InputError: it is not.
    """
    if isinstance(margin_px, bool) or not isinstance(margin_px, int) or margin_px < 0:
        raise InputError(f"system.margin_px: expected a whole number of pixels >= 0, found {margin_px!r}")


def computed_counts(geometry: FrameGeometry, blocks: Blocks, reach: int, others: Blocks) -> NDArray[np.int64]:
    """How many blocks are computed for the first k of an ordered list.

    Args:
        blocks: flat indices, in the order in which they are taken.
        reach: of the margin, in blocks.
        others: flat indices of those that are computed whatever k is.

    Returns:
        (n + 1,), for k = 0, …, n; it never falls.
    """
    never = len(blocks) + 1
    ranks = np.full(geometry.rows * geometry.columns, never, np.int32)
    ranks[blocks] = np.arange(1, len(blocks) + 1, dtype=np.int32)
    ranks[others] = 0
    first = _least_within(ranks.reshape(geometry.rows, geometry.columns), reach)
    return np.cumsum(np.bincount(first.reshape(-1), minlength=never + 1)[:-1])


def computed_count(geometry: FrameGeometry, blocks: Blocks, reach: int) -> int:
    """How many blocks are computed for a set of them."""
    if not reach:
        return len(blocks)
    return int(computed_counts(geometry, np.empty(0, np.int32), reach, blocks)[0])


def _least_within(values: NDArray[np.int32], reach: int) -> NDArray[np.int32]:
    """The least value within `reach` places of each, diagonals included."""
    for axis in (0, 1):
        least = values.copy()
        for step in range(1, min(reach, values.shape[axis] - 1) + 1):
            ahead = [slice(None), slice(None)]
            behind = [slice(None), slice(None)]
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            np.minimum(least[tuple(behind)], values[tuple(ahead)], out=least[tuple(behind)])
            np.minimum(least[tuple(ahead)], values[tuple(behind)], out=least[tuple(ahead)])
        values = least
    return values
