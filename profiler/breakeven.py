"""Break-even: how many active blocks make sparse inference as slow as dense."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from profiler.fit import QuadraticFit


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The k at which T(k) = dense, with a 95 % interval; infinite where the curve stays below it."""

    k: float
    low: float
    high: float


def break_even(fit: QuadraticFit, dense_s: float, dense_error_s: float, blocks: int) -> BreakEven:
    """Where the fitted curve crosses the dense time.

    The interval collects every k at which the difference T(k) − dense is within 1.96 of its standard error
    of zero (Fieller's argument for a curve), so it opens to one side where the curves run side by side.

    Args:
        fit: the fitted curve.
        dense_s: dense latency.
        dense_error_s: its standard error.
        blocks: blocks of the whole frame; nothing beyond them is meaningful.

    Returns:
        Blocks; ``inf`` where sparse inference of every block is still faster than dense, 0 where even one
        block is slower.
    """
    k = np.linspace(0.0, blocks, 4001)
    gap = fit.seconds(k) - dense_s
    reach = 1.96 * np.hypot(fit.mean_error_s(k), dense_error_s)

    def first(beyond: np.ndarray) -> float:
        return float(k[np.argmax(beyond)]) if beyond.any() else float("inf")

    return BreakEven(first(gap >= 0), first(gap + reach >= 0), first(gap - reach >= 0))
