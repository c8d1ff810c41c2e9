"""The free quadratic: one whose curvature may be negative, as long as it does not fall on the frame.

    T(k) = c + s₀·(k − k²/2N) + s₁·k²/2N,        c, s₀, s₁ ≥ 0

with N the blocks of the whole frame is the same a·k² + b·k + c with bounds on its slopes at no and at
all blocks (s₀ = b, s₁ = b + 2aN) instead of on its coefficients: T never falls on the frame, and a may be
below 0. The profile's own curve keeps a ≥ 0, which schedulers rely on; this one stands beside it in the
provenance.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from profiler.fit.grouped_samples import GroupedSamples
from profiler.fit.holdout import heldout_errors, median_error
from profiler.fit.least_squares import FloatArray, design_matrix, nonnegative_least_squares
from profiler.fit.noise import noise_sd
from profiler.latency import Quadratic


def fit_free_quadratic(groups: GroupedSamples, blocks: int) -> Quadratic:
    """Weighted least squares over quadratics that never fall from 0 to ``blocks``; ``a_s`` may be below 0."""
    means = groups.means_s
    first = design_matrix(groups.k) @ nonnegative_least_squares(
        design_matrix(groups.k), means, groups.counts / means**2
    )
    weights = groups.counts / noise_sd(groups, first) ** 2
    low, high, c = nonnegative_least_squares(_slopes(groups.k, blocks), means, weights)
    return Quadratic(float(high - low) / (2 * blocks), float(low), float(c))


def free_quadratic_error(groups: GroupedSamples, blocks: int) -> float | None:
    """Median relative error at block counts that the fit has not seen; None with fewer than four."""
    return median_error(heldout_errors(groups, partial(_predict, blocks)))


def _predict(blocks: int, groups: GroupedSamples, k: float) -> float:
    return fit_free_quadratic(groups, blocks).seconds(k)


def _slopes(k: FloatArray, blocks: int) -> FloatArray:
    half_square = k**2 / (2 * blocks)
    return np.column_stack([k - half_square, half_square, np.ones_like(k)])
