"""Curves of latency over the number of blocks computed, and the best number of blocks under each.

A curve answers two questions: what computing m blocks takes, ``seconds(m)``, and which whole k in
[1, N] makes

    ln EA(k) = ln(k / N) − λ·(w·k + T(k + d)) + constant        (FluxShard, §4.2)

largest, ``best_block_count``: k blocks of N are sent at w seconds a block and computed together with d
blocks that are not sent (known to the server already, or a margin around the active ones). The answer is
exact, and of equally good k the smallest.

- :class:`Quadratic`, the papers' form. ln EA is concave, its derivative 1/k − λ·(β + 2·a·k) with
  β = b + 2·a·d + w vanishes at the paper's (−β + √(β² + 8a/λ)) / 4a. Multiplied by its conjugate that is
  k* = 2 / (λβ + √((λβ)² + 8·a·λ)), which subtracts nothing, divides by no a and no λ and tends to 1/(λβ)
  as a → 0. The paper does not bound k: without the bound EA exceeds the accuracy.
- :class:`PiecewiseLinear`. ln k − λ·β·k is concave on each piece, so its maximum there is a neighbour of
  1/(λβ) or an end. Ends at which the score rises, or falls, on both sides are passed over, so that hardly
  more than one or two logarithms are taken.
- :class:`Tabulated`, a value for each listed k. It follows no form, so every k is compared.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Counts = NDArray[np.int64]
UNBOUNDED = 1 << 62  # more blocks than any frame has


class LatencyCurve(Protocol):
    """Time to compute m blocks; it never falls as m grows."""

    @property
    def name(self) -> str:
        """The kind of curve, as tables and profiles call it."""
        ...

    @property
    def domain(self) -> tuple[float, float]:
        """The smallest and the largest m that the curve was made from; beyond it is an extrapolation."""
        ...

    def seconds(self, k: float) -> float:
        """Time to compute k blocks."""
        ...

    def seconds_of(self, counts: Counts) -> Vector:
        """(n,) times to compute each of n numbers of blocks."""
        ...

    def best_block_count(
        self, active: int, decay_per_s: float, wire_s: float = 0.0, unsent: int = 0, least: int = 1
    ) -> int:
        """The whole k in [least, active] with the largest ln k − λ·(w·k + T(k + d)).

        Args:
            active: N; 0 gives 0.
            decay_per_s: λ.
            wire_s: w, what each block takes besides its computation.
            unsent: d, blocks computed besides the k.
            least: at most ``active``.
        """
        ...

    def scaled(self, share: float) -> LatencyCurve:
        """The curve of a device that takes ``share`` of the time."""
        ...


@dataclass(frozen=True, slots=True)
class Quadratic:
    """T(k) = a·k² + b·k + c in seconds, coefficients ≥ 0, with their standard errors where known."""

    name: ClassVar[str] = "quadratic"
    domain: ClassVar[tuple[float, float]] = (0.0, math.inf)  # whoever fitted it knows where it holds

    a_s: float
    b_s: float
    c_s: float
    a_stderr_s: float | None = None
    b_stderr_s: float | None = None
    c_stderr_s: float | None = None

    def seconds(self, k: float) -> float:
        """Time to compute k blocks."""
        return (self.a_s * k + self.b_s) * k + self.c_s

    def seconds_of(self, counts: Counts) -> Vector:
        """(n,) times to compute each of n numbers of blocks."""
        k = counts.astype(np.float64)
        times_s: Vector = k * self.a_s
        times_s += self.b_s
        times_s *= k
        times_s += self.c_s
        return times_s

    def crossing(self, seconds: float) -> float | None:
        """The k ≥ 0 at which T(k) = ``seconds``; None if the curve never gets there or starts above."""
        gap_s = seconds - self.c_s
        if gap_s < 0 or self.a_s == self.b_s == 0:
            return None
        slope_s = self.b_s + math.hypot(self.b_s, 2 * math.sqrt(self.a_s) * math.sqrt(gap_s))
        return 2 * gap_s / slope_s if gap_s else 0.0

    def optimum(self, decay_per_s: float, wire_s: float = 0.0, unsent: int = 0) -> float:
        """k* before rounding and bounds; infinite if time costs nothing."""
        linear = decay_per_s * (self.b_s + 2.0 * self.a_s * unsent + wire_s)
        denominator = linear + math.hypot(linear, math.sqrt(8.0 * self.a_s * decay_per_s))
        return 2.0 / denominator if denominator > 0.0 else math.inf

    def best_block_count(
        self, active: int, decay_per_s: float, wire_s: float = 0.0, unsent: int = 0, least: int = 1
    ) -> int:
        """The whole k in [least, active] with the largest EA: a neighbour of k*, or an end."""
        a_s = self.a_s
        beta_s = self.b_s + 2.0 * a_s * unsent + wire_s
        linear = decay_per_s * beta_s  # ``optimum`` written out for speed
        denominator = linear + math.hypot(linear, math.sqrt(8.0 * a_s * decay_per_s))
        if not denominator * active > 2.0:
            return active
        below = int(2.0 / denominator)
        if below < least:
            return least
        # ln EA(k + 1) − ln EA(k) = ln(1 + 1/k) − λ·(β + a·(2k + 1))
        gain = math.log1p(1.0 / below) - decay_per_s * (beta_s + a_s * (2 * below + 1))
        return below + 1 if gain > 0.0 and below < active else below

    def scaled(self, share: float) -> Quadratic:
        """The curve of a device that takes ``share`` of the time; its errors are not carried over."""
        return Quadratic(share * self.a_s, share * self.b_s, share * self.c_s)


@dataclass(frozen=True, slots=True)
class PiecewiseLinear:
    """A curve that never falls, through (k, seconds) knots; along its first and last piece beyond them.

    Raises:
        ValueError: no knots, knots out of order, or times that are negative or fall.
    """

    name: ClassVar[str] = "piecewise_linear"

    k: tuple[float, ...]
    knot_s: tuple[float, ...]
    heldout_error: float | None = None
    _pieces: tuple[tuple[int, int, float, bool], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self.k, self.knot_s)
        object.__setattr__(self, "_pieces", self._whole_pieces())

    def _whole_pieces(self) -> tuple[tuple[int, int, float, bool], ...]:
        """First and last whole k of each piece, its slope, and whether the next begins at that last k."""
        knots = tuple(zip(self.k, self.knot_s, strict=True))
        slopes = [(after_s - s) / (after - k) for (k, s), (after, after_s) in pairwise(knots)] or [0.0]
        bounds = [0.0, *self.k[1:-1], float(UNBOUNDED)]
        if (zero := self.k[0] - self.knot_s[0] / slopes[0] if slopes[0] else 0.0) > 0.0:
            bounds.insert(1, zero)  # where the first piece, extended, would fall below 0
            slopes.insert(0, 0.0)
        pieces = [
            (math.ceil(low), math.floor(high), slope)
            for (low, high), slope in zip(pairwise(bounds), slopes, strict=True)
            if math.ceil(low) <= math.floor(high)
        ]
        starts = [*(first for first, _, _ in pieces[1:]), None]
        return tuple((*piece, piece[1] == start) for piece, start in zip(pieces, starts, strict=True))

    @property
    def domain(self) -> tuple[float, float]:
        """The outermost knots."""
        return self.k[0], self.k[-1]

    def seconds(self, k: float) -> float:
        """Time to compute k blocks."""
        if len(self.k) == 1:
            return self.knot_s[0]
        i = min(max(bisect_right(self.k, k) - 1, 0), len(self.k) - 2)
        share = (k - self.k[i]) / (self.k[i + 1] - self.k[i])
        return max(self.knot_s[i] + share * (self.knot_s[i + 1] - self.knot_s[i]), 0.0)

    def seconds_of(self, counts: Counts) -> Vector:
        """(n,) times to compute each of n numbers of blocks."""
        if len(self.k) == 1:
            return np.full(counts.shape, self.knot_s[0])
        knots, knot_s = np.array(self.k), np.array(self.knot_s)
        i = np.clip(np.searchsorted(knots, counts, side="right") - 1, 0, len(knots) - 2)
        share = (counts - knots[i]) / (knots[i + 1] - knots[i])
        times_s: Vector = np.maximum(knot_s[i] + share * (knot_s[i + 1] - knot_s[i]), 0.0)
        return times_s

    def best_block_count(
        self, active: int, decay_per_s: float, wire_s: float = 0.0, unsent: int = 0, least: int = 1
    ) -> int:
        """The whole k in [least, active] with the largest EA: the best of the pieces' maxima."""
        if active <= least or decay_per_s == 0.0:
            return active
        best, best_score = least, -math.inf
        fell_to = 0  # the last whole k of the piece before, where the score falls there
        for first, last, slope_s, joined in self._pieces:
            low, high = first - unsent, last - unsent
            if high < least:
                continue
            if low > active:
                break
            if low < least:
                low = least
            if high >= active:
                high, joined = active, False
            decay = decay_per_s * (wire_s + slope_s)  # d(score)/dk = 1/k − decay
            if high * decay <= 1.0:
                fell_to = 0
                if joined:
                    continue  # it rises to where the next piece begins
                candidate = high
            elif low * decay >= 1.0:
                came_down, fell_to = low == fell_to, high
                if came_down:
                    continue
                candidate = low
            else:
                fell_to = high
                candidate = max(int(1.0 / decay), low)
                if candidate < high and math.log1p(1.0 / candidate) > decay:
                    candidate += 1
            score = math.log(candidate) - decay_per_s * (
                candidate * wire_s + self.seconds(candidate + unsent)
            )
            if score > best_score:
                best, best_score = candidate, score
        return best

    def scaled(self, share: float) -> PiecewiseLinear:
        """The curve of a device that takes ``share`` of the time."""
        return PiecewiseLinear(self.k, tuple(share * one for one in self.knot_s), self.heldout_error)


