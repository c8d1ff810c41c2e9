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

**Over replicates** means are independent, however short a run is. Fewer than eight have Student's interval.
Means of short runs are skewed, since a network is bad for seconds at a time, and Student's covers them too
seldom; so eight or more have the bootstrap-t interval

    [x̄ − t*(0.975)·s/√n, x̄ − t*(0.025)·s/√n],

t* being the quantiles of (x̄* − x̄)/(s*/√n) over all resamples, each with its weight, up to ten means, and over
:data:`RESAMPLES` of them beyond (Hall, "Theoretical comparison of bootstrap confidence intervals", Annals of
Statistics 16(3), 1988).

**Quantiles** follow from the share of values at or below them (Woodruff, "Confidence intervals for medians
and other position measures", JASA 47, 1952): a share's variance gives an effective number of values,
n* = p(1 − p)/variance, and the interval's ends are the quantiles at the levels of Jeffreys' interval for n*
values (Brown, Cai and DasGupta, "Interval estimation for a binomial proportion", Statistical Science 16,
2001), n* being corrected for the variance's degrees of freedom (Korn and Graubard, "Confidence intervals for
proportions with small expected number of positive counts", Survey Methodology 24, 1998). Fewer than
:data:`MIN_EXCEEDANCES` effective values beyond the quantile tell too little of it: then there is none. How
many are effective is not left to the data alone, whose luckiest draws would pass: a correlation time of the
network counts as one value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
#: The latency quantiles that are reported, by their keys.
QUANTILE_LEVELS = {"latency_p50_s": 0.50, "latency_p95_s": 0.95, "latency_p99_s": 0.99}
MIN_EXCEEDANCES = 20.0
# Measured on the synthetic network: runs of 21 of its correlation times cover 91 %, of 42 94 %, of 64 95 %;
# more cosines make narrower intervals that cover less (eight: 86, 92 and 94 %).
MIN_TIMES = 40.0
COSINES = 4
MIN_SAMPLES = 32
MIN_BOOTSTRAPPED = 8  # means; fewer have too few resamples that differ
MOST_ENUMERATED = 10
RESAMPLES = 20_000

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


class CameraGrid:
    """Frames by camera and place in time, so that neighbours are neighbours.

    Args:
        cameras: (frames,), the number of each frame's camera.
        captured_s: (frames,), rising within each camera.
    """

    def __init__(self, cameras: NDArray[Any], captured_s: Values) -> None:
        self._cameras = [np.flatnonzero(cameras == camera) for camera in np.unique(cameras)]
        self._length = max(map(len, self._cameras), default=0)
        spans = [
            (captured_s[at[-1]] - captured_s[at[0]]) / (len(at) - 1) for at in self._cameras if len(at) > 1
        ]
        #: From one frame of a camera to its next, on average; cameras capture at different times.
        self.interval_s = float(np.mean(spans)) if spans else 0.0

    def rows(self, values: Values) -> Values:
        """(cameras, frames), NaN where a camera has fewer."""
        rows = np.full((len(self._cameras), self._length), np.nan)
        for row, at in zip(rows, self._cameras, strict=True):
            row[: len(at)] = values[at]
        return rows


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
    """Whether a run lasts :data:`MIN_TIMES` correlation times of what drives it, and of its own as far as it
    shows them.

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
    if series.size < MIN_SAMPLES or not long_enough(series, interval_s, correlation_s):
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
    if pooled.size < MIN_SAMPLES:
        return UNKNOWN
    span_s = values.shape[-1] * interval_s
    if not _enough_beyond(level, span_s, correlation_s):
        return UNKNOWN
    bound = np.quantile(pooled, level)
    # Of equal values some belong below and some beyond: the less certain of both shares counts.
    sides = [influence(np.where(there, below, np.nan)) for below in (values <= bound, values < bound)]
    if not all(long_enough(series, interval_s, correlation_s) for series in sides):
        return UNKNOWN
    return _quantile_interval(pooled, level, max(map(mean_variance, sides)), COSINES)


# -- over replicates -------------------------------------------------------------------------------


def replicate_interval(means: Sequence[float]) -> Interval:
    """The interval of the mean of independent means; unknown of fewer than two."""
    count = len(means)
    if count < 2:
        return UNKNOWN
    mean, error = float(np.mean(means)), float(np.std(means, ddof=1)) / math.sqrt(count)
    if count < MIN_BOOTSTRAPPED or error <= 1e-12 * abs(mean):
        return Interval.around(mean, t_point(count - 1) * error)
    low, high = _bootstrap_t(np.asarray(means, dtype=np.float64))
    return Interval(mean - high * error, mean - low * error)


def _bootstrap_t(means: Values) -> tuple[float, float]:
    """The 2.5 and 97.5 % quantiles of the resampled t statistic; the same for the same means."""
    count = means.size
    picked, weights = _resamples(count)
    centred = means - means.mean()  # so that squares keep their digits
    shift = picked @ centred / count
    spread = (picked @ (centred * centred) / count - shift * shift) * count / (count - 1)
    differ = spread > 1e-9 * float(centred @ centred)
    statistic = shift[differ] / np.sqrt(spread[differ] / count)
    order = np.argsort(statistic, kind="stable")
    share = np.cumsum(weights[differ][order])
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.interp((tail, 1.0 - tail), share / share[-1], statistic[order])
    return float(low), float(high)


@cache
def _resamples(count: int) -> tuple[Values, Values]:
    """How often each of `count` means is in a resample, (resamples, count), and the resamples' weights."""
    if count > MOST_ENUMERATED:
        rng = np.random.default_rng(count)
        picked = rng.multinomial(count, np.full(count, 1.0 / count), RESAMPLES).astype(np.float64)
        return picked, np.full(RESAMPLES, 1.0 / RESAMPLES)
    found = combinations_with_replacement(range(count), count)
    picked = np.array([np.bincount(one, minlength=count) for one in found], dtype=np.float64)
    factorials = np.array([math.factorial(number) for number in range(count + 1)], dtype=np.float64)
    ways = factorials[count] / factorials[picked.astype(np.int64)].prod(axis=1)
    return picked, ways / float(count) ** count


def replicate_quantile_interval(
    replicates: Sequence[Values], level: float, span_s: float, correlation_s: float
) -> Interval:
    """The interval of the quantile of all replicates' values together; unknown where too few lie beyond it.

    Args:
        replicates: the values of each, without NaN.
        level: of the quantile, in (0, 1).
        span_s: how long the replicates last together.
        correlation_s: of the network; 0 where nothing depends on it.
    """
    count, pooled = len(replicates), np.concatenate([np.empty(0), *replicates])
    if count < 2 or pooled.size == 0 or not _enough_beyond(level, span_s, correlation_s):
        return UNKNOWN
    bound = np.quantile(pooled, level)
    variance = max(
        _share_variance([values <= bound for values in replicates]),
        _share_variance([values < bound for values in replicates]),
    )
    return _quantile_interval(pooled, level, variance, count - 1)


def _share_variance(replicates: Sequence[NDArray[np.bool_]]) -> float:
    """Variance of the share of all replicates' values together that are true: a ratio, as numbers differ."""
    count, size = len(replicates), sum(values.size for values in replicates)
    share = sum(int(values.sum()) for values in replicates) / size
    added = [(float(values.sum()) - share * values.size) * count / size for values in replicates]
    return float(np.var(added, ddof=1)) / count


def _enough_beyond(level: float, span_s: float, correlation_s: float) -> bool:
    """Whether enough values lie beyond a quantile, one in a correlation time of the network."""
    return span_s * min(level, 1.0 - level) >= MIN_EXCEEDANCES * correlation_s


def _quantile_interval(pooled: Values, level: float, variance: float, freedom: float) -> Interval:
    from scipy.stats import beta

    effective = level * (1.0 - level) / variance if variance > 0 else float(pooled.size)
    if min(effective, pooled.size) * min(level, 1.0 - level) < MIN_EXCEEDANCES:
        return UNKNOWN
    n = effective * (t_point(math.inf) / t_point(freedom)) ** 2
    tail = (1.0 - CONFIDENCE) / 2.0
    levels = (float(beta.ppf(at, n * level + 0.5, n * (1.0 - level) + 0.5)) for at in (tail, 1.0 - tail))
    low, high = (float(np.quantile(pooled, at)) for at in levels)
    return Interval(low, high)
