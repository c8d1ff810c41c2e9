"""Leave-one-out cross-validation: how well a curve predicts block counts that it was not fitted to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from profiler.fit.grouped_samples import GroupedSamples
from profiler.fit.least_squares import FloatArray

Predictor = Callable[[GroupedSamples, float], float]
"""Fits some curve to groups and evaluates it at one k."""


def heldout_errors(groups: GroupedSamples, predict: Predictor) -> FloatArray:
    """(G − 2,) |prediction − mean| / mean at each inner k, predicted from all the other k.

    The outermost two stay in: leaving one out would ask for an extrapolation, which a simulation flags and
    does not trust either. Empty with fewer than four distinct k.
    """
    if len(groups.k) < 4:
        return np.empty(0)
    means = groups.means_s[1:-1]
    inner = range(1, len(groups.k) - 1)
    predicted = np.array([predict(groups.without(i), float(groups.k[i])) for i in inner])
    errors: FloatArray = np.abs(predicted - means) / means
    return errors


def median_error(errors: FloatArray) -> float | None:
    """Median of held-out errors; None where there are none."""
    return float(np.median(errors)) if len(errors) else None