@dataclass(frozen=True, slots=True)
class Tabulated:
    """A time for each listed number of blocks, for executors that are built for a few fixed sizes.

    Between two entries the work is padded to the larger one and takes its time, as it does below the first;
    beyond the last entry, which is an extrapolation, times continue along the line through the last two.

    Raises:
        ValueError: no entries, entries out of order or not whole, or times that are negative or fall.
    """

    name: ClassVar[str] = "tabulated"
    heldout_error: ClassVar[None] = None  # nothing was fitted, so nothing was held out

    k: tuple[int, ...]
    entry_s: tuple[float, ...]
    _times_s: Vector = field(init=False, repr=False, compare=False)  # of 0, 1, …, k[-1] blocks

    def __post_init__(self) -> None:
        _check(self.k, self.entry_s)
        if any(not isinstance(k, int) for k in self.k):
            raise ValueError(f"k: expected whole numbers of blocks, found {list(self.k)}")
        padded = np.searchsorted(self.k, np.arange(self.k[-1] + 1))
        object.__setattr__(self, "_times_s", np.array(self.entry_s)[padded])

    @property
    def domain(self) -> tuple[float, float]:
        """The first and the last entry."""
        return self.k[0], self.k[-1]

    @property
    def _slope_s(self) -> float:
        if len(self.k) == 1:
            return 0.0
        return (self.entry_s[-1] - self.entry_s[-2]) / (self.k[-1] - self.k[-2])

    def seconds(self, k: float) -> float:
        """Time to compute k blocks."""
        i = bisect_left(self.k, k)
        if i < len(self.k):
            return self.entry_s[i]
        return self.entry_s[-1] + (k - self.k[-1]) * self._slope_s

    def seconds_of(self, counts: Counts) -> Vector:
        """(n,) times to compute each of n numbers of blocks."""
        last = self.k[-1]
        times_s: Vector = self._times_s[np.minimum(counts, last)]
        return times_s + np.maximum(counts - last, 0) * self._slope_s

    def best_block_count(
        self, active: int, decay_per_s: float, wire_s: float = 0.0, unsent: int = 0, least: int = 1
    ) -> int:
        """The whole k in [least, active] with the largest EA, of all that sending alone does not rule out."""
        if active <= least or decay_per_s == 0.0:
            return active
        # T never falls, so past the k that is best for the wire alone nothing can be won.
        wire_decay = decay_per_s * wire_s
        most = active if wire_decay * active <= 1.0 else max(int(1.0 / wire_decay) + 1, least)
        first, stop = least + unsent, most + unsent + 1
        if stop <= len(self._times_s):
            times_s = self._times_s[first:stop]
        else:
            times_s = self.seconds_of(np.arange(first, stop))
        return best_of_times(times_s, decay_per_s, wire_s, least)

    def scaled(self, share: float) -> Tabulated:
        """The curve of a device that takes ``share`` of the time."""
        return Tabulated(self.k, tuple(share * one for one in self.entry_s))


