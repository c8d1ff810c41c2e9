"""Slicing, shifting, looping, scaling and converting a trace neither make nor lose bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.strategies.traces import opportunity_traces, rate_traces
from traces.bandwidth.conversion import to_opportunities, to_rates
from traces.bandwidth.trace import OpportunityTrace, RateTrace
from traces.errors import InputError

both_kinds = st.one_of(opportunity_traces(), rate_traces())


def _bytes_of_slice(trace: OpportunityTrace | RateTrace, start_s: float, end_s: float) -> float:
    """Bytes of a slice; 0 where the slice is refused, which it is only for holding none."""
    try:
        return trace.sliced(start_s, end_s).bytes_per_period
    except InputError:
        return 0.0


@given(opportunity_traces(), st.data())
def test_two_slices_share_out_every_packet(trace: OpportunityTrace, data: st.DataObject) -> None:
    assume(trace.period_ms >= 2)
    cut_s = data.draw(st.integers(1, trace.period_ms - 1)) / 1000
    parts = _bytes_of_slice(trace, 0.0, cut_s) + _bytes_of_slice(trace, cut_s, trace.duration_s)
    assert parts == trace.bytes_per_period


@given(rate_traces(), st.floats(0.001, 0.999))
def test_two_slices_share_out_every_byte(trace: RateTrace, share: float) -> None:
    cut_s = share * trace.duration_s
    parts = _bytes_of_slice(trace, 0.0, cut_s) + _bytes_of_slice(trace, cut_s, trace.duration_s)
    assert parts == pytest.approx(trace.bytes_per_period, rel=1e-9)


@given(both_kinds, st.floats(-1e4, 1e4))
def test_a_shift_keeps_the_bytes_and_the_length(trace: OpportunityTrace | RateTrace, offset_s: float) -> None:
    shifted = trace.shifted(offset_s)
    assert shifted.duration_s == trace.duration_s
    assert shifted.bytes_per_period == pytest.approx(trace.bytes_per_period, rel=1e-9)


@given(opportunity_traces(), st.integers(0, 10_000))
def test_a_shifted_loop_is_the_same_loop(trace: OpportunityTrace, offset_ms: int) -> None:
    shifted = trace.shifted(offset_ms / 1000)
    phases_ms = np.sort((shifted.times_ms + offset_ms) % trace.period_ms)
    assert phases_ms.tolist() == np.sort(trace.times_ms % trace.period_ms).tolist()


@given(both_kinds, st.integers(1, 4))
def test_looping_n_times_carries_n_times_the_bytes(trace: OpportunityTrace | RateTrace, rounds: int) -> None:
    looped = trace.looped_to(rounds * trace.duration_s)
    assert looped.duration_s == pytest.approx(rounds * trace.duration_s)
    assert looped.bytes_per_period == pytest.approx(rounds * trace.bytes_per_period, rel=1e-9)


@given(opportunity_traces(), st.floats(1e5, 2e8))
def test_scaled_opportunities_have_the_mean_to_half_a_packet_at_every_instant(
    trace: OpportunityTrace, mean_bps: float
) -> None:
    packet_bits = 8 * trace.packet_bytes
    assume(mean_bps * trace.duration_s >= packet_bits)
    scaled = trace.scaled_to_mean(mean_bps)
    assert abs(scaled.mean_bps - mean_bps) * scaled.duration_s <= packet_bits / 2 * (1 + 1e-9)
    factor = scaled.times_ms.size / trace.times_ms.size
    for t in np.unique(trace.times_ms):
        before = np.searchsorted(trace.times_ms, t, side="right")
        after = np.searchsorted(scaled.times_ms, t, side="right")
        assert abs(after - factor * before) <= 0.5 + 1e-9
    assert set(scaled.times_ms.tolist()) <= set(trace.times_ms.tolist())


@given(rate_traces(), st.floats(1e3, 1e9))
def test_scaled_rates_have_the_mean(trace: RateTrace, mean_bps: float) -> None:
    assert trace.scaled_to_mean(mean_bps).mean_bps == pytest.approx(mean_bps, rel=1e-9)


@given(opportunity_traces(), st.integers(1, 700))
def test_opportunities_as_rates_keep_every_byte(trace: OpportunityTrace, bin_ms: int) -> None:
    rates = to_rates(trace, bin_ms / 1000)
    assert rates.bytes_per_period == pytest.approx(trace.bytes_per_period, rel=1e-9)
    assert rates.duration_s == trace.duration_s


@given(rate_traces(fastest_bps=1e6))  # some thousand packets show it as well as millions
def test_rates_as_opportunities_lose_less_than_a_packet_and_are_never_early(trace: RateTrace) -> None:
    assume(trace.bytes_per_period >= 1500)
    opportunities = to_opportunities(trace)
    lost_bytes = trace.bytes_per_period - opportunities.bytes_per_period
    assert -1e-6 * trace.bytes_per_period <= lost_bytes < 1500 * (1 + 1e-9)
    edges_s = np.append(trace.times_s, trace.period_s)
    carried = np.concatenate(([0.0], np.cumsum(trace.rates_bps * trace.durations_s / 8)))
    inside = opportunities.times_ms < opportunities.period_ms
    offered = np.interp(opportunities.times_ms / 1000, edges_s, carried)
    used = 1500.0 * np.arange(1, opportunities.times_ms.size + 1)
    slack = 2e-9 * trace.rates_bps.max() / 8 + 1e-6 * carried[-1]
    assert (offered + slack >= used)[inside].all()
