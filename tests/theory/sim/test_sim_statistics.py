"""Estimators and effective accuracy against their formulas and limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.physics.estimators import Ewma, HarmonicMean, Kalman, Oracle
from sim.records.account import FrameAccount
from sim.records.frame_table import EffectiveAccuracyMetric, FrameTable
from sim.records.outcome import Outcome
from tests.strategies.sim import run, statistical

RATES_BPS = st.lists(st.floats(1e5, 1e9), min_size=1, max_size=30)


def observe_all(estimator: Ewma | HarmonicMean | Kalman, rates_bps: list[float]) -> float:
    for rate_bps in rates_bps:
        estimator.observe(1e6, 8e6 / rate_bps)
    estimate_bps = estimator.estimate_bps()
    assert estimate_bps is not None
    return estimate_bps


@given(RATES_BPS, st.lists(st.floats(0.01, 5.0), min_size=30, max_size=30), st.floats(0.05, 2.0))
def test_ewma_weighs_log_rates_by_time(
    rates_bps: list[float], gaps_s: list[float], half_life_s: float
) -> None:
    """ln e = Σ ln x_i · (1 − 2^(−t_i/h)) · 2^(−(t_{i+1} + … + t_n)/h), the first with weight 1."""
    estimator = Ewma(options=Ewma.Options(half_life_s))
    gaps_s = gaps_s[: len(rates_bps)]
    for rate_bps, gap_s in zip(rates_bps, gaps_s, strict=True):
        estimator.elapse(gap_s)
        estimator.observe(rate_bps * 0.001 / 8.0, 0.001)
    expected = 0.0
    for place, rate_bps in enumerate(rates_bps):
        own = 1.0 - 0.5 ** (gaps_s[place] / half_life_s) if place else 1.0
        expected += math.log(rate_bps) * own * 0.5 ** (sum(gaps_s[place + 1 :]) / half_life_s)
    estimate_bps = estimator.estimate_bps()
    assert estimate_bps is not None
    assert math.log(estimate_bps) == pytest.approx(expected, rel=1e-9)


@given(RATES_BPS, st.integers(1, 10))
def test_harmonic_mean_is_all_bytes_over_all_time(rates_bps: list[float], window: int) -> None:
    """For transfers of one size the harmonic mean of their rates is bytes over time."""
    last = rates_bps[-window:]
    expected = 8e6 * len(last) / sum(8e6 / rate for rate in last)
    options = HarmonicMean.Options(window, memory_s=1e9)
    assert observe_all(HarmonicMean(options=options), rates_bps) == pytest.approx(expected, rel=1e-9)


def test_harmonic_mean_forgets_what_is_old() -> None:
    estimator = HarmonicMean()
    estimator.observe(1e3, 8e-4)
    for _ in range(2):
        estimator.elapse(0.6)
        estimator.observe(1e3, 8e-3)
    assert estimator.estimate_bps() == pytest.approx(1e6)


@pytest.mark.parametrize("grants", [1, 2, 5, 20])
def test_a_sample_is_worth_its_grants(grants: int) -> None:
    """n exponential sizes over n exponential gaps: the filter knows how far their logarithm scatters.

    The gain of a sample after a first one of known variance R₀ = r² + 1/N gives its variance away:
    K = R₀ / (R₀ + R). Drawn, the log rate has the variance 2·ψ'(n), for which 2/n + 1/n² stands.
    """
    measurement, first = 0.2, 100
    estimator = Kalman(options=Kalman.Options(1e-9, measurement, gate=1e9))
    estimator.observe(1500 * first, 0.012 * first)
    estimator.covers(grants)
    estimator.observe(15_000, 0.06)  # a rate of e^ln 2
    after = estimator.estimate_bps()
    assert after is not None
    gain = math.log(after / 1e6) / math.log(2.0)
    known = measurement**2 + 1.0 / first
    variance = known / gain - known - measurement**2
    drawn = np.random.default_rng(5).gamma(grants, size=(2, 40_000))
    assert variance == pytest.approx(float(np.var(np.log(drawn[0] / drawn[1]))), rel=0.12)


@given(st.floats(1e-3, 5.0), st.integers(1, 50))
def test_no_grant_is_a_bound(seconds: float, grants: int) -> None:
    """Belief never rises by it, and what comes next counts as much as if nothing had been said, or more."""
    stalled, other = Kalman(), Kalman()
    for estimator in (stalled, other):
        estimator.covers(20)
        estimator.observe(60_000, 0.048)
    stalled.elapse(seconds)
    stalled.covers(0)
    stalled.observe(3_000, seconds)
    low_bps, before_bps = stalled.estimate_bps(), other.estimate_bps()
    assert low_bps is not None
    assert before_bps is not None
    assert low_bps <= before_bps
    elapsed_s = [0.0, seconds]
    shares = []
    for estimator, elapse_s, from_bps in zip((stalled, other), elapsed_s, (low_bps, before_bps), strict=True):
        estimator.elapse(elapse_s)
        estimator.covers(grants)
        estimator.observe(1.1 * from_bps / 8.0 * 1e-3, 1e-3)
        now_bps = estimator.estimate_bps()
        assert now_bps is not None
        shares.append(math.log(now_bps / from_bps))
    assert shares[0] >= shares[1] - 1e-9


def test_kalman_gain_settles_at_the_riccati_equations_root() -> None:
    """On a constant rate P⁺ = P + q², K = P⁺/(P⁺ + r²) settles at K = (−q² + q·√(q² + 4r²))/(2r²)."""
    process, measurement, packets = 0.1, 0.3, 10
    estimator = Kalman(options=Kalman.Options(process, measurement))
    for _ in range(200):
        estimator.elapse(1.0)
        estimator.observe(1500 * packets, 0.012 * packets)
    before = estimator.estimate_bps()
    estimator.elapse(1.0)
    estimator.observe(1500 * packets, 0.012 * packets / 1.01)
    after = estimator.estimate_bps()
    assert before == pytest.approx(1e6)
    assert after is not None
    q2, r2 = process**2, measurement**2 + 1 / packets
    gain = (-q2 + math.sqrt(q2**2 + 4 * q2 * r2)) / (2 * r2)
    assert math.log(after / 1e6) / math.log(1.01) == pytest.approx(gain, rel=1e-6)


def test_a_surprise_counts_nearly_alone_for_kalman() -> None:
    """ν² takes the place of P: K = ν²/(ν² + r²)."""
    estimator = Kalman(options=Kalman.Options(0.1, 0.3, gate=3.0))
    observe_all(estimator, [56e6] * 50)
    estimator.observe(15_000, 0.3)
    estimate_bps = estimator.estimate_bps()
    assert estimate_bps is not None
    surprise = math.log(0.4 / 56)
    gain = surprise**2 / (surprise**2 + 0.3**2 + 0.1)
    assert math.log(estimate_bps / 56e6) == pytest.approx(gain * surprise, rel=1e-6)


@pytest.mark.parametrize("estimator", [Ewma(), HarmonicMean(), Kalman()])
def test_estimators_know_nothing_at_first_and_learn_from_the_smallest_sample(
    estimator: Ewma | HarmonicMean | Kalman,
) -> None:
    assert estimator.estimate_bps() is None
    estimator.observe(1000, 1.6e-3)
    assert estimator.estimate_bps() == pytest.approx(5e6)
    assert observe_all(estimator, [5e6] * 10) == pytest.approx(5e6)


@given(st.floats(1e4, 1e10), st.floats(0.01, 1.0))
def test_the_oracle_finds_a_constant_rate(rate_bps: float, horizon_s: float) -> None:
    found = Oracle(lambda size: 8.0 * size / rate_bps, Oracle.Options(horizon_s)).estimate_bps()
    assert found == pytest.approx(rate_bps)


def test_effective_accuracy_is_taken_frame_by_frame() -> None:
    """EA is convex in latency, so the mean EA of 0 and 200 ms exceeds EA of 100 ms (Jensen)."""
    table = FrameTable()
    account = FrameAccount()
    for frame, latency_s in enumerate((0.0, 0.2)):
        account.open(frame, 1.0, 1.0)
        table.complete(0, account, 1.0 + latency_s, Outcome("edge", 10, 5, 5))
    decay_per_s = math.log(2) / 0.1
    frames = table.to_frame(EffectiveAccuracyMetric(0.8, decay_per_s, 40))
    accuracy = 0.8 * (1 - 5 / 40)
    assert frames["accuracy"].tolist() == pytest.approx([accuracy] * 2)
    assert frames["ea"].tolist() == pytest.approx([accuracy, accuracy / 4])
    assert frames["ea"].mean() > accuracy / 2


def test_every_frames_ea_follows_from_its_row() -> None:
    frames = run(statistical(scheduler={"name": "ea", "lambda_per_s": 20.0})).frames
    done = frames[frames["outcome"] == "completed"]
    expected = done["accuracy"] * np.exp(-20.0 * (done["completed_s"] - done["captured_s"]))
    assert done["ea"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-12)
    assert (done["ea"] <= done["accuracy"]).all()
