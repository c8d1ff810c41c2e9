"""Intervals hold for correlated series as often as they say, or are not given."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, binom, t

from sim.records.intervals import (
    COSINES,
    MIN_TIMES,
    UNKNOWN,
    correlation_samples,
    influence,
    interval_keys,
    long_enough,
    mean_variance,
    replicate_interval,
    replicate_quantile_interval,
    run_mean_interval,
    run_quantile_interval,
)
from sim.records.run_statistics import ea_per_captured, interval_columns, warmup_end_s
from tests.benchmarks.bench_intervals import (
    CSV,
    FPS,
    LENGTHS,
    START_UP,
    Recording,
    coverage,
    latencies_s,
    table,
)
from traces.bandwidth.synthetic import CORRELATION_S, synthetic_network


def autoregressive(trials: int, n: int, rho: float, seed: int) -> NDArray[np.float64]:
    """(trials, n) stationary AR(1) series of variance 1 and mean 0."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(trials, n))
    x[:, 1:] *= math.sqrt(1 - rho * rho)
    for i in range(1, n):
        x[:, i] += rho * x[:, i - 1]
    return x


def share_within(hits: int, trials: int) -> bool:
    """Whether nominal 95 % is inside Clopper and Pearson's bounds at 99.9 % of what was covered."""
    low = beta.ppf(0.0005, hits, trials - hits + 1)
    high = beta.ppf(0.9995, hits + 1, trials - hits)
    return bool(low <= 0.95 <= high)


@pytest.mark.parametrize("rho", [0.0, 0.9, 0.95])
def test_means_of_correlated_runs_are_covered(rho: float) -> None:
    """Correlation times of 1, 19 and 39 samples in 3000."""
    trials = 600
    hits = given = 0
    for row in autoregressive(trials, 3000, rho, seed=7):
        low, high = run_mean_interval(float(row.mean()), influence(row), 1.0, 0.0)
        if low is not None and high is not None:
            given += 1
            hits += low <= 0.0 <= high
    assert given > 0.95 * trials
    assert share_within(hits, given), hits / given


def test_a_run_of_few_correlation_times_has_no_interval() -> None:
    row = autoregressive(1, 300, 0.99, seed=3)[0]  # one and a half correlation times
    assert run_mean_interval(0.0, influence(row), 1.0, 0.0) == UNKNOWN
    white = np.random.default_rng(1).normal(size=300)
    assert run_mean_interval(0.0, influence(white), 0.1, 0.0) != UNKNOWN
    driven_s = 30.0 / MIN_TIMES  # by a network that stays alike for so long
    assert run_mean_interval(0.0, influence(white), 0.1, 0.99 * driven_s) != UNKNOWN
    assert run_mean_interval(0.0, influence(white), 0.1, 1.01 * driven_s) == UNKNOWN
    assert not long_enough(white, 0.1, math.inf)


def test_the_correlation_time_is_that_of_the_process() -> None:
    """1 + 2·Σ ρ^k = (1 + ρ)/(1 − ρ)."""
    for rho in (0.0, 0.5, 0.9):
        found = [correlation_samples(row) for row in autoregressive(20, 20_000, rho, seed=2)]
        assert np.mean(found) == pytest.approx((1 + rho) / (1 - rho), rel=0.08)
    assert correlation_samples(np.full(100, 3.0)) == 1.0
    assert correlation_samples(np.empty(0)) == 1.0


def test_the_variance_of_a_mean_counts_correlation() -> None:
    """Of AR(1): Var(mean) → (1 + ρ)/(1 − ρ)/n; its estimate from ν cosines has the variance 2/ν of itself."""
    rho, n = 0.8, 2000
    found = np.array([mean_variance(row) for row in autoregressive(400, n, rho, seed=4)])
    expected = (1 + rho) / (1 - rho) / n
    assert found.mean() == pytest.approx(expected, rel=0.1)
    assert found.std() / found.mean() == pytest.approx(math.sqrt(2 / COSINES), rel=0.15)


def test_frames_without_a_result_and_several_cameras_are_one_mean() -> None:
    """The influence's mean square is the variance of a ratio's mean, whatever its frames' gaps."""
    values = np.array([[1.0, np.nan, 3.0, 8.0], [2.0, 4.0, np.nan, np.nan]])
    series = influence(values)
    assert series.mean() == pytest.approx(0.0)
    mean = np.nanmean(values)
    moved = values.copy()
    moved[0, 2] += 1e-6  # one value more adds its deviation over the count
    assert (np.nanmean(moved) - mean) / 1e-6 == pytest.approx(1 / 5)
    assert series.tolist() == pytest.approx(
        [4 / 5 * (values[:, i][np.isfinite(values[:, i])] - mean).sum() for i in range(4)]
    )
    assert influence(np.full(3, np.nan)).tolist() == [0.0, 0.0, 0.0]


