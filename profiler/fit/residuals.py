"""Residuals of a fitted curve: quantiles of measured over modelled time as a function of k.

A deterministic T(k) has no tail, and p99 is the tail. Fifteen repeats at one k do not determine a p99, so
repeats are pooled after dividing out how their spread grows with k: those of all k where one shape
fits all, those of the nearest where it does not. A clock that steps, or an interruption of fixed length,
shapes short runs and long ones differently.
"""

from __future__ import annotations

import numpy as np

from profiler.fit.grouped_samples import GroupedSamples
from profiler.fit.least_squares import FloatArray
from profiler.fit.noise import deviations, local_sd, nearby, shape_changes
from profiler.latency import Residuals

LEVELS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 1.0)


def residual_quantiles(
    groups: GroupedSamples,
    curve_s: FloatArray,
    noise_s: FloatArray,
    dense_s: FloatArray | None = None,
    extract_s: FloatArray | None = None,
) -> Residuals:
    """Quantiles of measured time over T(k), one row for each measured k.

    Args:
        groups: the samples.
        curve_s: (G,) T at each k of the groups.
        noise_s: (G,) smooth standard deviation of one sample at each k.
        dense_s: samples of dense inference.
        extract_s: samples of motion search and classification.
    """
    spread = local_sd(groups, noise_s)
    scaled = deviations(groups, spread)
    everywhere = None if shape_changes(scaled, curve_s) else np.concatenate(scaled)
    rows = []
    for i, (curve, sd) in enumerate(zip(curve_s, spread, strict=True)):
        shape = nearby(scaled, curve_s, i) if everywhere is None else everywhere
        centre = _shrunken_mean(groups.values[i], float(curve), float(sd))
        ratio = (centre + sd * shape) / curve
        fastest = (
            groups.values[i].min() / curve
        )  # pooling must not give times far below any measured, let alone < 0
        rows.append(
            _row(np.maximum(ratio, 0.5 * fastest)) if len(shape) else (float(centre / curve),) * len(LEVELS)
        )
    return Residuals(
        levels=LEVELS,
        k=tuple(map(float, groups.k)),
        ratio=tuple(rows),
        dense=None if dense_s is None else _row(dense_s / np.median(dense_s)),
        extract=None if extract_s is None else _row(extract_s / np.median(extract_s)),
    )


def _shrunken_mean(own: FloatArray, curve: float, sd: float) -> float:
    """The group's mean where it clearly leaves the curve, the curve where the difference is noise.

    Positive-part James–Stein: T + (m − T)·max(0, 1 − se²/(m − T)²).
    """
    gap = float(own.mean()) - curve
    if gap == 0.0:
        return curve
    return curve + gap * max(0.0, 1.0 - sd**2 / len(own) / gap**2)


def _row(ratio: FloatArray) -> tuple[float, ...]:
    # numpy's default is short in the tail: of 100 samples, its p99 is exceeded in 2 % (Hyndman and Fan 1996).
    return tuple(float(round(value, 5)) for value in np.quantile(ratio, LEVELS, method="median_unbiased"))
