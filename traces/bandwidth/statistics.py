"""Statistics of a bandwidth trace: rates in bins, their spread and autocorrelation, and outages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.bandwidth.trace import MAX_OPPORTUNITIES, MS_PER_S, BandwidthTrace, OpportunityTrace
from traces.errors import InputError

OUTAGE_S = 0.1  # a silence this long stalls a frame at 10 fps or more


@dataclass(frozen=True, slots=True)
class TraceStatistics:
    """What one period of a trace looks like.

    The coefficient of variation is standard deviation over mean of the rate in bins of 1 ms, 100 ms and
    1 s; None where the trace holds fewer than two such bins, and at 1 ms for a rate trace, which has no
    millisecond structure. autocorrelation_1s is that of 100 ms bins at a lag of 1 s. An outage is a time of
    at least 0.1 s without capacity, also across the end of the loop.
    """

    duration_s: float
    mean_bps: float
    variation_1ms: float | None
    variation_100ms: float | None
    variation_1s: float | None
    autocorrelation_1s: float | None
    rate_100ms_p5_bps: float | None
    rate_100ms_p95_bps: float | None
    outages: int
    outage_ratio: float
    longest_outage_s: float


def binned_rates_bps(trace: BandwidthTrace, bin_s: float) -> NDArray[np.float64]:
    """Mean capacity in consecutive bins, shape (floor(duration / bin_s),); a last partial bin is left out.

    Raises:
        InputError: bin_s is not positive, not whole milliseconds for an opportunity trace, or longer than
            the trace; or the trace has more bins than fit in memory.
    """
    if not 0 < bin_s <= trace.duration_s * (1 + 1e-12):
        raise InputError(
            f"bin_s(={bin_s:g}) must be in (0, {trace.duration_s:g}], the length of {trace.name}"
        )
    bins = int(trace.duration_s / bin_s + 1e-9)
    if bins > MAX_OPPORTUNITIES:
        raise InputError(
            f"{trace.source or trace.name}: expected a period of at most {MAX_OPPORTUNITIES:.0e} bins of "
            f"{bin_s:g} s, found {trace.duration_s:g} s; does a time jump?"
        )
    if isinstance(trace, OpportunityTrace):
        bin_ms = round(bin_s * MS_PER_S)
        if bin_ms < 1 or abs(bin_ms - bin_s * MS_PER_S) > 1e-6:
            raise InputError(f"bin_s(={bin_s:g}) must be whole milliseconds for {trace.name}")
        # The last millisecond of a mahimahi file is the first of the next period.
        counts = np.bincount(trace.times_ms % trace.period_ms // bin_ms, minlength=bins)[:bins]
        return np.asarray(counts * (8.0 * trace.packet_bytes / bin_s), dtype=np.float64)
    edges_s = np.append(trace.times_s, trace.period_s)
    bits = np.concatenate(([0.0], np.cumsum(trace.rates_bps * trace.durations_s)))
    carried = np.interp(np.arange(bins + 1) * bin_s, edges_s, bits)
    return np.asarray(np.diff(carried) / bin_s, dtype=np.float64)


def outages_s(trace: BandwidthTrace, at_least_s: float = OUTAGE_S) -> NDArray[np.float64]:
    """Lengths of the times without capacity, in order; one that spans the end of the loop counts once."""
    if isinstance(trace, OpportunityTrace):
        gaps_ms = np.diff(trace.times_ms, append=trace.times_ms[0] + trace.period_ms) - 1
        silent_s = np.asarray(gaps_ms / MS_PER_S, dtype=np.float64)
    else:
        first = int(np.argmax(trace.rates_bps > 0))
        dead = np.roll(trace.rates_bps, -first) == 0
        lengths_s = np.roll(trace.durations_s, -first)
        run = np.cumsum(~dead)  # a dead segment belongs to the live one before it
        silent_s = np.asarray(np.bincount(run[dead], weights=lengths_s[dead]), dtype=np.float64)
    return silent_s[silent_s >= at_least_s]


def statistics(trace: BandwidthTrace) -> TraceStatistics:
    """Measure one period of the trace."""
    rates_bps = {
        bin_s: binned_rates_bps(trace, bin_s)
        for bin_s in (0.001, 0.1, 1.0)
        if bin_s * 2 <= trace.duration_s and (bin_s > 0.001 or isinstance(trace, OpportunityTrace))
    }
    tenths_bps = rates_bps.get(0.1)
    silences_s = outages_s(trace)
    return TraceStatistics(
        duration_s=trace.duration_s,
        mean_bps=trace.mean_bps,
        variation_1ms=_variation(rates_bps.get(0.001)),
        variation_100ms=_variation(tenths_bps),
        variation_1s=_variation(rates_bps.get(1.0)),
        autocorrelation_1s=_autocorrelation(tenths_bps, 10),
        rate_100ms_p5_bps=None if tenths_bps is None else float(np.percentile(tenths_bps, 5)),
        rate_100ms_p95_bps=None if tenths_bps is None else float(np.percentile(tenths_bps, 95)),
        outages=silences_s.size,
        outage_ratio=float(silences_s.sum()) / trace.duration_s,
        longest_outage_s=float(silences_s.max()) if silences_s.size else 0.0,
    )


def _variation(rates_bps: NDArray[np.float64] | None) -> float | None:
    if rates_bps is None or rates_bps.mean() == 0:
        return None
    return float(rates_bps.std() / rates_bps.mean())


def _autocorrelation(rates_bps: NDArray[np.float64] | None, lag: int) -> float | None:
    if rates_bps is None or rates_bps.size < 2 * lag or rates_bps.std() == 0:
        return None
    centred = rates_bps - rates_bps.mean()
    return float(centred[lag:] @ centred[:-lag] / (centred @ centred))
