"""Break-even: where the curve truly crosses dense, covered by its interval; the better curve decides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from profiler.fit.breakeven import break_even
from profiler.fit.quadratic import fit_quadratic
from profiler.latency import Quadratic
from profiler.measure.samples import Sample
from profiler.refit import fit_profile
from tests.strategies.profiler import XAVIER, SyntheticDevice, as_samples

GRID = np.linspace(1, 1600, 12).round()
DENSE_S = 0.2


def test_the_interval_covers_the_true_crossing() -> None:
    truth = Quadratic(*XAVIER).crossing(DENSE_S)
    generator, device, runs = np.random.default_rng(8), SyntheticDevice(noise="bimodal"), 300
    k = np.repeat(GRID, 45)
    covered = 0
    for _ in range(runs):
        dense = DENSE_S * generator.normal(1, 0.02, 45)
        fit = fit_quadratic(k, device.measure(k, generator), draws=0)
        error = float(dense.std(ddof=1)) / math.sqrt(45)
        found = break_even(fit, None, float(dense.mean()), error, 1600)
        assert found.low <= found.k <= found.high
        covered += found.low <= truth <= found.high
    low, high = stats.binom.ppf((5e-4, 1 - 5e-4), runs, 0.95)
    assert low <= covered <= high


def test_a_curve_always_below_dense_has_none_and_one_always_above_has_zero() -> None:
    k = np.repeat(GRID, 5)
    fit = fit_quadratic(k, SyntheticDevice().measure(k, np.random.default_rng(0)), draws=0)
    assert break_even(fit, None, 10.0, 0.0, 1600).k == math.inf
    assert break_even(fit, None, 1e-4, 0.0, 1600).k == 0.0


def test_where_the_curve_bends_down_the_measured_course_decides() -> None:
    """√k crosses dense at 60 % of the frame; the best non-negative quadratic would say far less."""
    generator = np.random.default_rng(2)
    grid = np.linspace(1, 1600, 16).round()
    rows = [
        Sample("sparse", int(k), "random", r, float(0.06 * math.sqrt(k / 1600) * generator.normal(1, 0.01)))
        for r in range(10)
        for k in grid
    ]
    dense_s = 0.06 * math.sqrt(0.6)
    rows += [Sample("dense", None, None, r, dense_s) for r in range(10)]
    found = fit_profile(as_samples(rows), {"resolution_px": (640, 640)}, draws=0)
    assert found.better == "piecewise_linear"
    assert found.profile.quadratic.a_s == 0.0
    assert any("bends down" in finding for finding in found.findings)
    assert found.profile.breakeven_k == pytest.approx(960, rel=0.05)
    # Sampled times follow the measurement, not the straight line that the quadratic has become.
    for k in (int(grid[3]), int(grid[12])):
        assert found.profile.sample_s(k, 0.5) == pytest.approx(0.06 * math.sqrt(k / 1600), rel=0.03)
