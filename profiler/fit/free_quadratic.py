"""The quadratic, free to bend down: what the form can do where a ≥ 0 is the only thing in its way.

    T(k) = c + s₀·(k − k²/2N) + s₁·k²/2N,        c, s₀, s₁ ≥ 0

with N the blocks of the whole frame is the same a·k² + b·k + c, held by its slopes at no and at all blocks
(s₀ = b, s₁ = b + 2aN) instead of by its coefficients: T never falls on the frame, and a may be below 0. The
profile's own curve keeps a ≥ 0, which schedulers rely on; this one stands beside it in the provenance.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from profiler.fit.groups import Groups
from profiler.fit.holdout import heldout_errors, median_error
from profiler.fit.least_squares import Vector, design, solve_nonnegative
from profiler.fit.noise import noise_sd
from profiler.latency import Quadratic


def fit_bending(groups: Groups, blocks: int) -> Quadratic:
    """Weighted least squares over quadratics that never fall from 0 to ``blocks``; ``a_s`` may be below 0."""
    means = groups.means_s
    first = design(groups.k) @ solve_nonnegative(design(groups.k), means, groups.counts / means**2)
    weights = groups.counts / noise_sd(groups, first) ** 2
    low, high, c = solve_nonnegative(_slopes(groups.k, blocks), means, weights)
    return Quadratic(float(high - low) / (2 * blocks), float(low), float(c))


def bending_error(groups: Groups, blocks: int) -> float | None:
    """Median relative error at block counts that the fit has not seen; None with fewer than four."""
    return median_error(heldout_errors(groups, partial(_predict, blocks)))


def _predict(blocks: int, groups: Groups, k: float) -> float:
    return fit_bending(groups, blocks).seconds(k)


def _slopes(k: Vector, blocks: int) -> Vector:
    bend = k**2 / (2 * blocks)
    return np.column_stack([k - bend, bend, np.ones_like(k)])