def test_few_replicates_have_students_interval() -> None:
    means = [1.0, 2.0, 4.0]
    half = t.ppf(0.975, 2) * np.std(means, ddof=1) / math.sqrt(3)
    assert replicate_interval(means) == pytest.approx((7 / 3 - half, 7 / 3 + half))
    assert replicate_interval([1.0]) == UNKNOWN
    assert replicate_interval([0.3] * 9) == pytest.approx((0.3, 0.3))


@pytest.mark.parametrize("count", [8, 12])
@pytest.mark.parametrize("skewed", [False, True])
def test_replicates_are_covered_though_they_are_skewed(count: int, skewed: bool) -> None:
    """Normal means, and means of a gamma distribution of skewness 1.3, as those of ten seconds have."""
    rng = np.random.default_rng(5)
    trials = 600 if count == 8 else 200
    drawn = rng.gamma(2.4, size=(trials, count)) - 2.4 if skewed else rng.normal(size=(trials, count))
    ends = [replicate_interval(row.tolist()) for row in drawn]
    hits = sum(low is not None and high is not None and low <= 0.0 <= high for low, high in ends)
    assert share_within(hits, len(ends)), hits / len(ends)


def test_the_bootstrap_is_that_of_all_resamples() -> None:
    """Eight of eight: as many by enumeration as by drawing, and the same every time."""
    means = np.random.default_rng(8).gamma(2.0, size=8)
    rng = np.random.default_rng(0)
    drawn = means[rng.integers(0, 8, (200_000, 8))]
    spread = drawn.std(axis=1, ddof=1)
    statistic = (drawn.mean(axis=1) - means.mean())[spread > 0] / (spread[spread > 0] / math.sqrt(8))
    error = means.std(ddof=1) / math.sqrt(8)
    low, high = means.mean() - error * np.quantile(statistic, (0.975, 0.025))
    assert replicate_interval(means.tolist()) == pytest.approx((low, high), rel=0.02)
    assert replicate_interval(means.tolist()) == replicate_interval(means.tolist())


@pytest.mark.parametrize(("level", "rho"), [(0.5, 0.0), (0.95, 0.0), (0.5, 0.8), (0.9, 0.8)])
def test_quantiles_of_replicates_are_covered(level: float, rho: float) -> None:
    """Eight replicates; a normal quantile is the truth."""
    from scipy.stats import norm

    truth, hits, given, trials = norm.ppf(level), 0, 0, 300
    everything = autoregressive(8 * trials, 600, rho, seed=11).reshape(trials, 8, 600)
    for replicates in everything:
        low, high = replicate_quantile_interval(list(replicates), level, 1.0, 0.0)
        if low is not None and high is not None:
            given += 1
            hits += low <= truth <= high
    assert given > 0.9 * trials
    assert share_within(hits, given), hits / given


def test_quantiles_without_twenty_effective_values_beyond_have_none() -> None:
    rng = np.random.default_rng(6)
    assert replicate_quantile_interval([rng.random(300) for _ in range(8)], 0.999, 1.0, 0.0) == UNKNOWN  # 2.4
    assert replicate_quantile_interval([rng.random(300) for _ in range(8)], 0.9, 1.0, 0.0) != UNKNOWN
    alike = [np.full(300, value) for value in rng.random(8)]  # 2400 values, eight of them effective
    assert replicate_quantile_interval(alike, 0.9, 1.0, 0.0) == UNKNOWN
    assert (
        replicate_quantile_interval([rng.random(5000)], 0.5, 1.0, 0.0) == UNKNOWN
    )  # nothing to compare with
    white = rng.random((1, 3000))
    many = [rng.random(300) for _ in range(8)]  # in 80 s of a network that stays alike for 0.39 or 0.41 s
    assert replicate_quantile_interval(many, 0.9, 80.0, 0.39) != UNKNOWN
    assert replicate_quantile_interval(many, 0.9, 80.0, 0.41) == UNKNOWN
    assert run_quantile_interval(white, 0.5, 1.0, 0.0) != UNKNOWN
    assert run_quantile_interval(white[:, :1500], 0.99, 1.0, 0.0) == UNKNOWN  # 15
    assert run_quantile_interval(np.full((1, 100), np.nan), 0.5, 1.0, 0.0) == UNKNOWN


def test_keys_keep_their_unit_at_the_end() -> None:
    assert interval_keys("latency_p99_s") == ("latency_p99_low_s", "latency_p99_high_s")
    assert interval_keys("ea_mean") == ("ea_mean_low", "ea_mean_high")
    assert interval_keys("uplink_bps_mean") == ("uplink_bps_mean_low", "uplink_bps_mean_high")