def best_of_times(times_s: Vector, decay_per_s: float, wire_s: float = 0.0, least: int = 1) -> int:
    """The k = least, least + 1, … with the largest ln k − λ·(w·k + t), t being the times in their order.

    Args:
        times_s: (n,), at least one; in any order.
    """
    if wire_s == math.inf:
        return least
    counts, logarithms = _counts_and_logarithms(1 << (least + len(times_s)).bit_length())
    chosen = slice(least - 1, least - 1 + len(times_s))
    scores = times_s * -decay_per_s
    if wire_s:
        scores -= counts[chosen] * (decay_per_s * wire_s)
    scores += logarithms[chosen]
    return least + int(scores.argmax())


@lru_cache(maxsize=32)
def _counts_and_logarithms(size: int) -> tuple[Vector, Vector]:
    counts = np.arange(1, size + 1, dtype=np.float64)
    return counts, np.log(counts)


def _check(k: tuple[float, ...], seconds: tuple[float, ...]) -> None:
    if not k or len(k) != len(seconds):
        raise ValueError(f"k: expected as many numbers of blocks as times, found {len(k)} and {len(seconds)}")
    if k[0] < 0 or any(after <= before for before, after in pairwise(k)):
        raise ValueError(f"k: expected numbers of blocks >= 0 that rise, found {list(k)}")
    if not seconds[0] >= 0.0 or any(not after >= before for before, after in pairwise(seconds)):
        raise ValueError(f"seconds: expected times >= 0 that never fall, found {list(seconds)}")
