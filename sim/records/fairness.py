"""How evenly something is shared among cameras."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def jain_index(shares: Sequence[float]) -> float | None:
    """Jain's fairness index of what each camera got: 1 where all got the same, 1/n where one got everything.

        J = (Σ x)² / (n · Σ x²)

    (Jain, Chiu, Hawe, "A Quantitative Measure of Fairness and Discrimination for Resource Allocation in
    Shared Computer Systems", DEC-TR-301, 1984.)

    Args:
        shares: >= 0 each.

    Returns:
        None for fewer than two cameras, or where nobody got anything: there is nothing to share.

    Raises:
        ValueError: a share that is negative or not finite.
    """
    values = np.asarray(shares, dtype=np.float64)
    if not (np.isfinite(values).all() and (values >= 0.0).all()):
        raise ValueError(f"shares: expected finite numbers >= 0, found {list(shares)}")
    if len(values) < 2 or not values.any():
        return None
    values = values / values.max()  # neither tiny nor huge shares leave the range of floats when squared
    return float(values.sum() ** 2 / (len(values) * (values**2).sum()))
