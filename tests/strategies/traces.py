"""Random bandwidth traces of both kinds."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from traces.bandwidth.trace import OpportunityTrace, RateTrace


@st.composite
def opportunity_traces(draw: st.DrawFn, max_period_ms: int = 5000) -> OpportunityTrace:
    """Sparse or bursty, with repeats, a first millisecond 0 and a last one at the period now and then."""
    period_ms = draw(st.integers(1, max_period_ms))
    counts = draw(
        st.dictionaries(st.integers(0, period_ms), st.integers(1, 20), min_size=1, max_size=60),
    )
    times_ms = np.sort(np.repeat(np.array(list(counts)), list(counts.values())))
    return OpportunityTrace(name="random", times_ms=times_ms, period_ms=period_ms)


@st.composite
def rate_traces(draw: st.DrawFn, fastest_bps: float = 1e9) -> RateTrace:
    """Segments of 10 ms to 20 s, zero-rate ones among them, 1 kbit/s to fastest_bps otherwise."""
    lengths_s = draw(st.lists(st.floats(0.01, 20.0), min_size=1, max_size=30))
    live_bps = st.floats(1e3, fastest_bps)
    rates_bps = [draw(live_bps), *(draw(st.one_of(st.just(0.0), live_bps)) for _ in lengths_s[1:])]
    rates_bps = draw(st.permutations(rates_bps))
    ends_s = np.cumsum(lengths_s)
    return RateTrace(
        name="random",
        times_s=np.concatenate(([0.0], ends_s[:-1])),
        rates_bps=np.array(rates_bps),
        period_s=float(ends_s[-1]),
    )
