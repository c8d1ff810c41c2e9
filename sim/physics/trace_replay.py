"""Replaying a bandwidth trace: how far the bytes get by when.

A replay is a position in an endlessly looping trace. It only moves forward: whatever it hands out is
gone. Both kinds of trace answer the same four questions, so that links need not know which one they
own.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np

from sim.physics.windows import check_windows
from traces.bandwidth.trace import BandwidthTrace, OpportunityTrace, RateTrace

PACKET_BYTES = 1500
# Times pass through sums of floats on their way here. A byte that arrives within a nanosecond of an
# opportunity counts as having arrived in time for it.
CLOCK_TOLERANCE_S = 1e-9
# Lazily settled traffic is looked at this long after its end, so that a critical message of that very
# instant still goes first; less than the tolerance, so that whoever reacts to the end is not late, and
# several steps of a clock that shows 1e6 s (1.2e-10 s each), or the clock would stand still.
LOOK_AFTER_S = 5e-10
# Less is rounding: it must not wait for the next segment that has a rate.
_BYTE_TOLERANCE = 1e-6


class TraceReplay(Protocol):
    """A forward-only position in a trace; times are absolute seconds of simulated time."""

    def take(self, size_bytes: float, now_s: float) -> float:
        """Hand `size_bytes` that arrived at `now_s` to the link; return when the last one has left."""

    def peek(self, size_bytes: float, now_s: float) -> float:
        """What :meth:`take` would return, without taking anything."""

    def take_before(self, limit_bytes: float, arrived_s: float, until_s: float) -> float:
        """Hand over what leaves strictly before `until_s`, at most `limit_bytes`; return how many.

        A packet that has begun to leave is finished even where it ends after `until_s`.
        """

    def owed_bytes(self, now_s: float) -> float:
        """What of the bytes that were taken leaves only after `now_s`, if the link does not pause before."""

    def free_s(self) -> float:
        """The time up to which the link is known to be busy with what was taken."""

    @property
    def room_bytes(self) -> float:
        """What the last delivery opportunity that was used still has room for."""

    @property
    def grant_bytes(self) -> float:
        """What one delivery opportunity carries; 0 where bytes flow."""

    def grants(self, after_s: float, until_s: float) -> int:
        """Milliseconds with opportunities in (after_s, until_s], outages left out; 0 where bytes flow.

        Of a time in which the link was never without bytes, these are the grants that have been used.
        """

    def capacity_bytes(self, start_s: float, end_s: float) -> float:
        """Bytes that can leave from `start_s` until before `end_s` if the link is never idle."""


class OpportunityReplay:
    """Millisecond delivery opportunities, replayed by the packet-by-packet rule (mahimahi).

    Bytes that wait share an opportunity; what an opportunity cannot fill is wasted; the trace loops at
    its period. The state is the last opportunity used and the bytes left in it, so a message costs two
    bisections however many packets it has, and the result is exactly that of serving packet by packet.

    Opportunities are kept as distinct milliseconds with running counts: memory follows the trace's length,
    not its rate.
    """

    __slots__ = (
        "_before",
        "_count",
        "_dead",
        "_index",
        "_last_ms",
        "_packet_bytes",
        "_period_ms",
        "_times_ms",
        "room_bytes",
    )

    def __init__(self, trace: OpportunityTrace, outages: Sequence[tuple[float, float]] = ()) -> None:
        # By millisecond, not by packet: a trace of several Gbit/s has hundreds of millions of these.
        counts = np.diff(np.searchsorted(trace.times_ms, np.arange(int(trace.times_ms[-1]) + 2)))
        times_ms = np.flatnonzero(counts)
        counts = counts[times_ms]
        self._times_ms: list[int] = times_ms.tolist()  # lists: bisect on them is three times faster
        self._before: list[int] = [0, *np.cumsum(counts).tolist()]  # opportunities before each millisecond
        self._count = self._before[-1]
        self._period_ms = trace.period_ms
        self._packet_bytes = trace.packet_bytes
        self._index = -1  # opportunity i of round j has the index j * count + i
        self._last_ms = -1  # when that opportunity is
        self.room_bytes = 0.0
        # Indices [first, end) of the opportunities that fall into an outage.
        self._dead = [
            (
                self._first_at_or_after((start_s - CLOCK_TOLERANCE_S) * 1e3),
                self._first_at_or_after((end_s - CLOCK_TOLERANCE_S) * 1e3),
            )
            for start_s, end_s in outages
        ]

    @property
    def grant_bytes(self) -> float:
        return float(self._packet_bytes)

    def _time_ms(self, index: int) -> int:
        round_, place = divmod(index, self._count)
        return round_ * self._period_ms + self._times_ms[bisect_right(self._before, place) - 1]

    def _first_at_or_after(self, now_ms: float) -> int:
        """Index of the first opportunity at or after `now_ms`, a round's last one included."""
        if now_ms <= 0:
            return 0
        round_ = int(now_ms // self._period_ms)
        within = now_ms - round_ * self._period_ms
        if within == 0 and round_ > 0:  # the last opportunity of a round may fall on its very end
            round_, within = round_ - 1, float(self._period_ms)
        return round_ * self._count + self._before[bisect_left(self._times_ms, within)]

    def _plan(self, size_bytes: float, now_s: float) -> tuple[int, float]:
        """The opportunity that carries the last byte, and the bytes then left in it."""
        now_ms = (now_s - CLOCK_TOLERANCE_S) * 1e3
        index, left = self._index, 0.0
        if now_ms <= self._last_ms:
            left = self.room_bytes
            following = index + 1
            if size_bytes <= left:
                return index, left - size_bytes
        else:
            following = max(index + 1, self._first_at_or_after(now_ms))
        wanted = size_bytes - left
        packets = int(-(-wanted // self._packet_bytes))
        last = self._live(following, packets) if self._dead else following + packets - 1
        return last, packets * self._packet_bytes - wanted

    def _live(self, following: int, packets: int) -> int:
        """The opportunity that carries the last of `packets` if they leave from `following` on."""
        for first, end in self._dead:
            if end <= following:
                continue
            before = max(0, first - following)
            if packets <= before:
                break
            packets -= before
            following = end
        return following + packets - 1

    def take(self, size_bytes: float, now_s: float) -> float:
        if size_bytes <= 0:
            return now_s
        self._index, self.room_bytes = self._plan(size_bytes, now_s)
        self._last_ms = self._time_ms(self._index)
        return max(now_s, self._last_ms / 1e3)

    def peek(self, size_bytes: float, now_s: float) -> float:
        if size_bytes <= 0:
            return now_s
        return max(now_s, self._time_ms(self._plan(size_bytes, now_s)[0]) / 1e3)

    def take_before(self, limit_bytes: float, arrived_s: float, until_s: float) -> float:
        if limit_bytes <= 0 or until_s <= arrived_s:
            return 0.0
        last = self._first_at_or_after((until_s - 0.5 * LOOK_AFTER_S) * 1e3) - 1
        index, left = self._plan(limit_bytes, arrived_s)
        if index <= last:
            self._index, self.room_bytes = index, left
            self._last_ms = self._time_ms(index)
            return limit_bytes
        # Not everything fits: every opportunity up to `last` is used up.
        now_ms = (arrived_s - CLOCK_TOLERANCE_S) * 1e3
        taken = 0.0
        following = max(self._index + 1, self._first_at_or_after(now_ms))
        if now_ms <= self._last_ms:
            following = self._index + 1
            if self._index <= last:
                taken = self.room_bytes
        packets = last - following + 1
        for first, end in self._dead:
            packets -= max(0, min(end, last + 1) - max(first, following))
        if packets > 0:
            taken += packets * self._packet_bytes
            self._index = self._live(following, packets)
            self._last_ms = self._time_ms(self._index)
        if taken > 0:
            self.room_bytes = 0.0
        return min(taken, limit_bytes)

    def owed_bytes(self, now_s: float) -> float:
        first, end = self._first_at_or_after((now_s + CLOCK_TOLERANCE_S) * 1e3), self._index + 1
        if first >= end:
            return 0.0
        lost = sum(max(0, min(over, end) - max(begun, first)) for begun, over in self._dead)
        return (end - first - lost) * self._packet_bytes - self.room_bytes

    def free_s(self) -> float:
        return max(self._last_ms, 0) / 1e3

    def grants(self, after_s: float, until_s: float) -> int:
        first = self._first_at_or_after((after_s + CLOCK_TOLERANCE_S) * 1e3)
        end = self._first_at_or_after((until_s + CLOCK_TOLERANCE_S) * 1e3)
        if first >= end:
            return 0
        found = self._milliseconds(end) - self._milliseconds(first)
        for begun, over in self._dead:
            if begun < end and over > first:
                found -= self._milliseconds(min(over, end)) - self._milliseconds(max(begun, first))
        return found

    def _milliseconds(self, index: int) -> int:
        """How many milliseconds have opportunities before this one, the first of its own."""
        round_, place = divmod(index, self._count)
        return round_ * len(self._times_ms) + bisect_left(self._before, place)

    def capacity_bytes(self, start_s: float, end_s: float) -> float:
        first, end = (
            self._first_at_or_after((time_s - CLOCK_TOLERANCE_S) * 1e3) for time_s in (start_s, end_s)
        )
        lost = sum(max(0, min(over, end) - max(begun, first)) for begun, over in self._dead)
        return float((end - first - lost) * self._packet_bytes)


class RateReplay:
    """(time, rate) segments: bytes flow like water at the segment's rate; zero rates and outages stall."""

    room_bytes = 0.0  # water leaves none,
    grant_bytes = 0.0  # and comes as it is asked for
    __slots__ = (
        "_before_bytes",
        "_bounds_s",
        "_busy_until_s",
        "_bytes_per_s",
        "_constant",
        "_outages",
        "_period_s",
    )

    def __init__(self, trace: RateTrace, outages: Sequence[tuple[float, float]] = ()) -> None:
        self._bounds_s: list[float] = [*trace.times_s.tolist(), trace.period_s]
        self._bytes_per_s: list[float] = (trace.rates_bps / 8.0).tolist()
        self._period_s = trace.period_s
        segment_bytes = (
            rate * (end - start)
            for rate, start, end in zip(
                self._bytes_per_s, self._bounds_s[:-1], self._bounds_s[1:], strict=True
            )
        )
        # Of a round, before each bound.
        self._before_bytes: list[float] = [0.0, *accumulate(segment_bytes)]
        self._outages = list(outages)
        self._constant = len(self._bytes_per_s) == 1 and not self._outages
        self._busy_until_s = 0.0

    def _finish_s(self, size_bytes: float, start_s: float) -> float:
        if self._constant:
            return start_s + size_bytes / self._bytes_per_s[0]
        for outage_s, end_s in self._outages:
            if end_s <= start_s:
                continue
            if start_s < outage_s:
                finish_s = self._walk_s(size_bytes, start_s)
                if finish_s <= outage_s + CLOCK_TOLERANCE_S:
                    return finish_s
                size_bytes -= self._carried_bytes(outage_s) - self._carried_bytes(start_s)
            start_s = end_s
        return self._walk_s(size_bytes, start_s)

    def _walk_s(self, size_bytes: float, start_s: float) -> float:
        """When the bytes are through if there is no outage."""
        rounds, within = divmod(start_s, self._period_s)
        base_s = rounds * self._period_s
        rates, bounds = self._bytes_per_s, self._bounds_s
        period_bytes = self._before_bytes[-1]
        segment = min(bisect_right(bounds, within) - 1, len(rates) - 1)
        remaining = size_bytes
        while True:
            rate = rates[segment]
            room = rate * (bounds[segment + 1] - within)
            if remaining <= room + _BYTE_TOLERANCE and rate > 0.0:
                return base_s + min(within + remaining / rate, bounds[segment + 1])
            remaining -= room
            segment += 1
            if segment == len(rates):
                segment = 0
                base_s += self._period_s
                # The last byte leaves inside a round, not at the start of the next.
                whole = max(0, int((remaining - _BYTE_TOLERANCE) // period_bytes))
                base_s += whole * self._period_s
                remaining -= whole * period_bytes
            within = bounds[segment]

    def _carried_bytes(self, time_s: float) -> float:
        """Bytes that could have left by a time if there were no outage."""
        rounds, within = divmod(time_s, self._period_s)
        segment = min(bisect_right(self._bounds_s, within) - 1, len(self._bytes_per_s) - 1)
        return (
            rounds * self._before_bytes[-1]
            + self._before_bytes[segment]
            + self._bytes_per_s[segment] * (within - self._bounds_s[segment])
        )

    def grants(self, after_s: float, until_s: float) -> int:
        return 0

    def capacity_bytes(self, start_s: float, end_s: float) -> float:
        total = self._carried_bytes(end_s) - self._carried_bytes(start_s)
        for outage_s, over_s in self._outages:
            low_s, high_s = max(outage_s, start_s), min(over_s, end_s)
            if low_s < high_s:
                total -= self._carried_bytes(high_s) - self._carried_bytes(low_s)
        return max(0.0, total)

    def take(self, size_bytes: float, now_s: float) -> float:
        if size_bytes <= 0:
            return now_s
        self._busy_until_s = self._finish_s(size_bytes, max(now_s, self._busy_until_s))
        return self._busy_until_s

    def peek(self, size_bytes: float, now_s: float) -> float:
        if size_bytes <= 0:
            return now_s
        return self._finish_s(size_bytes, max(now_s, self._busy_until_s))

    def take_before(self, limit_bytes: float, arrived_s: float, until_s: float) -> float:
        start_s = max(arrived_s, self._busy_until_s)
        if limit_bytes <= 0 or until_s <= start_s:
            return 0.0
        finish_s = self._finish_s(limit_bytes, start_s)
        if finish_s > until_s:
            room = self.capacity_bytes(start_s, until_s)
            if room <= 0:
                return 0.0
            # Cut at a packet boundary: the packet that is leaving is finished.
            limit_bytes = min(limit_bytes, -(-room // PACKET_BYTES) * PACKET_BYTES)
            finish_s = self._finish_s(limit_bytes, start_s)
        self._busy_until_s = finish_s
        return limit_bytes

    def owed_bytes(self, now_s: float) -> float:
        return self.capacity_bytes(now_s, self._busy_until_s) if self._busy_until_s > now_s else 0.0

    def free_s(self) -> float:
        return self._busy_until_s


def replay(trace: BandwidthTrace, outages: Sequence[tuple[float, float]] = ()) -> TraceReplay:
    """The replay that fits a trace.

    Args:
        trace: what the link may carry.
        outages: ascending, disjoint [start, end) in seconds during which nothing leaves; an opportunity
            in one is wasted.

    Raises:
        InputError: the outages are not ascending, disjoint and finite.
    """
    check_windows("link.outages_s", outages)
    if isinstance(trace, OpportunityTrace):
        return OpportunityReplay(trace, outages)
    return RateReplay(trace, outages)
