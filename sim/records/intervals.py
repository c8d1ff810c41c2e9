"""Confidence intervals of means and quantiles that hold for series that are correlated in time.

Plain mathematics on arrays, for the summary of a run and for `analysis`, which compares runs. All intervals
are two-sided at 95 %.

**Within a run** the error of a mean is that of its long-run variance, the spectrum at frequency zero. Its
estimate takes the ν lowest cosines,

    Λ_j = √(2/n)·Σ_i x_i·cos(πj(i + 1/2)/n),   Ω = (1/ν)·Σ_j Λ_j²,   half width = t(0.975; ν)·√(Ω/n),

which has a t distribution with ν degrees of freedom as long as the spectrum is flat up to the ν-th of them
(Lazarus, Lewis, Stock and Watson, "HAR inference: recommendations for practice", Journal of Business and
Economic Statistics 36(4), 2018). So it needs a run of many correlation times: one shorter than
:data:`MIN_TIMES` of them has no interval. `tests/benchmarks/bench_intervals.py` measures what is covered.

**Over replicates** means are independent and have Student's interval, however short a run is.

**Quantiles** follow from the share of values at or below them (Woodruff, "Confidence intervals for medians
and other position measures", JASA 47, 1952): a share's variance gives an effective number of values,
n* = p(1 − p)/variance, and the interval's ends are the quantiles at the levels of Clopper and Pearson's
interval for n* values, corrected for the variance's degrees of freedom (Korn and Graubard, "Confidence
intervals for proportions with small expected number of positive counts", Survey Methodology 24, 1998). Fewer
than :data:`MIN_EXCEEDANCES` effective values beyond the quantile tell too little of it: then there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
MIN_EXCEEDANCES = 20.0
MIN_TIMES = 10.0
COSINES = 8

Values = NDArray[np.float64]


class Interval(NamedTuple):
    """A confidence interval; both ends None where nothing is known."""

    low: float | None
    high: float | None

    @classmethod
    def around(cls, centre: float, half_width: float | None) -> Interval:
        """centre ± half_width."""
        if half_width is None or not math.isfinite(half_width):
            return UNKNOWN
        return cls(centre - half_width, centre + half_width)


UNKNOWN = Interval(None, None)


def interval_keys(name: str) -> tuple[str, str]:
    """The summary's keys of a value's interval; a unit of time stays at the end: latency_mean_low_s."""
    stem, unit = (name[:-2], "_s") if name.endswith("_s") else (name, "")
    return f"{stem}_low{unit}", f"{stem}_high{unit}"


def t_point(freedom: float) -> float:
    """Where 2.5 % of Student's distribution lie beyond."""
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2.0, freedom))


# -- within a run ----------------------------------------------------------------------------------


def influence(values: Values) -> Values:
    """What each sample of a series adds to the error of the mean of those that are there.

    Args:
        values: (…, n); NaN where there is no value, as a frame without a result has none.

    Returns:
        (n,), mean 0: (x_i − mean)·there_i / share that is there, summed over the leading axes as the mean
        takes them together. Its mean has the variance of the values' mean, to first order.
    """
    rows = np.atleast_2d(values)
    there = np.isfinite(rows)
    count = there.sum()
    if count == 0:
        return np.zeros(rows.shape[-1])
    deviation = np.where(there, rows, 0.0) - there * (rows[there].sum() / count)
    return np.asarray(deviation.sum(axis=0) * (rows.shape[-1] / count), dtype=np.float64)


def correlation_samples(series: Values) -> float:
    """The integrated correlation time of a series in samples, 1 + 2·Σ ρ(k) >= 1; 1 of a constant one.

    The sum ends at the first lag k that is at least 2.5 times as long as itself (Sokal's automatic window,
    "Monte Carlo methods in statistical mechanics", 1997, §3).
    """
    n = series.size
    centred = series - series.mean() if n else series
    power = float(centred @ centred) if n else 0.0
    if n < 2 or power <= 1e-24 * max(1.0, float(series @ series)):
        return 1.0
    spectrum = np.fft.rfft(centred, 2 * n)
    correlation = np.fft.irfft(spectrum * spectrum.conj())[:n] / power
    sums = 1.0 + 2.0 * np.cumsum(correlation[1:])
    ended = np.flatnonzero(np.arange(1, n) >= 2.5 * sums)
    return max(1.0, float(sums[ended[0]] if ended.size else sums[-1]))


