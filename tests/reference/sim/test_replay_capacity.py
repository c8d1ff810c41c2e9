"""What a trace can carry between two times, and in how many grants, against going through it one by one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.physics.trace_replay import replay
from tests.strategies.sim import outages, small_opportunity_traces, small_rate_traces
from traces.bandwidth.trace import BandwidthTrace, OpportunityTrace, RateTrace


@given(
    st.one_of(small_opportunity_traces(), small_rate_traces()),
    outages(),
    st.lists(st.integers(0, 300), max_size=8),
)
def test_capacity_is_what_a_saturated_link_carries(
    trace: BandwidthTrace, dead: list[tuple[float, float]], marks_ms: list[int]
) -> None:
    times_s = [time_ms / 1e3 for time_ms in sorted({0, *marks_ms, 300})]
    measured, taken = replay(trace, dead), replay(trace, dead)
    for start_s, end_s in itertools.pairwise(times_s):
        capacity = measured.capacity_bytes(start_s, end_s)
        assert capacity >= 0.0
        carried = taken.take_before(1e12, start_s, end_s)
        # What is leaving at the end is finished, by a rate trace up to one packet.
        assert capacity - 1e-3 <= carried + 1500.0
        assert carried <= capacity + 1500.0 + 1e-3
    whole = measured.capacity_bytes(0.0, 0.3)
    parts = [measured.capacity_bytes(a, b) for a, b in itertools.pairwise(times_s)]
    assert sum(parts) == pytest.approx(whole, abs=1e-3)


@given(small_opportunity_traces(), outages(), st.floats(0.0, 400.0, allow_nan=False), st.floats(0.0, 400.0))
def test_grants_are_the_milliseconds_with_opportunities(
    trace: OpportunityTrace, dead: list[tuple[float, float]], one_ms: float, other_ms: float
) -> None:
    """Each counts once, however many packets it has room for; round by round; none in an outage."""
    after_ms, until_ms = sorted((round(one_ms, 1), round(other_ms, 1)))
    every = [
        round_ * trace.period_ms + at_ms
        for round_ in range(int(400 / trace.period_ms) + 2)
        for at_ms in sorted(set(trace.times_ms.tolist()))
    ]
    out = [(round(1e3 * start_s, 6), round(1e3 * end_s, 6)) for start_s, end_s in dead]
    expected = [
        at_ms
        for at_ms in every
        if after_ms < at_ms <= until_ms and not any(start <= at_ms < end for start, end in out)
    ]
    assert replay(trace, dead).grants(after_ms / 1e3, until_ms / 1e3) == len(expected)


@given(small_rate_traces(), outages())
def test_where_bytes_flow_there_are_no_grants(trace: RateTrace, dead: list[tuple[float, float]]) -> None:
    assert replay(trace, dead).grants(0.0, 10.0) == 0
