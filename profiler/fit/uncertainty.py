"""Errors of fitted coefficients: analytic and by bootstrap, for noise whose form nobody knows beforehand.

The analytic ones are HC3 (MacKinnon and White 1985), which asks nothing of the noise but enough repeats. Slow
runs that are rare need many: with 15 repeats most k have met none, and HC3 takes what it has not seen
for precision (intervals of c that claim 95 % then hold in half of all runs). Where repeats are fewer than
their skewness asks for, the larger of HC3 and the variance that all k together suggest is taken instead.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from profiler.fit.grouped_samples import GroupedSamples
from profiler.fit.least_squares import (
    FloatArray,
    LeastSquaresResult,
    design_matrix,
    nonnegative_least_squares,
    weighted_least_squares,
)
from profiler.fit.noise import deviations, noise_variance, repeats_for_normal_means, skewness


def pooled_variance(
    groups: GroupedSamples, noise_s: FloatArray, curve_s: FloatArray
) -> tuple[FloatArray | None, float]:
    """(G,) variance of one sample where repeats are too few for HC3 alone, else None; and the skewness.

    Args:
        groups: the samples.
        noise_s: (G,) smooth standard deviation of one sample.
        curve_s: (G,) a first estimate of T at each k.
    """
    skew = skewness(deviations(groups, noise_s))
    few = groups.counts.min() < repeats_for_normal_means(skew)
    return noise_variance(groups, curve_s) if few else None, skew


def analytic_errors(
    groups: GroupedSamples, noise_s: FloatArray, pooled: FloatArray | None, confidence: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Covariance (3, 3) and intervals (3, 2), and the coefficients (3,) that they belong to.

    They are those of the fit without the bound, which keeps their rate wherever the true coefficients are
    at or above 0. A coefficient whose interval ends below 0 cannot be a latency's: it is taken as 0, and
    the errors of the others come from the fit without it.

    Args:
        groups: the samples.
        noise_s: (G,) smooth standard deviation of one sample, the root of one over its weight.
        pooled: (G,) of :func:`pooled_variance`.
        confidence: of the intervals.
    """
    k, seconds = groups.flat
    weights = np.repeat(1.0 / noise_s**2, groups.counts)
    variance = None if pooled is None else np.repeat(pooled, groups.counts)
    covariance, estimate = np.zeros((3, 3)), np.zeros(3)
    interval = np.zeros((3, 2))
    kept = [0, 1, 2]
    while kept:
        rows = design_matrix(k)[:, kept]
        solution = weighted_least_squares(rows, seconds, weights)
        part = _covariance(rows, seconds, weights, solution, variance)
        quantile = float(stats.t.ppf(0.5 + confidence / 2, solution.degrees_of_freedom))
        reach = quantile * np.sqrt(np.diag(part))
        impossible = [one for one, top in zip(kept, solution.coefficients + reach, strict=True) if top < 0]
        if not impossible:
            covariance[np.array(kept)[:, None], np.array(kept)] = part
            estimate[kept] = solution.coefficients
            interval[kept] = np.column_stack([solution.coefficients - reach, solution.coefficients + reach])
            break
        kept = [one for one in kept if one not in impossible]
    return covariance, np.maximum(interval, 0.0), estimate


def _covariance(
    rows: FloatArray,
    seconds: FloatArray,
    weights: FloatArray,
    free: LeastSquaresResult,
    variance: FloatArray | None,
) -> FloatArray:
    """(XᵀWX)⁻¹ Xᵀ W diag(rᵢ²/(1 − hᵢ)²) W X (XᵀWX)⁻¹ with leverages hᵢ.

    Given the ``variance`` of each sample, a coefficient's variance is the larger of this and of the same
    with that in place of rᵢ²/(1 − hᵢ)²; correlations stay.
    """
    bread = free.covariance / free.residual_sd**2 if free.residual_sd > 0 else np.zeros_like(free.covariance)
    leverage = weights * np.einsum("ni,ij,nj->n", rows, bread, rows)
    left = (seconds - rows @ free.coefficients) / np.maximum(1.0 - leverage, 1e-3)
    score = rows * (weights * left)[:, None]
    covariance: FloatArray = bread @ (score.T @ score) @ bread
    if variance is None:
        return covariance
    score = rows * (weights * np.sqrt(variance))[:, None]
    modelled = np.diag(bread @ (score.T @ score) @ bread)
    own = np.diag(covariance)
    grow = np.sqrt(np.maximum(modelled / np.where(own > 0, own, 1.0), 1.0))
    grown: FloatArray = covariance * grow[:, None] * grow
    return grown


def bootstrap(
    groups: GroupedSamples,
    noise_s: FloatArray,
    pooled: FloatArray | None,
    draws: int,
    generator: np.random.Generator,
) -> FloatArray:
    """(draws, 3) coefficients refitted to repeats drawn anew within each k.

    The fit sees a group only through its mean, so drawing means is enough. A group's own samples are drawn,
    with the spread that drawing from n instead of the device takes away put back; where they are fewer than
    the noise's skewness asks for, all groups' deviations, scaled by the smooth noise, are drawn instead. A
    lone sample always uses those.
    """
    columns, counts = design_matrix(groups.k), groups.counts
    scale = noise_s if pooled is None else np.sqrt(pooled)
    scaled = deviations(groups, scale)
    pool = np.concatenate(scaled)
    if not len(pool):
        left = groups.means_s - columns @ nonnegative_least_squares(
            columns, groups.means_s, counts / noise_s**2
        )
        pool = left / noise_s * np.sqrt(len(left) / max(len(left) - 3, 1))
    means = np.empty((draws, len(groups.k)))
    for i, own in enumerate(scaled):
        source = (own if pooled is None and len(own) else pool) * scale[i]
        picked = generator.integers(len(source), size=(draws, counts[i]))
        means[:, i] = groups.values[i].mean() + source[picked].mean(axis=1)
    return nonnegative_least_squares(columns, means, counts / noise_s**2)
