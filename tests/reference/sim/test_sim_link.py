"""The link against the rule written out: packet by packet, or piece by piece of a (time, rate) trace.

The rule (mahimahi): each opportunity carries up to 1500 bytes of the queue; several messages share one; what
finds nothing waiting is wasted; the trace starts again after its period.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from simpy import Environment

from sim.physics.link import Link, LinkConditions
from sim.physics.trace_replay import replay
from tests.strategies.sim import (
    TICKS_PER_S,
    Sent,
    at,
    outages,
    schedules,
    small_opportunity_traces,
    small_rate_traces,
)
from traces.bandwidth.loading import load_trace
from traces.bandwidth.trace import BandwidthTrace, OpportunityTrace, RateTrace

FPS = 30


def packet_by_packet(
    trace: OpportunityTrace,
    sent: Sequence[tuple[float, int]],
    interruptions: Sequence[tuple[float, float]] = (),
) -> list[float]:
    """When the last byte of each message leaves, one opportunity after the other."""
    delivered_s = []
    queue: deque[list[float]] = deque()  # [arrival in s, bytes that wait]
    coming = deque(sent)
    round_ms = 0
    while queue or coming:
        for opportunity_ms in trace.times_ms.tolist():
            time_s = (round_ms + opportunity_ms) / 1000
            while coming and coming[0][0] <= time_s + 1e-9:
                arrived_s, size_bytes = coming.popleft()
                queue.append([arrived_s, size_bytes])
            if any(start_s <= time_s + 1e-9 and time_s + 1e-9 < end_s for start_s, end_s in interruptions):
                continue
            room = trace.packet_bytes
            while queue and room:
                carried = min(room, queue[0][1])
                room -= carried
                queue[0][1] -= carried
                if queue[0][1] == 0:
                    delivered_s.append(max(queue.popleft()[0], time_s))
        round_ms += trace.period_ms
    return delivered_s


def piece_by_piece(
    trace: RateTrace, sent: Sequence[tuple[float, int]], interruptions: Sequence[tuple[float, float]] = ()
) -> list[float]:
    """The same for a fluid link, exact but for a millionth of a byte: pieces carry rate times length."""

    def pieces() -> Iterator[tuple[Fraction, Fraction, Fraction]]:
        cuts = sorted(Fraction(bound) for pair in interruptions for bound in pair)
        bounds = [*map(Fraction, trace.times_s.tolist()), Fraction(trace.period_s)]
        base = Fraction(0)
        while True:
            for start, end, rate in zip(bounds, bounds[1:], trace.rates_bps.tolist(), strict=False):
                inner = [base + start, *(cut for cut in cuts if base + start < cut < base + end), base + end]
                for low, high in pairwise(inner):
                    out = any(a <= low < b for a, b in interruptions)
                    yield low, high, Fraction(0) if out else Fraction(rate) / 8
            base += bounds[-1]

    supply = pieces()
    low, high, rate = next(supply)
    free = Fraction(0)
    delivered_s = []
    for arrived_s, size_bytes in sent:
        free = max(free, Fraction(arrived_s))
        remaining = Fraction(size_bytes)
        while True:
            while high <= free:
                low, high, rate = next(supply)
            room = rate * (high - max(low, free))
            if remaining <= room + Fraction(1, 10**6):  # an end on a bound must not hang on the last bit
                free = max(low, free) + remaining / rate
                break
            remaining -= room
            free = high
        delivered_s.append(float(free))
    return delivered_s


def delivered_by_link(
    trace: BandwidthTrace,
    sent: Sequence[tuple[float, int]],
    interruptions: Sequence[tuple[float, float]] = (),
) -> list[float]:
    """The same by :class:`sim.physics.link.Link`."""
    env = Environment()
    link = Link(env, replay(trace, interruptions), LinkConditions())
    delivered_s: list[float] = []
    at(env, [(s, lambda size=size: delivered_s.append(link.reserve(size).delivered_s)) for s, size in sent])
    env.run()
    return delivered_s


def in_seconds(schedule: Sequence[Sent]) -> list[tuple[float, int]]:
    return [(message.ticks / TICKS_PER_S, message.size_bytes) for message in schedule]


@pytest.mark.data
@pytest.mark.parametrize("load", [0.3, 0.7, 1.1])
@pytest.mark.parametrize(
    "name",
    ["ATT-LTE-driving-2016.up", "TMobile-UMTS-driving.up", "Verizon-LTE-short.down", "Verizon-LTE-short.up"],
)
def test_every_frame_leaves_at_the_packet_rules_instant(data_dir: Path, name: str, load: float) -> None:
    trace = load_trace(data_dir / "traces" / "mahimahi" / name, "mahimahi")
    assert isinstance(trace, OpportunityTrace)
    mean_bytes = load * trace.mean_bps / 8 / FPS
    sizes = np.random.default_rng(1).exponential(mean_bytes, int(FPS * trace.duration_s)).astype(int) + 1
    sent = [(index / FPS, int(size)) for index, size in enumerate(sizes)]
    assert delivered_by_link(trace, sent) == packet_by_packet(trace, sent)


@given(small_opportunity_traces(), schedules(), st.one_of(st.just([]), outages()))
@example(OpportunityTrace("one, at its period", np.array([7]), 7), [Sent(0, 4000)], [])
@example(OpportunityTrace("one, at 0", np.array([0]), 9), [Sent(0, 1), Sent(0, 1499), Sent(0, 1)], [])
@example(OpportunityTrace("a round's end and begin", np.array([0, 5]), 5), [Sent(50, 3001)], [(0.005, 0.01)])
@example(OpportunityTrace("small", np.array([0]), 1), [Sent(10, 1), Sent(130, 1)], [])
@example(OpportunityTrace("small", np.array([0]), 1), [Sent(503, 1), Sent(2090, 1)], [])
def test_small_opportunity_traces_with_and_without_outages(
    trace: OpportunityTrace, schedule: list[Sent], interruptions: list[tuple[float, float]]
) -> None:
    sent = in_seconds(schedule)
    assert delivered_by_link(trace, sent, interruptions) == packet_by_packet(trace, sent, interruptions)


@given(small_rate_traces(), schedules(), st.one_of(st.just([]), outages()))
def test_rate_traces_with_and_without_outages(
    trace: RateTrace, schedule: list[Sent], interruptions: list[tuple[float, float]]
) -> None:
    sent = in_seconds(schedule)
    found = delivered_by_link(trace, sent, interruptions)
    assert found == pytest.approx(piece_by_piece(trace, sent, interruptions), abs=1e-8)


@given(
    st.one_of(small_opportunity_traces(), small_rate_traces()), schedules(), outages(), st.integers(1, 20_000)
)
def test_looking_ahead_says_what_sending_would_do(
    trace: BandwidthTrace, schedule: list[Sent], interruptions: list[tuple[float, float]], size_bytes: int
) -> None:
    position = replay(trace, interruptions)
    now_s = 0.0
    for now_s, earlier_bytes in in_seconds(schedule):
        position.take(earlier_bytes, now_s)
    expected_s = position.peek(size_bytes, now_s)
    assert position.take(size_bytes, now_s) == expected_s


# -- two classes on one link -----------------------------------------------------------------------


def with_background(
    trace: BandwidthTrace,
    critical: Sequence[Sent],
    background: Sequence[Sent],
    interruptions: Sequence[tuple[float, float]],
) -> tuple[list[float], list[float]]:
    """When critical messages have left, and when opportunistic ones have, both on one link."""
    env = Environment()
    link = Link(env, replay(trace, interruptions), LinkConditions())
    delivered_s: list[float] = []
    through_s: list[float] = []

    def gives_way(size_bytes: int) -> None:
        link.send_background(size_bytes, lambda: through_s.append(env.now), lambda: None)

    actions = [
        (s, 0, lambda size=size: delivered_s.append(link.reserve(size).delivered_s))
        for s, size in in_seconds(critical)
    ]
    actions += [(s, 1, lambda size=size: gives_way(size)) for s, size in in_seconds(background)]
    at(env, [(s, action) for s, _, action in sorted(actions, key=lambda entry: entry[:2])])
    env.run()
    return delivered_s, through_s


@given(small_opportunity_traces(), schedules(), schedules(), st.one_of(st.just([]), outages()))
def test_opportunistic_traffic_never_delays_critical_traffic(
    trace: OpportunityTrace,
    critical: list[Sent],
    background: list[Sent],
    interruptions: list[tuple[float, float]],
) -> None:
    delivered_s, through_s = with_background(trace, critical, background, interruptions)
    assert delivered_s == delivered_by_link(trace, in_seconds(critical), interruptions)
    assert len(through_s) == len(background)


@given(
    small_rate_traces(),
    schedules(max_messages=8),
    schedules(max_messages=8),
    st.one_of(st.just([]), outages()),
)
def test_on_a_rate_trace_it_delays_by_at_most_the_packet_that_is_leaving(
    trace: RateTrace,
    critical: list[Sent],
    background: list[Sent],
    interruptions: list[tuple[float, float]],
) -> None:
    delivered_s, through_s = with_background(trace, critical, background, interruptions)
    sent = in_seconds(critical)
    alone_s = delivered_by_link(trace, sent, interruptions)
    assert len(through_s) == len(background)
    latest_s = alone_s.copy()
    for place in range(len(sent)):  # one packet more in the queue, before this or that message
        longer = [*sent[:place], (sent[place][0], 1500), *sent[place:]]
        longer_s = delivered_by_link(trace, longer, interruptions)
        del longer_s[place]
        latest_s = [max(pair) for pair in zip(latest_s, longer_s, strict=True)]
    for with_s, without_s, bound_s in zip(delivered_s, alone_s, latest_s, strict=True):
        assert without_s - 1e-9 <= with_s <= bound_s + 1e-9


@given(small_opportunity_traces(), schedules(max_messages=8), st.one_of(st.just([]), outages()))
def test_alone_opportunistic_messages_leave_as_critical_ones_would(
    trace: OpportunityTrace, background: list[Sent], interruptions: list[tuple[float, float]]
) -> None:
    _, through_s = with_background(trace, [], background, interruptions)
    expected_s = packet_by_packet(trace, in_seconds(background), interruptions)
    assert through_s == pytest.approx(expected_s, abs=1e-9)