def test_intervals_hold_on_the_synthetic_network() -> None:
    """A small edition of the benchmark: thirty networks, a thousand there."""
    recordings = []
    for seed in range(30):
        network = synthetic_network(56e6, 300.0, seed)
        starts_s = [22.0 * number for number in range(8)]
        windows = [latencies_s(network.sliced(s, s + 22.0), 600) for s in starts_s]
        recordings.append(Recording(latencies_s(network, 3000), np.array(windows)))
    rows = list(coverage(recordings, LENGTHS[:3]))
    alone = [row for row in rows if row.runs == 1 and row.frames in LENGTHS[:2]]
    assert alone
    assert all(row.given == 0.0 for row in alone)  # ten and twenty seconds tell nothing
    sets = [row for row in rows if row.runs == 8 and row.quantity in ("latency mean", "EA mean")]
    assert len(sets) == 4
    for row in sets:
        assert row.given == 1.0
        assert binom.cdf(round(row.covered * row.trials), row.trials, 0.93) > 0.001, row


# -- start-up --------------------------------------------------------------------------------------


def frames_of(captured_s: NDArray[np.float64], cameras: int = 1) -> pd.DataFrame:
    count = captured_s.size
    return pd.DataFrame(
        {
            "camera": np.repeat(np.arange(cameras), count),
            "captured_s": np.tile(captured_s, cameras),
            "outcome": "completed",
            "ea": 0.5,
            "latency_s": 0.05,
            "path": "edge",
            "uplink_bytes": 0,
        }
    )


@pytest.mark.parametrize(("frames", "left_out"), [(1, 0), (3, 0), (4, 1), (40, 10), (120, 30), (600, 30)])
def test_start_up_is_a_second_or_a_quarter_of_the_frames(frames: int, left_out: int) -> None:
    table = frames_of(np.arange(frames) / 30.0, cameras=2)
    end_s = warmup_end_s(table, 1.0)
    assert int((table["captured_s"] < end_s).sum()) == 2 * left_out
    assert warmup_end_s(table, 0.0) == 0.0


def test_a_frame_without_a_result_is_worth_nothing() -> None:
    table = frames_of(np.arange(4.0))
    table.loc[1, ["outcome", "ea"]] = ["replaced", np.nan]
    assert ea_per_captured(table) == pytest.approx(0.375)
    assert ea_per_captured(table.iloc[:0]) is None


def test_a_constant_has_an_interval_of_no_width() -> None:
    table = frames_of(np.arange(200) / 30.0)
    columns = interval_columns(table, {"ea_mean": 0.5, "ea_per_captured": 0.5}, 5.0)  # sends nothing
    assert (columns["ea_mean_low"], columns["ea_mean_high"]) == (0.5, 0.5)
    table["uplink_bytes"] = 1000
    assert interval_columns(table, {"ea_mean": 0.5}, 5.0)["ea_mean_low"] is None  # 6.7 s of a 5 s network
    assert START_UP == 30


def test_who_decides_not_to_send_depends_on_the_network_as_well() -> None:
    """A dead link keeps every frame on the edge: its run says no more about the network than any other."""
    table = frames_of(np.arange(200) / 30.0)
    table["decided_path"] = "edge"
    assert interval_columns(table, {"ea_mean": 0.5}, 5.0)["ea_mean_low"] is None
    table["decided_path"] = None
    assert interval_columns(table, {"ea_mean": 0.5}, 5.0)["ea_mean_low"] == 0.5


# -- what the page shows -----------------------------------------------------------------------------

BEGIN, END = "<!-- interval coverage -->", "<!-- end of interval coverage -->"


def shown() -> str:
    return f"```text\n{table(pd.read_csv(CSV))}\n```"


def test_the_page_shows_the_measured_coverage(repository: Path) -> None:
    text = (repository / "analysis" / "README.md").read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == shown()


def test_what_is_given_holds() -> None:
    """93 to 97 % of a thousand; the binomial bounds of each within 91 to 98 %. What is too short has none."""
    rows = pd.read_csv(CSV)
    assert (rows["trials"] >= 1000).all()
    given = rows[rows["given"] > 0]
    assert {"latency mean", "EA mean", "latency p50", "latency p95"} == set(given["quantity"])
    assert given["covered"].between(0.93, 0.97).all()
    assert ((given["low"] > 0.91) & (given["high"] < 0.98)).all()
    alone = rows[(rows["runs"] == 1) & rows["quantity"].str.endswith("mean")]
    assert (alone["given"] > 0).tolist() == (alone["frames"] / FPS >= MIN_TIMES * CORRELATION_S).tolist()


if __name__ == "__main__":
    page = Path(__file__).resolve().parents[3] / "analysis" / "README.md"
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{shown()}\n{END}{rest.split(END)[1]}", encoding="utf-8")
