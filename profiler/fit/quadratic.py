"""Fit T(k) = a·k² + b·k + c to measured latencies, and say how far the result can be trusted.

The form is the papers' (FluxShard, §4.2). Coefficients are bounded below by zero: a device that gets faster
with more blocks is noise. What a reader should know about the fit is a line in ``findings``; samples that
do not determine a quadratic are refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from profiler.fit.grouped_samples import GroupedSamples, group_by_k
from profiler.fit.least_squares import (
    FloatArray,
    LeastSquaresResult,
    design_matrix,
    nonnegative_least_squares,
    weighted_least_squares,
)
from profiler.fit.noise import noise_sd, repeats_for_normal_means
from profiler.fit.uncertainty import analytic_errors, bootstrap, pooled_variance
from traces.errors import InputError

NAMES = ("a", "b", "c")
ILL_CONDITIONED = 300.0
"""Condition number, columns scaled, past which a, b and c trade against each other. Evenly
spread k over the whole frame gives about 15; over the upper 40 % of the frame about 200."""


@dataclass(frozen=True, slots=True)
class QuadraticFit:
    """A fitted latency curve. Triples are in the order a (s/block²), b (s/block), c (s).

    Attributes:
        coefficients: non-negative weighted least squares.
        standard_errors: analytic, of the fit without the bound, so that they mean something at the bound; 0
            for a coefficient that is shown to be negative and therefore taken as 0.
        interval: (3, 2) analytic confidence interval, cut at 0: estimate without the bound ± t·error.
        bootstrap_interval: (3, 2) percentiles of refits to resampled repeats; None where it was not asked.
        bootstrap_errors: standard deviations of the same refits.
        covariance: (3, 3) of the fit without the bound (see ``profiler.fit.uncertainty``): right even where
            the smooth noise model behind the weights is not.
        r2: share of the samples' variance that the curve explains.
        lack_of_fit_p: p-value of the F test of the group means against the curve; None with fewer than 4
            distinct k or without repeats.
        findings: what a reader must know, a sentence each.
    """

    coefficients: tuple[float, float, float]
    standard_errors: tuple[float, float, float]
    interval: FloatArray
    bootstrap_interval: FloatArray | None
    bootstrap_errors: FloatArray | None
    covariance: FloatArray
    r2: float
    lack_of_fit_p: float | None
    degrees_of_freedom: int
    findings: tuple[str, ...]
    groups: GroupedSamples
    noise_s: FloatArray

    def seconds(self, k: FloatArray) -> FloatArray:
        """T(k)."""
        curve: FloatArray = design_matrix(k) @ np.array(self.coefficients)
        return curve

    def mean_error_s(self, k: FloatArray) -> FloatArray:
        """Standard error of T at each k."""
        rows = design_matrix(k)
        variance: FloatArray = np.einsum("ni,ij,nj->n", rows, self.covariance, rows)
        return np.sqrt(np.maximum(variance, 0.0))


def fit_quadratic(
    k: FloatArray,
    seconds: FloatArray,
    *,
    confidence: float = 0.95,
    draws: int = 1000,
    generator: np.random.Generator | None = None,
    where: str = "samples",
) -> QuadraticFit:
    """Fit the quadratic to raw samples.

    Args:
        k: (n,) blocks processed.
        seconds: (n,) measured times.
        confidence: of the intervals, in (0, 1).
        draws: bootstrap refits; 0 leaves the bootstrap out.
        generator: source of the bootstrap's draws; needed when ``draws`` > 0.
        where: what error messages call the samples.

    Raises:
        InputError: fewer than three distinct k, no degree of freedom left for an error, or an invalid sample.
    """
    groups = group_by_k(k, seconds, where)
    distinct, counts = groups.k, groups.counts
    if len(distinct) < 3:
        listed = " and ".join(f"{one:g}" for one in distinct)
        raise InputError(
            f"{where}: a quadratic needs at least 3 distinct k, found {len(distinct)} (k = {listed})"
        )
    if counts.sum() < 4:
        raise InputError(f"{where}: 3 samples always fit a quadratic: expected more, found {counts.sum()}")
    means, columns = groups.means_s, design_matrix(distinct)
    first = nonnegative_least_squares(columns, means, counts / means**2)
    noise = noise_sd(groups, columns @ first)
    group_weights = counts / noise**2
    flat_k, flat_s = groups.flat
    free = weighted_least_squares(design_matrix(flat_k), flat_s, np.repeat(1.0 / noise**2, counts))
    bounded = nonnegative_least_squares(columns, means, group_weights)

    pooled, skew = pooled_variance(groups, noise, columns @ first)
    covariance, interval, fitted = analytic_errors(groups, noise, pooled, confidence)
    errors = np.sqrt(np.diag(covariance))
    refits = None
    if draws:
        if generator is None:
            raise ValueError("generator must be given when draws > 0")
        refits = bootstrap(groups, noise, pooled, draws, generator)
    tails = (0.5 - confidence / 2, 0.5 + confidence / 2)
    total = float(((flat_s - flat_s.mean()) ** 2).sum())
    left = float(((flat_s - design_matrix(flat_k) @ bounded) ** 2).sum())
    lack_p = _lack_of_fit(groups, noise, columns @ fitted)
    return QuadraticFit(
        coefficients=_triple(bounded),
        standard_errors=_triple(errors),
        interval=interval,
        bootstrap_interval=None if refits is None else np.quantile(refits, tails, axis=0).T,
        bootstrap_errors=None if refits is None else refits.std(axis=0, ddof=1),
        covariance=covariance,
        r2=1.0 - left / total if total else 1.0,
        lack_of_fit_p=lack_p,
        degrees_of_freedom=free.degrees_of_freedom,
        findings=tuple(_findings(groups, skew, free, errors, bounded, lack_p)),
        groups=groups,
        noise_s=noise,
    )


def predict_quadratic(groups: GroupedSamples, k: float) -> float:
    """T(k) of the quadratic fitted to ``groups``: a ``Predictor`` for :func:`heldout_errors`."""
    columns, means = design_matrix(groups.k), groups.means_s
    first = nonnegative_least_squares(columns, means, groups.counts / means**2)
    weights = groups.counts / noise_sd(groups, columns @ first) ** 2
    a, b, c = nonnegative_least_squares(columns, means, weights)
    return float((a * k + b) * k + c)


def _lack_of_fit(groups: GroupedSamples, noise: FloatArray, curve_s: FloatArray) -> float | None:
    counts, spare = groups.counts, len(groups.k) - 3
    repeats = int(counts.sum()) - len(groups.k)
    if spare < 1 or repeats < 1:
        return None
    between = float((counts * ((groups.means_s - curve_s) / noise) ** 2).sum()) / spare
    spread = zip(groups.values, noise, strict=True)
    within = sum(float((((own - own.mean()) / sd) ** 2).sum()) for own, sd in spread) / repeats
    return float(stats.f.sf(between / within, spare, repeats)) if within > 0 else None


def _findings(
    groups: GroupedSamples,
    skew: float,
    free: LeastSquaresResult,
    errors: FloatArray,
    bounded: FloatArray,
    lack_p: float | None,
) -> list[str]:
    found: list[str] = []
    counts, k = groups.counts, groups.k
    if groups.outliers:
        at_k, worst, typical = max(groups.outliers, key=lambda one: one[1] / one[2])
        found.append(
            f"{len(groups.outliers)} of {counts.sum() + len(groups.outliers)} samples lie more than 10 times"
            f" off their group and were left out (k = {at_k:g}: {worst:.3g} s, typical {typical:.3g} s)"
        )
    if len(k) == 3:
        found.append("only 3 distinct k: whether the curve is a quadratic cannot be tested")
    if counts.min() < 3:
        found.append(f"only {counts.min()} sample(s) at k = {k[counts.argmin()]:g}: its spread is a guess")
    needed = repeats_for_normal_means(skew)
    if counts.min() < needed:
        found.append(
            f"rare slow runs (skewness {skew:.1f}) ask for {math.ceil(needed)} samples at each k, there are"
            f" {counts.min()}: the errors are the larger of two estimates, and a 95 % interval may still hold"
            " less often than that"
        )
    if free.condition > ILL_CONDITIONED:
        found.append(
            f"k from {k[0]:g} to {k[-1]:g} does not tell a, b and c apart (condition number"
            f" {free.condition:.0f}); T(k) holds inside this range, the coefficients mean little"
        )
    for name, value, error, bound in zip(NAMES, free.coefficients, errors, bounded, strict=True):
        if value < 0 <= bound:
            bends = name == "a" and error == 0.0  # shown to be negative, so taken as 0
            why = "; the curve bends down, which this form cannot follow" if bends else ""
            found.append(f"{name} was held at 0: without the bound it is {value:.2e}{why}")
    misfit = np.abs(groups.means_s - design_matrix(k) @ bounded) / groups.means_s
    if lack_p is not None and lack_p < 0.01 and misfit.max() > 0.02:
        found.append(
            f"the means leave the quadratic by up to {misfit.max():.1%} (k = {k[misfit.argmax()]:g}), more"
            f" than repeats explain (p = {lack_p:.1e}): the standard errors do not cover this"
        )
    return found


def _triple(values: FloatArray) -> tuple[float, float, float]:
    a, b, c = map(float, values)
    return a, b, c
