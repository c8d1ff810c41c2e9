"""A monotone piecewise-linear curve, for devices whose latency is no quadratic in k."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from profiler.fit.grouped_samples import GroupedSamples
from profiler.fit.holdout import heldout_errors, median_error
from profiler.fit.least_squares import FloatArray, design_matrix, nonnegative_least_squares
from profiler.fit.noise import noise_sd
from profiler.latency import PiecewiseLinear

KNOTS = 8


def knots_for(k: FloatArray) -> FloatArray:
    """At most 8 of the measured k, both ends among them, evenly spaced in their order.

    Fixed by the grid and never by the times, so that the comparison with the quadratic on held-out points
    is not won by choosing knots after looking.
    """
    return np.unique(k[np.round(np.linspace(0, len(k) - 1, min(KNOTS, len(k)))).astype(int)])


def fit_piecewise(groups: GroupedSamples, *, with_error: bool = True) -> PiecewiseLinear:
    """Weighted least squares over curves that are linear between knots and never fall.

    T(k) = c + Σⱼ sⱼ·clip(k − tⱼ, 0, tⱼ₊₁ − tⱼ) with c and every slope sⱼ ≥ 0 is linear in its unknowns, so
    non-negative least squares (Lawson and Hanson 1974) finds the optimum.

    Args:
        groups: at least two distinct k.
        with_error: also predict each inner k without itself (median relative error).
    """
    knots = knots_for(groups.k)
    means = groups.means_s
    first = design_matrix(groups.k) @ nonnegative_least_squares(
        design_matrix(groups.k), means, groups.counts / means**2
    )
    root = np.sqrt(groups.counts) / noise_sd(groups, first)
    ramps = np.clip(groups.k[:, None] - knots[:-1], 0.0, np.diff(knots))
    columns = np.column_stack([np.ones_like(means), ramps]) * root[:, None]
    scale = np.linalg.norm(columns, axis=0)
    found, _ = nnls(columns / scale, means * root)
    base, *slopes = found / scale
    heights = base + np.concatenate([[0.0], np.cumsum(np.array(slopes) * np.diff(knots))])
    error = median_error(heldout_errors(groups, predict_piecewise)) if with_error else None
    return PiecewiseLinear(tuple(map(float, knots)), tuple(map(float, heights)), error)


def predict_piecewise(groups: GroupedSamples, k: float) -> float:
    """T(k) of the piecewise curve fitted to ``groups``."""
    return fit_piecewise(groups, with_error=False).seconds(k)
