"""Which blocks must be recomputed: the miss classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from kernels.motion.field import MotionField

DEFAULT_THRESHOLD = 0.025  # τ of both papers, read as a mean difference on [0, 1]


def active_blocks(
    field: MotionField, threshold: float | NDArray[np.float32] = DEFAULT_THRESHOLD
) -> NDArray[np.int32]:
    """The blocks whose difference D ≥ τ, largest first; ties in raster order.

    Args:
        field: a search's result; only `field.difference` is read.
        threshold: τ in [0, 1], on the mean difference; 0 makes every block active. One for all blocks, or
            (rows, columns) of each (`kernels.motion.salience.block_thresholds`).

    Returns:
        (n,) int32 flat indices row · columns + column.

    Raises:
        ValueError: a threshold outside [0, 1], or thresholds of another shape.
    """
    limits = np.asarray(threshold, np.float32)
    if limits.ndim and limits.shape != field.difference.shape:
        raise ValueError(f"threshold must have the shape {field.difference.shape} (got {limits.shape})")
    if not (np.all(limits >= 0.0) and np.all(limits <= 1.0)):
        worst = threshold if limits.ndim == 0 else f"{limits.min()} to {limits.max()}"
        raise ValueError(f"threshold must be in [0, 1] (got {worst})")
    difference = field.difference.reshape(-1)
    active = np.flatnonzero(field.difference >= limits)
    return active[np.argsort(-difference[active], kind="stable")].astype(np.int32)
