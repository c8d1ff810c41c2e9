"""The two kinds of trace on examples small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from traces.bandwidth.conversion import to_opportunities, to_rates
from traces.bandwidth.statistics import binned_rates_bps, outages_s, statistics
from traces.bandwidth.trace import OpportunityTrace, RateTrace


def _opportunities(times_ms: list[int], period_ms: int) -> OpportunityTrace:
    return OpportunityTrace(name="t", times_ms=np.array(times_ms), period_ms=period_ms)


def _rates(times_s: list[float], rates_bps: list[float], period_s: float) -> RateTrace:
    return RateTrace(name="t", times_s=np.array(times_s), rates_bps=np.array(rates_bps), period_s=period_s)


def test_the_mean_of_opportunities_is_packets_over_the_period() -> None:
    trace = _opportunities([0, 10, 10, 100], 100)
    assert (trace.duration_s, trace.mean_bps) == (0.1, 4 * 1500 * 8 / 0.1)


def test_the_mean_of_rates_weighs_segments_by_their_length() -> None:
    assert _rates([0, 1], [4e6, 1e6], 4.0).mean_bps == (4e6 + 3 * 1e6) / 4


def test_slices_of_opportunities_start_at_zero() -> None:
    part = _opportunities([0, 10, 10, 60, 100], 100).sliced(0.01, 0.06)
    assert (part.times_ms.tolist(), part.period_ms) == ([0, 0], 50)


def test_the_slice_that_ends_with_the_trace_keeps_its_last_millisecond() -> None:
    part = _opportunities([0, 10, 10, 60, 100], 100).sliced(0.06, 0.1)
    assert (part.times_ms.tolist(), part.period_ms) == ([0, 40], 40)


def test_a_slice_cuts_rate_segments() -> None:
    part = _rates([0, 1, 2], [1e6, 2e6, 3e6], 4.0).sliced(0.5, 2.5)
    assert part.times_s.tolist() == [0, 0.5, 1.5]
    assert part.rates_bps.tolist() == [1e6, 2e6, 3e6]
    assert part.period_s == 2.0


def test_a_shift_enters_the_loop_later() -> None:
    assert _opportunities([0, 10, 60, 100], 100).shifted(0.01).times_ms.tolist() == [0, 50, 90, 90]


def test_a_shift_splits_the_rate_segment_it_enters() -> None:
    shifted = _rates([0, 1], [1e6, 2e6], 3.0).shifted(0.5)
    assert shifted.times_s.tolist() == [0, 0.5, 2.5]
    assert shifted.rates_bps.tolist() == [1e6, 2e6, 1e6]


def test_looping_repeats_and_cuts() -> None:
    looped = _opportunities([5, 10], 10).looped_to(0.026)
    assert (looped.times_ms.tolist(), looped.period_ms) == ([5, 10, 15, 20, 25], 26)


def test_scaling_up_repeats_milliseconds_and_scaling_down_thins_them() -> None:
    trace = _opportunities([1, 2, 3, 4], 4)
    assert trace.scaled_to_mean(2 * trace.mean_bps).times_ms.tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert trace.scaled_to_mean(trace.mean_bps / 2).times_ms.tolist() == [2, 4]


def test_rates_become_the_milliseconds_in_which_packets_complete() -> None:
    # 12 Mbit/s is a packet a millisecond; the pause from 2 to 5 ms stays silent.
    trace = _rates([0, 0.002, 0.005], [12e6, 0, 24e6], 0.006)
    assert to_opportunities(trace).times_ms.tolist() == [1, 2, 6, 6]


def test_opportunities_become_mean_rates_with_a_shorter_last_bin() -> None:
    trace = to_rates(_opportunities([0, 3, 9, 12], 12), 0.01)
    assert trace.times_s.tolist() == [0, 0.01]
    assert trace.rates_bps.tolist() == [3 * 12000 / 0.01, 12000 / 0.002]


def test_binning_counts_the_last_millisecond_of_the_loop_as_the_first_of_the_next() -> None:
    assert binned_rates_bps(_opportunities([5, 20], 20), 0.01).tolist() == [2.4e6, 0.0]


def test_binned_rates_of_segments_are_their_means() -> None:
    assert binned_rates_bps(_rates([0, 0.5], [1e6, 3e6], 2.0), 1.0).tolist() == [2e6, 3e6]


def test_an_outage_over_the_end_of_the_loop_counts_once() -> None:
    # Silent from 1 to 299 ms, and from 301 ms over the end at 500 ms to 0: 299 and 199 full milliseconds.
    assert outages_s(_opportunities([0, 300], 500)).tolist() == [0.299, 0.199]
    assert outages_s(_rates([0, 1, 2], [0, 1e6, 0], 3.5)).tolist() == [2.5]


def test_a_steady_link_varies_not_at_all() -> None:
    steady = statistics(_opportunities(list(range(4000)), 4000))
    assert (steady.variation_1ms, steady.variation_100ms, steady.variation_1s) == (0, 0, 0)
    assert (steady.outages, steady.longest_outage_s) == (0, 0.0)


def test_arrays_of_a_trace_cannot_be_written() -> None:
    times_ms = np.array([1, 2])
    trace = OpportunityTrace(name="t", times_ms=times_ms, period_ms=2)
    times_ms[0] = 99  # the caller's own array stays the caller's
    assert trace.times_ms.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        trace.times_ms[0] = 0
