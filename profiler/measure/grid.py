"""The block counts k at which a curve is measured: first few, then more where it bends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FRACTIONS = (0.0, 0.025, 0.05, 0.1, 0.175, 0.25, 0.375, 0.5, 0.75, 1.0)


def initial_grid(blocks: int) -> tuple[int, ...]:
    """The k of the first rounds: from one block to the whole frame, closer together where few are active."""
    return tuple(sorted({max(1, round(share * blocks)) for share in FRACTIONS}))


def refine_grid(
    grid: Sequence[int], seconds: Sequence[NDArray[np.float64]], tolerance: float, max_k: int
) -> tuple[int, ...]:
    """Add midpoints around every k at which the measured curve bends.

    A k bends if the mean there leaves the chord between its two neighbours by more than ``tolerance``
    of its value and by more than three standard errors of that difference.

    Args:
        grid: ascending k.
        seconds: samples at each k.
        tolerance: relative distance that matters.
        max_k: most k in the result.

    Returns:
        The new grid, ascending; sharpest bends first as long as there is room.
    """
    k = np.array(grid, float)
    means = np.array([own.mean() for own in seconds])
    errors = np.array([own.std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else np.inf for own in seconds])
    share = (k[1:-1] - k[:-2]) / (k[2:] - k[:-2])
    gap = np.abs(means[1:-1] - ((1 - share) * means[:-2] + share * means[2:]))
    noise = np.sqrt(errors[1:-1] ** 2 + ((1 - share) * errors[:-2]) ** 2 + (share * errors[2:]) ** 2)
    found = set(grid)
    for i in np.argsort(-gap / means[1:-1], kind="stable"):
        if gap[i] < max(tolerance * means[i + 1], 3 * noise[i]):
            continue
        for low, high in ((grid[i], grid[i + 1]), (grid[i + 1], grid[i + 2])):
            middle = (low + high) // 2
            if len(found) < max_k and high - low > max(2, grid[-1] // 100):
                found.add(middle)
    return tuple(sorted(found))
