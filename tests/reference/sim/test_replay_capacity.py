"""What a trace can carry between two times, against taking it byte by byte."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.physics.trace_replay import replay
from tests.strategies.sim import outages, small_opportunity_traces, small_rate_traces
from traces.bandwidth.trace import BandwidthTrace


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
