"""The fit's error bars mean what they say: on synthetic devices with known curves, over 1,000 runs each."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from profiler.fit.free_quadratic import fit_free_quadratic, free_quadratic_error
from profiler.fit.grouped_samples import group_by_k
from profiler.fit.holdout import heldout_errors
from profiler.fit.piecewise import fit_piecewise, predict_piecewise
from profiler.fit.quadratic import QuadraticFit, fit_quadratic, predict_quadratic
from profiler.refit import fit_profile
from tests.strategies.profiler import NOISES, SHIFTING, XAVIER, SyntheticDevice, as_samples

RUNS, CONFIDENCE = 1000, 0.95
GRID = np.linspace(1, 1600, 14).round()


@pytest.fixture(scope="module", params=NOISES)
def fits(request: pytest.FixtureRequest) -> list[QuadraticFit]:
    generator = np.random.default_rng(20)
    device = SyntheticDevice(noise=request.param)
    k = np.repeat(GRID, 45)  # 15 repeats of 3 kinds of active set, as a default run measures
    return [
        fit_quadratic(k, device.measure(k, generator), confidence=CONFIDENCE, draws=200, generator=generator)
        for _ in range(RUNS)
    ]


def binomial_bounds(rate: float, checks: int) -> tuple[int, int]:
    """Hits out of RUNS that an honest interval leaves with probability 1e-3 over all checks together."""
    tail = 1e-3 / checks / 2
    return int(stats.binom.ppf(tail, RUNS, rate)), int(stats.binom.ppf(1 - tail, RUNS, rate))


def hits(intervals: list[np.ndarray]) -> np.ndarray:
    """How often each of a, b, c lies in its interval."""
    truth = np.array(XAVIER)
    return sum(((one[:, 0] <= truth) & (truth <= one[:, 1])).astype(int) for one in intervals)


def test_analytic_intervals_cover_at_their_nominal_rate(fits: list[QuadraticFit]) -> None:
    low, high = binomial_bounds(CONFIDENCE, checks=9)
    found = hits([fit.interval for fit in fits])
    assert np.all((low <= found) & (found <= high)), f"{found} of {RUNS}, expected {low} to {high}"


def test_bootstrap_intervals_cover_at_their_nominal_rate(fits: list[QuadraticFit]) -> None:
    """Percentiles of 200 draws sit a little inside those of infinitely many: 2 % of slack below."""
    low, high = binomial_bounds(CONFIDENCE, checks=9)
    found = hits([fit.bootstrap_interval for fit in fits])
    assert np.all((low - 20 <= found) & (found <= high)), f"{found} of {RUNS}, expected {low} to {high}"


@pytest.fixture(scope="module", params=(*NOISES, "rare_slow"))
def short_fits(request: pytest.FixtureRequest) -> list[QuadraticFit]:
    """15 samples at each k, of noise that they may not be enough for."""
    generator = np.random.default_rng(21)
    device = SyntheticDevice(noise=request.param)
    k = np.repeat(GRID, 15)
    return [
        fit_quadratic(k, device.measure(k, generator), confidence=CONFIDENCE, draws=200, generator=generator)
        for _ in range(RUNS)
    ]


def test_with_fifteen_repeats_intervals_cover_at_least_at_their_nominal_rate(
    short_fits: list[QuadraticFit],
) -> None:
    """HC3 alone covers c in half of all runs where slow ones are rare; wider than nominal is no lie."""
    low, _ = binomial_bounds(CONFIDENCE, checks=24)
    analytic, boot = (
        hits([fit.interval for fit in short_fits]),
        hits([fit.bootstrap_interval for fit in short_fits]),
    )
    assert np.all(low <= analytic), f"{analytic} of {RUNS}, expected at least {low}"
    assert np.all(low - 20 <= boot), f"{boot} of {RUNS}, expected at least {low - 20}"


def test_too_few_repeats_for_the_noise_are_said_in_the_profile() -> None:
    """Stops of fixed length are the case that no rule saves: 15 repeats at one block mostly meet none."""
    generator = np.random.default_rng(22)
    k = np.repeat(GRID, 15)

    def warned(noise: str) -> list[bool]:
        fits = (
            fit_quadratic(k, SyntheticDevice(noise=noise).measure(k, generator), draws=0) for _ in range(100)
        )
        return [any("15: the errors are the larger of two" in line for line in fit.findings) for fit in fits]

    assert sum(warned("rare_slow")) >= 99
    assert sum(warned("interrupted")) >= 75
    assert sum(warned("heteroscedastic")) == 0
    rows = SyntheticDevice(noise="rare_slow").rows(generator, GRID, repeats=15)
    assert any(
        "rare slow runs" in line for line in fit_profile(as_samples(rows)).profile.provenance["findings"]
    )


def test_estimates_are_unbiased(fits: list[QuadraticFit]) -> None:
    estimates = np.array([fit.coefficients for fit in fits])
    error = estimates.std(axis=0, ddof=1) / np.sqrt(RUNS)
    assert np.all(np.abs(estimates.mean(axis=0) - XAVIER) < 4.5 * error)


def test_false_alarms_of_the_lack_of_fit_test_are_as_rare_as_stated(fits: list[QuadraticFit]) -> None:
    alarms = sum(fit.lack_of_fit_p < 0.01 for fit in fits)
    assert alarms <= stats.binom.ppf(1 - 1e-4, RUNS, 0.01)


@pytest.mark.parametrize("noise", NOISES)
def test_p99_from_the_residuals_is_within_five_per_cent(noise: str) -> None:
    generator = np.random.default_rng(4)
    device = SyntheticDevice(noise=noise)
    profile = fit_profile(as_samples(device.rows(generator, GRID, repeats=20)), draws=0).profile
    for k in (40, 300, 777, 1500):
        true_p99 = np.quantile(device.measure(np.full(400_000, float(k)), generator), 0.99)
        assert profile.sample_s(k, 0.99) == pytest.approx(true_p99, rel=0.05)
        drawn = [profile.sample_s(k, u) for u in generator.random(4000)]
        assert np.mean(drawn) == pytest.approx(float(device.curve_s(np.array(k))), rel=0.02)


@pytest.mark.parametrize("noise", SHIFTING)
def test_p99_holds_where_the_shape_of_the_noise_changes_with_k(noise: str) -> None:
    """Pooled over all k, the slow mode of one end puts p99 of an end off by 10 to 45 %."""
    generator = np.random.default_rng(8)
    device = SyntheticDevice(noise=noise)
    runs = [fit_profile(as_samples(device.rows(generator, GRID, 45)), draws=0).profile for _ in range(9)]
    for k in (1, 1600):
        true_p99 = np.quantile(device.measure(np.full(400_000, float(k)), generator), 0.99)
        assert np.median([one.sample_s(k, 0.99) for one in runs]) == pytest.approx(true_p99, rel=0.05)


def test_a_device_that_steps_is_better_predicted_by_the_rival() -> None:
    """A knee at a third of the frame: no parabola follows it, eight knots do."""
    generator = np.random.default_rng(5)
    grid = np.linspace(1, 1600, 22).round()
    k = np.repeat(grid, 12)
    knee_s = 0.01 + 1e-5 * np.minimum(k, 550) + 2e-4 * np.maximum(k - 550, 0)
    groups = group_by_k(k, knee_s * generator.normal(1, 0.01, len(k)))
    quadratic = np.median(heldout_errors(groups, predict_quadratic))
    assert fit_piecewise(groups).heldout_error < 0.5 * quadratic
    fit = fit_quadratic(k, knee_s * generator.normal(1, 0.01, len(k)), draws=0)
    assert fit.lack_of_fit_p < 1e-6
    assert any("leave the quadratic" in finding for finding in fit.findings)


@pytest.mark.parametrize("a_s", [-3e-8, 0.0, 5e-8])
def test_free_to_bend_down_the_quadratic_finds_either_sign(a_s: float) -> None:
    generator = np.random.default_rng(9)
    k = np.repeat(GRID, 15)
    seconds = (0.008 + 1.2e-4 * k + a_s * k**2) * generator.normal(1, 0.01, len(k))
    found = fit_free_quadratic(group_by_k(k, seconds), 1600)
    assert found.a_s == pytest.approx(a_s, abs=3e-9)
    error, bounded = free_quadratic_error(group_by_k(k, seconds), 1600), fit_quadratic(k, seconds, draws=0)
    assert error is not None
    assert error < 0.01
    assert bounded.coefficients[0] == pytest.approx(max(a_s, 0.0), abs=3e-9)


def test_a_curve_that_bends_down_never_falls_on_the_frame() -> None:
    """A plateau from 400 blocks on would turn a free parabola down before 1600."""
    generator = np.random.default_rng(10)
    k = np.repeat(GRID, 15)
    found = fit_free_quadratic(
        group_by_k(k, (0.01 + 1e-4 * np.minimum(k, 400)) * generator.normal(1, 0.01, len(k))), 1600
    )
    assert found.a_s < 0
    assert found.b_s + 2 * found.a_s * 1600 >= -1e-12


def test_a_true_quadratic_is_predicted_within_three_per_cent() -> None:
    generator = np.random.default_rng(6)
    k = np.repeat(GRID, 45)
    groups = group_by_k(k, SyntheticDevice(noise="bimodal").measure(k, generator))
    assert np.median(heldout_errors(groups, predict_quadratic)) < 0.03
    assert predict_piecewise(groups, 800.0) == pytest.approx(predict_quadratic(groups, 800.0), rel=0.05)
