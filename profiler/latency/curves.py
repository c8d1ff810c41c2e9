"""Curves of latency over the number of blocks k: the papers' quadratic, and what bends where it cannot."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quadratic:
    """T(k) = a·k² + b·k + c in seconds, coefficients ≥ 0, with their standard errors where known."""

    a_s: float
    b_s: float
    c_s: float
    a_stderr_s: float | None = None
    b_stderr_s: float | None = None
    c_stderr_s: float | None = None

    def seconds(self, k: float) -> float:
        """Time to process k blocks."""
        return (self.a_s * k + self.b_s) * k + self.c_s

    def crossing(self, seconds: float) -> float | None:
        """The k ≥ 0 at which T(k) = ``seconds``; None if the curve never gets there or starts above."""
        gap_s = seconds - self.c_s
        if gap_s < 0 or self.a_s == self.b_s == 0:
            return None
        return 2 * gap_s / (self.b_s + math.sqrt(self.b_s**2 + 4 * self.a_s * gap_s)) if gap_s else 0.0


@dataclass(frozen=True, slots=True)
class PiecewiseLinear:
    """A monotone curve through (k, seconds) knots, extended along its first and last segment."""

    k: tuple[float, ...]
    knot_s: tuple[float, ...]
    heldout_error: float | None = None

    def seconds(self, k: float) -> float:
        """Time to process k blocks."""
        if len(self.k) == 1:
            return self.knot_s[0]
        i = min(max(bisect_right(self.k, k) - 1, 0), len(self.k) - 2)
        share = (k - self.k[i]) / (self.k[i + 1] - self.k[i])
        return max(self.knot_s[i] + share * (self.knot_s[i + 1] - self.knot_s[i]), 0.0)
