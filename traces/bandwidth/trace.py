"""Bandwidth traces: how many bytes a link may carry, and when.

Two kinds, because the sources come in two kinds. An *opportunity trace* lists the milliseconds at which one
packet may leave; it keeps the bursts and silences of a cellular link. A *rate trace* lists (time, rate)
segments of a fluid link. Turning the first into the second hides delay (a median of 13 ms instead
of 21 ms on an LTE uplink at 30 % load), so both are kept as they come.

Every trace loops: what happens at time t also happens at t + period.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError

MS_PER_S = 1000
MAX_OPPORTUNITIES = 100_000_000  # 0.8 GB; more is a slip of a unit, and would end in a killed process


@dataclass(frozen=True, slots=True, eq=False)
class OpportunityTrace:
    """Milliseconds at which one packet may leave (the mahimahi model).

    Opportunity i of repetition j occurs at times_ms[i] + j * period_ms. An opportunity that finds no bytes
    waiting is wasted; bytes of several messages share one.

    name: what tables and plots call it.
    times_ms: (n,) int64, n >= 1, non-decreasing, within [0, period_ms]; a repeated value means several
        packets in that millisecond. A last value equal to period_ms (as in every mahimahi file) coincides
        with millisecond 0 of the next period.
    period_ms: length of one period, >= 1.
    packet_bytes: bytes that one opportunity carries.
    synthetic: made by a generator, not measured.
    source: file or generator, for messages.

    Raises:
        InputError: a value breaks one of these rules.
    """

    name: str
    times_ms: NDArray[np.int64]
    period_ms: int
    packet_bytes: int = 1500
    synthetic: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        label = self.source or self.name
        times_ms = np.array(self.times_ms)
        if times_ms.ndim != 1 or times_ms.size == 0:
            raise InputError(
                f"{label}: times_ms must hold at least one opportunity (got shape {times_ms.shape})"
            )
        if times_ms.dtype.kind not in "iu":
            raise InputError(f"{label}: times_ms must be whole milliseconds (got {times_ms.dtype})")
        times_ms = times_ms.astype(np.int64)
        if self.period_ms < 1:
            raise InputError(f"{label}: period_ms(={self.period_ms}) must be >= 1")
        if self.packet_bytes < 1:
            raise InputError(f"{label}: packet_bytes(={self.packet_bytes}) must be >= 1")
        backwards = np.flatnonzero(np.diff(times_ms) < 0)
        if backwards.size:
            i = int(backwards[0]) + 1
            raise InputError(
                f"{label}: times_ms must not decrease (index {i}: {times_ms[i]} after {times_ms[i - 1]} ms)"
            )
        if times_ms[0] < 0 or times_ms[-1] > self.period_ms:
            raise InputError(
                f"{label}: times_ms must lie within [0, period_ms={self.period_ms}] "
                f"(got {times_ms[0]} to {times_ms[-1]})"
            )
        times_ms.setflags(write=False)
        object.__setattr__(self, "times_ms", times_ms)
        object.__setattr__(self, "period_ms", int(self.period_ms))

    def __repr__(self) -> str:
        return (
            f"<OpportunityTrace {self.name!r}: {self.times_ms.size} packets of {self.packet_bytes} bytes in "
            f"{self.duration_s:g} s, {self.mean_bps / 1e6:.3g} Mbit/s>"
        )

    @property
    def duration_s(self) -> float:
        """Length of one period."""
        return self.period_ms / MS_PER_S

    @property
    def bytes_per_period(self) -> float:
        """What one period carries if every opportunity is used."""
        return float(self.times_ms.size * self.packet_bytes)

    @property
    def mean_bps(self) -> float:
        """Capacity of one period over its length."""
        return 8.0 * self.bytes_per_period / self.duration_s

    def scaled_to_mean(self, mean_bps: float) -> OpportunityTrace:
        """The same milliseconds with more or fewer packets, so that the mean is mean_bps.

        Packets keep their size. With n opportunities and m = round(mean_bps * duration / packet bits)
        wanted, the k-th new one (k = 0..m-1) takes the millisecond of the old one numbered
        floor((k + 1/2) * n / m). At every instant the new cumulative count is then within half a packet of
        m/n times the old one, and the total is m exactly: the mean is met to half a packet a period. No
        millisecond that was silent gains a packet, so scaling a sparse trace up makes bigger bursts, not
        shorter silences.

        Raises:
            InputError: mean_bps is not finite and positive, or leaves less than one packet a period.
        """
        _check_mean(mean_bps, self.source or self.name)
        n = self.times_ms.size
        m = round(mean_bps * self.duration_s / (8 * self.packet_bytes))
        if m < 1:
            raise InputError(
                f"{self.source or self.name}: a mean of {mean_bps:g} bit/s leaves no packet of "
                f"{self.packet_bytes} bytes in a period of {self.duration_s:g} s"
            )
        if m == n:
            return self
        _check_size(m, f"a mean of {mean_bps:g} bit/s", self.source or self.name)
        k = np.arange(m, dtype=np.int64)
        return replace(self, times_ms=self.times_ms[(2 * k + 1) * n // (2 * m)])

    def sliced(self, start_s: float, end_s: float) -> OpportunityTrace:
        """The part with start <= t < end as a trace of its own that starts at 0 and loops after end - start.

        Both ends are rounded to milliseconds. A slice that ends where the trace ends keeps the
        opportunities of the last millisecond, so consecutive slices share out every packet.

        Raises:
            InputError: the ends are not 0 <= start < end <= duration, or nothing can leave between them.
        """
        _check_slice(start_s, end_s, self.duration_s, self.source or self.name)
        start_ms, end_ms = round(start_s * MS_PER_S), round(end_s * MS_PER_S)
        if end_ms <= start_ms:
            raise InputError(
                f"{self.source or self.name}: a slice must last >= 1 ms (got {start_s:g} to {end_s:g} s)"
            )
        first = int(np.searchsorted(self.times_ms, start_ms, side="left"))
        side = "right" if end_ms >= self.period_ms else "left"
        last = int(np.searchsorted(self.times_ms, end_ms, side=side))  # type: ignore[call-overload]
        if last == first:
            raise InputError(
                f"{self.source or self.name}: no delivery opportunity between {start_s:g} s and {end_s:g} s; "
                "a trace needs at least one"
            )
        return replace(self, times_ms=self.times_ms[first:last] - start_ms, period_ms=end_ms - start_ms)

    def shifted(self, offset_s: float) -> OpportunityTrace:
        """The same loop entered at offset_s (rounded to milliseconds, taken modulo the period)."""
        _check_finite("offset_s", offset_s, self.source or self.name)
        offset_ms = round(offset_s * MS_PER_S) % self.period_ms
        first = int(np.searchsorted(self.times_ms, offset_ms, side="left"))
        times_ms = np.concatenate((self.times_ms[first:], self.times_ms[:first] + self.period_ms)) - offset_ms
        return replace(self, times_ms=times_ms)

    def looped_to(self, duration_s: float) -> OpportunityTrace:
        """One period of exactly duration_s (to the millisecond): repeated, the last repetition cut."""
        _check_duration(duration_s, self.source or self.name)
        duration_ms = max(1, round(duration_s * MS_PER_S))
        repetitions = -(-duration_ms // self.period_ms)
        _check_size(
            repetitions * self.times_ms.size, f"a length of {duration_s:g} s", self.source or self.name
        )
        starts_ms = np.arange(repetitions, dtype=np.int64) * self.period_ms
        # A packet at the period's end and one at the next period's 0 share a millisecond: order is kept.
        times_ms = (starts_ms[:, None] + self.times_ms[None, :]).ravel()
        whole = replace(self, times_ms=times_ms, period_ms=repetitions * self.period_ms)
        return whole.sliced(0.0, duration_ms / MS_PER_S)


@dataclass(frozen=True, slots=True, eq=False)
class RateTrace:
    """(time, rate) segments of a fluid link.

    Segment i carries rates_bps[i] from times_s[i] to times_s[i + 1], the last one to period_s; then the
    trace starts again.

    name: what tables and plots call it.
    times_s: (n,) float64, n >= 1, strictly increasing, times_s[0] == 0.
    rates_bps: (n,) float64, finite, >= 0, at least one > 0.
    period_s: length of one period, > times_s[-1].
    synthetic: made by a generator, not measured.
    source: file or generator, for messages.

    Raises:
        InputError: a value breaks one of these rules.
    """

    name: str
    times_s: NDArray[np.float64]
    rates_bps: NDArray[np.float64]
    period_s: float
    synthetic: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        label = self.source or self.name
        times_s, rates_bps = np.array(self.times_s, np.float64), np.array(self.rates_bps, np.float64)
        if times_s.ndim != 1 or times_s.size == 0 or times_s.shape != rates_bps.shape:
            raise InputError(
                f"{label}: times_s and rates_bps must be of one length >= 1 "
                f"(got {times_s.shape} and {rates_bps.shape})"
            )
        if (
            not np.isfinite(times_s).all()
            or not np.isfinite(rates_bps).all()
            or not math.isfinite(self.period_s)
        ):
            raise InputError(f"{label}: times_s, rates_bps and period_s must be finite")
        if times_s[0] != 0.0:
            raise InputError(f"{label}: times_s must start at 0 (got {times_s[0]:g})")
        backwards = np.flatnonzero(np.diff(times_s) <= 0)
        if backwards.size:
            i = int(backwards[0]) + 1
            raise InputError(
                f"{label}: times_s must increase (index {i}: {times_s[i]:g} s after {times_s[i - 1]:g} s)"
            )
        if self.period_s <= times_s[-1]:
            raise InputError(
                f"{label}: period_s(={self.period_s:g}) must be > the last time {times_s[-1]:g} s"
            )
        if rates_bps.min() < 0:
            i = int(np.argmin(rates_bps))
            raise InputError(f"{label}: rates_bps must be >= 0 (index {i}: {rates_bps[i]:g} bit/s)")
        if rates_bps.max() <= 0:
            raise InputError(f"{label}: every rate is 0 bit/s; a trace needs at least one > 0")
        times_s.setflags(write=False)
        rates_bps.setflags(write=False)
        object.__setattr__(self, "times_s", times_s)
        object.__setattr__(self, "rates_bps", rates_bps)
        object.__setattr__(self, "period_s", float(self.period_s))

    def __repr__(self) -> str:
        return (
            f"<RateTrace {self.name!r}: {self.times_s.size} segments in {self.duration_s:g} s, "
            f"{self.mean_bps / 1e6:.3g} Mbit/s>"
        )

    @property
    def duration_s(self) -> float:
        """Length of one period."""
        return self.period_s

    @property
    def durations_s(self) -> NDArray[np.float64]:
        """Length of each segment, (n,)."""
        return np.diff(self.times_s, append=self.period_s)

    @property
    def bytes_per_period(self) -> float:
        """What one period carries if the link is never idle."""
        return float(self.rates_bps @ self.durations_s) / 8.0

    @property
    def mean_bps(self) -> float:
        """Capacity of one period over its length."""
        return 8.0 * self.bytes_per_period / self.duration_s

    def scaled_to_mean(self, mean_bps: float) -> RateTrace:
        """Every rate multiplied by one factor, so that the mean is mean_bps.

        Raises:
            InputError: mean_bps is not finite and positive.
        """
        _check_mean(mean_bps, self.source or self.name)
        return replace(self, rates_bps=self.rates_bps * (mean_bps / self.mean_bps))

    def sliced(self, start_s: float, end_s: float) -> RateTrace:
        """The part from start_s to end_s as a trace of its own that starts at 0 and loops after end - start.

        Raises:
            InputError: the ends are not 0 <= start < end <= duration, or every rate between them is 0.
        """
        _check_slice(start_s, end_s, self.duration_s, self.source or self.name)
        end_s = min(end_s, self.period_s)
        first = int(np.searchsorted(self.times_s, start_s, side="right")) - 1
        last = int(np.searchsorted(self.times_s, end_s, side="left"))
        times_s = np.maximum(self.times_s[first:last] - start_s, 0.0)
        rates_bps = self.rates_bps[first:last]
        if rates_bps.max() <= 0:
            raise InputError(
                f"{self.source or self.name}: every rate between {start_s:g} s and {end_s:g} s is 0 bit/s; "
                "a trace needs at least one > 0"
            )
        return _rate_trace_without_empty_segments(self, times_s, rates_bps, end_s - start_s)

    def shifted(self, offset_s: float) -> RateTrace:
        """The same loop entered at offset_s (taken modulo the period); a segment it cuts is split in two."""
        _check_finite("offset_s", offset_s, self.source or self.name)
        offset_s = offset_s % self.period_s
        if offset_s == 0.0:
            return self
        current = int(np.searchsorted(self.times_s, offset_s, side="right")) - 1
        before = self.times_s < offset_s
        times_s = np.concatenate(
            ([0.0], self.times_s[current + 1 :] - offset_s, self.times_s[before] + (self.period_s - offset_s))
        )
        rates_bps = np.concatenate(
            ([self.rates_bps[current]], self.rates_bps[current + 1 :], self.rates_bps[before])
        )
        return _rate_trace_without_empty_segments(self, times_s, rates_bps, self.period_s)

    def looped_to(self, duration_s: float) -> RateTrace:
        """One period of exactly duration_s: repeated, the last repetition cut."""
        _check_duration(duration_s, self.source or self.name)
        repetitions = max(1, math.ceil(duration_s / self.period_s))
        _check_size(
            repetitions * self.times_s.size, f"a length of {duration_s:g} s", self.source or self.name
        )
        starts_s = np.arange(repetitions) * self.period_s
        times_s = (starts_s[:, None] + self.times_s[None, :]).ravel()
        rates_bps = np.tile(self.rates_bps, repetitions)
        whole = _rate_trace_without_empty_segments(self, times_s, rates_bps, repetitions * self.period_s)
        return whole.sliced(0.0, min(duration_s, whole.period_s))


BandwidthTrace: TypeAlias = OpportunityTrace | RateTrace


def _rate_trace_without_empty_segments(
    trace: RateTrace, times_s: NDArray[np.float64], rates_bps: NDArray[np.float64], period_s: float
) -> RateTrace:
    """A copy with new segments; those that rounding left without length carry no bytes and are dropped."""
    kept = np.diff(times_s, append=period_s) > 0
    times_s, rates_bps = times_s[kept], rates_bps[kept]
    times_s[0] = 0.0
    return replace(trace, times_s=times_s, rates_bps=rates_bps, period_s=period_s)


def _check_finite(what: str, value: float, label: str) -> None:
    if not math.isfinite(value):
        raise InputError(f"{label}: {what} must be finite (got {value})")


def _check_mean(mean_bps: float, label: str) -> None:
    if not (math.isfinite(mean_bps) and mean_bps > 0):
        raise InputError(f"{label}: the mean must be a finite rate > 0 bit/s (got {mean_bps})")


def _check_duration(duration_s: float, label: str) -> None:
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise InputError(f"{label}: the duration must be finite and > 0 s (got {duration_s})")


def _check_size(opportunities: int, cause: str, label: str) -> None:
    if opportunities > MAX_OPPORTUNITIES:
        raise InputError(
            f"{label}: {cause} needs {opportunities:.3g} opportunities or segments in a period; "
            f"at most {MAX_OPPORTUNITIES:.0e} are allowed"
        )


def _check_slice(start_s: float, end_s: float, duration_s: float, label: str) -> None:
    if not (0.0 <= start_s < end_s <= duration_s * (1 + 1e-12)):
        raise InputError(
            f"{label}: a slice must satisfy 0 <= start < end <= {duration_s:g} s, the length of the trace "
            f"(got {start_s:g} to {end_s:g} s)"
        )
