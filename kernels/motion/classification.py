"""Which blocks must be recomputed: the miss classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from kernels.motion.field import MotionField

DEFAULT_THRESHOLD = 0.025  # τ of both papers, read as a mean difference on [0, 1]


def active_blocks(field: MotionField, threshold: float = DEFAULT_THRESHOLD) -> NDArray[np.int32]:
    """The blocks whose difference D ≥ τ, largest first; ties in raster order.

    Args:
        field: a search's result; only `field.difference` is read.
        threshold: τ in [0, 1], on the mean difference. 0 makes every block active.

    Returns:
        (n,) int32 flat indices row · columns + column.

    Raises:
        ValueError: a threshold outside [0, 1].
    """
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must be in [0, 1] (got {threshold!r})")
    difference = field.difference.reshape(-1)
    active = np.flatnonzero(difference >= np.float32(threshold))
    return active[np.argsort(-difference[active], kind="stable")].astype(np.int32)
