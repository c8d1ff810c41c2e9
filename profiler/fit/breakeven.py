"""Break-even: how many active blocks make sparse inference as slow as dense."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profiler.fit.least_squares import FloatArray
from profiler.fit.quadratic import QuadraticFit
from profiler.latency import PiecewiseLinear


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The k at which T(k) = dense, with a 95 % interval; infinite where the curve stays below it."""

    k: float
    low: float
    high: float


def break_even(
    fit: QuadraticFit, piecewise: PiecewiseLinear | None, dense_s: float, dense_error_s: float, blocks: int
) -> BreakEven:
    """Where the latency curve crosses the dense time.

    The interval collects every k at which the difference T(k) − dense is within 1.96 of its standard error
    of zero (Fieller's argument for a curve), so it opens to one side where the curves run side by side.

    Args:
        fit: the fitted quadratic; the curve, where ``piecewise`` is None.
        piecewise: the piecewise-linear curve, where it predicts better; its error at k is that of the
            measured means.
        dense_s: dense latency.
        dense_error_s: its standard error.
        blocks: blocks of the whole frame; nothing beyond them is meaningful.

    Returns:
        Blocks; ``inf`` where sparse inference of every block is still faster than dense, 0 where even one
        block is slower.
    """
    k = np.linspace(0.0, blocks, 4001)
    if piecewise is None:
        curve, error = fit.seconds(k), fit.mean_error_s(k)
    else:
        curve = np.array([piecewise.seconds(float(one)) for one in k])
        error = np.interp(k, fit.groups.k, fit.noise_s / np.sqrt(fit.groups.counts))
    gap, reach = curve - dense_s, 1.96 * np.hypot(error, dense_error_s)
    return BreakEven(_first(k, gap >= 0), _first(k, gap + reach >= 0), _first(k, gap - reach >= 0))


def _first(k: FloatArray, beyond: NDArray[np.bool_]) -> float:
    return float(k[np.argmax(beyond)]) if beyond.any() else float("inf")
