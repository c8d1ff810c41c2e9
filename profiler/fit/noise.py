"""The noise of repeats at one k: its standard deviation, its shape, and how many repeats an estimate needs.

Repeats at one k are few, so estimates pool several k: the standard deviation is a smooth function of T, the
shape of the distribution comes from the nearest k after dividing by the standard deviation.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy import stats

from profiler.fit.grouped_samples import GroupedSamples
from profiler.fit.least_squares import FloatArray, nonnegative_least_squares

SKEWED = 1.0
"""Skewness from which means of a few repeats are no longer nearly normal; an exponential has 2."""

POOL, ALONE = 100, 40
"""Samples to pool for the shape of the noise where it changes with k, and how many suffice where no other k
is close. Pooled over all k, a slow mode that only short runs have would put p99 at both ends off by 15 to
40 %."""


def noise_sd(groups: GroupedSamples, curve_s: FloatArray) -> FloatArray:
    """(G,) standard deviation of one sample, smooth in the curve: σ(k) = α + β·T(k) + γ·T(k)², all ≥ 0.

    A group's own deviation would be a poor weight: a group that happens to lack its slow samples looks
    both fast and precise, and pulls the fit down. Where nothing repeats, the distances to the curve serve.

    Args:
        groups: the samples.
        curve_s: (G,) a first estimate of T at each k.
    """
    counts = groups.counts
    repeated = counts > 1
    if repeated.sum() >= 2:
        spread = np.array([own.std(ddof=1) if len(own) > 1 else 0.0 for own in groups.values])
        weights = np.where(repeated, counts - 1, 1e-9) / curve_s**2
    else:
        spread, weights = np.abs(groups.means_s - curve_s), 1.0 / curve_s**2
    columns = np.column_stack([np.ones_like(curve_s), curve_s, curve_s**2])
    smooth: FloatArray = columns @ nonnegative_least_squares(columns, spread, weights)
    return np.maximum(smooth, 1e-4 * curve_s)  # no clock repeats better, and weights must stay finite


def noise_variance(groups: GroupedSamples, curve_s: FloatArray) -> FloatArray:
    """(G,) variance of one sample, smooth in the curve: σ²(k) = α + β·T(k)² + γ·T(k)⁴, all ≥ 0.

    Not the square of :func:`noise_sd`: where slow runs are rare most groups hold none, their standard
    deviations average far below σ, but their variances still average to σ².
    """
    repeated = groups.counts > 1
    if repeated.sum() < 2:
        return noise_sd(groups, curve_s) ** 2
    own = np.array([one.var(ddof=1) if len(one) > 1 else 0.0 for one in groups.values])
    weights = np.where(repeated, groups.counts - 1, 1e-9) / curve_s**4
    scaled = curve_s / curve_s.max()
    columns = np.column_stack([np.ones_like(scaled), scaled**2, scaled**4])
    smooth: FloatArray = columns @ nonnegative_least_squares(columns, own, weights)
    return np.maximum(smooth, (1e-4 * curve_s) ** 2)


def deviations(groups: GroupedSamples, sd: FloatArray) -> list[FloatArray]:
    """Repeats less their mean, over ``sd`` (G,), with the variance that the mean took put back.

    Empty for a k that was measured once.
    """
    return [
        (own - own.mean()) / one * np.sqrt(len(own) / (len(own) - 1)) if len(own) > 1 else np.empty(0)
        for own, one in zip(groups.values, sd, strict=True)
    ]


def skewness(scaled: list[FloatArray]) -> float:
    """Third standardised moment of all deviations together; 0 where they do not vary."""
    pooled = np.concatenate(scaled)
    variance = float((pooled**2).mean()) if len(pooled) else 0.0
    return float((pooled**3).mean()) / variance**1.5 if variance > 0 else 0.0


def repeats_for_normal_means(skew: float) -> float:
    """Repeats from which a 95 % interval of a mean that assumes normality holds to 1 %: 25·γ².

    Cochran, Sampling Techniques (1977), §2.15; 0 for noise that is hardly skewed.
    """
    return 25.0 * skew**2 if abs(skew) > SKEWED else 0.0


def local_sd(groups: GroupedSamples, sd: FloatArray) -> FloatArray:
    """(G,) the smooth spread ``sd``, moved towards each k's own as far as it leaves it by more than chance.

    Own over smooth variances, averaged over each k and its two neighbours (¼, ½, ¼), are shrunk towards 1
    by the share of their scatter that sampling explains, (κ − 1)/n·⅜ with κ the kurtosis of the noise.
    """
    scaled = deviations(groups, sd)
    if min(map(len, scaled)) < 3:
        return sd
    ratio = np.array([float((own**2).mean()) for own in scaled])
    if not ratio.all():
        return sd
    ratio /= ratio.mean()
    padded = np.concatenate([ratio[:1], ratio, ratio[-1:]])
    smooth = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    pooled = np.concatenate(scaled)
    kurtosis = float((pooled**4).mean() / (pooled**2).mean() ** 2)
    chance = (kurtosis - 1) / float(groups.counts.mean()) * 3 / 8
    real = max(0.0, float(((smooth - 1) ** 2).mean()) - chance)
    moved: FloatArray = sd * np.sqrt(1 + (smooth - 1) * real / (real + chance)) if real > 0 else sd
    return moved


def shape_changes(scaled: list[FloatArray], curve_s: FloatArray) -> bool:
    """Whether short, middling and long runs scatter in different shapes, by a test at 5 %.

    Kolmogorov and Smirnov's, between each two thirds of the k; three tests, so each at a third of that.

    Args:
        scaled: of :func:`deviations`.
        curve_s: (G,) T at each k.
    """
    order = np.argsort(curve_s, kind="stable")
    thirds = [np.concatenate([scaled[i] for i in part]) for part in np.array_split(order, 3) if len(part)]
    pairs = [pair for pair in combinations(thirds, 2) if min(map(len, pair)) > 1]
    return any(stats.ks_2samp(*pair, method="asymp").pvalue < 0.05 / 3 for pair in pairs)


def nearby(scaled: list[FloatArray], curve_s: FloatArray, index: int) -> FloatArray:
    """Deviations of one k and of those nearest to it in T: 100, or 40 within a factor of 2.

    Noise may change its shape with the length of a run (an interruption of fixed length is a tail to a short
    one and nothing to a long one), so distance is counted in log T.

    Args:
        scaled: of :func:`deviations`.
        curve_s: (G,) T at each k.
        index: of the k.
    """
    away = np.abs(np.log(curve_s / curve_s[index]))
    taken: list[FloatArray] = []
    for j in np.argsort(away, kind="stable"):
        have = sum(map(len, taken))
        if have >= POOL or (have >= ALONE and away[j] > np.log(2)):
            break
        taken.append(scaled[j])
    return np.concatenate(taken)