def mean_variance(series: Values) -> float:
    """Variance of a series' mean, with :data:`COSINES` degrees of freedom."""
    n = series.size
    phase = np.pi * (np.arange(n) + 0.5) / n
    centred = series - series.mean()
    found = [math.sqrt(2.0 / n) * float(centred @ np.cos(j * phase)) for j in range(1, COSINES + 1)]
    return sum(value * value for value in found) / COSINES / n


def long_enough(series: Values, interval_s: float, correlation_s: float) -> bool:
    """Whether a run lasts :data:`MIN_TIMES` correlation times, its own and those of what drives it.

    Args:
        series: (n,), what its mean's error is made of.
        interval_s: from one sample to the next.
        correlation_s: of the network; a short run sees too little of it to tell.
    """
    own_s = correlation_samples(series) * interval_s
    return series.size * interval_s >= MIN_TIMES * max(own_s, correlation_s)


def run_mean_interval(mean: float, series: Values, interval_s: float, correlation_s: float) -> Interval:
    """The interval of a run's mean; unknown of a run that is too short for one.

    Args:
        mean: of the values.
        series: (n,), their :func:`influence` in order of time.
        interval_s, correlation_s: see :func:`long_enough`.
    """
    if series.size < 2 * COSINES or not long_enough(series, interval_s, correlation_s):
        return UNKNOWN
    return Interval.around(mean, t_point(COSINES) * math.sqrt(mean_variance(series)))


def run_quantile_interval(values: Values, level: float, interval_s: float, correlation_s: float) -> Interval:
    """The interval of a run's quantile; unknown of too short a run or where too few values lie beyond it.

    Args:
        values: (cameras, n), NaN where there is none.
        level: of the quantile, in (0, 1).
        interval_s, correlation_s: see :func:`long_enough`.
    """
    there = np.isfinite(values)
    pooled = values[there]
    if pooled.size < 2 * COSINES:
        return UNKNOWN
    below = np.where(there, values <= np.quantile(pooled, level), np.nan)
    series = influence(below)
    if not long_enough(series, interval_s, correlation_s):
        return UNKNOWN
    return _quantile_interval(pooled, level, mean_variance(series), COSINES)


# -- over replicates -------------------------------------------------------------------------------


def replicate_half_width(means: Sequence[float]) -> float | None:
    """Half the width of Student's interval around the mean of independent means; None of fewer than two."""
    if len(means) < 2:
        return None
    return t_point(len(means) - 1) * float(np.std(means, ddof=1)) / math.sqrt(len(means))


def replicate_quantile_interval(replicates: Sequence[Values], level: float) -> Interval:
    """The interval of the quantile of all replicates' values together; unknown where too few lie beyond it.

    Args:
        replicates: the values of each, without NaN.
        level: of the quantile, in (0, 1).
    """
    count, pooled = len(replicates), np.concatenate([np.empty(0), *replicates])
    if count < 2 or pooled.size == 0:
        return UNKNOWN
    bound = np.quantile(pooled, level)
    share = float((pooled <= bound).mean())
    # Of each, what its values add to the error of the share; a ratio, since their numbers differ.
    added = [float(((values <= bound) - share).sum()) / (pooled.size / count) for values in replicates]
    return _quantile_interval(pooled, level, float(np.var(added, ddof=1)) / count, count - 1)


def _quantile_interval(pooled: Values, level: float, variance: float, freedom: float) -> Interval:
    from scipy.stats import beta

    effective = pooled.size if variance <= 0 else min(pooled.size, level * (1.0 - level) / variance)
    if effective * min(level, 1.0 - level) < MIN_EXCEEDANCES:
        return UNKNOWN
    n = effective * (t_point(math.inf) / t_point(freedom)) ** 2
    tail = (1.0 - CONFIDENCE) / 2.0
    below, beyond = n * level, n * (1.0 - level)
    levels = beta.ppf(tail, below, beyond + 1.0), beta.ppf(1.0 - tail, below + 1.0, beyond)
    low, high = np.quantile(pooled, levels)
    return Interval(float(low), float(high))
