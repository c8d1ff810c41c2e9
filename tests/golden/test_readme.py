"""The pages' numbers come from files that its commands made, and the commands still make them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.pages import GOLDEN, ROOT, TABLES, golden_results, markers, page_of, page_table
from sim.command.single_run import run_once
from tests.benchmarks import bench_estimators
from traces.bandwidth.synthetic import DEFAULT_SEED


def summary_of(system: str, frames: int, replicate: int) -> Mapping[str, Any]:
    """What a job of the main job leaves."""
    content = {
        "system": {"name": system},
        "trace": {"name": "medium", "mean_mbps": 56.0, "seed": DEFAULT_SEED},
        "frames": frames,
        "replicate": replicate,
    }
    return run_once(content).record.summary


@pytest.mark.parametrize("name", TABLES)
def test_a_page_shows_the_golden_table(name: str) -> None:
    begin, end = markers(name)
    text = page_of(name).read_text(encoding="utf-8")
    assert text.split(begin)[1].split(end)[0].strip() == page_table(name)


@pytest.mark.parametrize("system", ["fluxshard_ea", "edge_only"])
def test_main_job_reproduces_its_golden_row(system: str) -> None:
    """Within 2 %: other processors round a scene's pixels differently, and a few blocks follow."""
    golden = golden_results("quickstart").set_index("system").loc[system]
    replicates = int(golden["replicates"])
    frames = int(golden["frames_captured"]) // replicates
    runs = [summary_of(system, frames, replicate) for replicate in range(replicates)]
    assert {run["accuracy_ruler"] for run in runs} == {golden["accuracy_ruler"]} == {"measured"}

    def mean(key: str) -> float:
        return sum(float(run[key]) for run in runs) / replicates

    for key in ("accuracy_mean", "streaming_accuracy_mean"):
        assert mean(key) == pytest.approx(golden[key], abs=0.02), key
    for key in ("ea_mean", "latency_mean_s", "reuse_ratio_mean", "uplink_bps_mean"):
        assert mean(key) == pytest.approx(golden[key], rel=0.02, abs=1e-9), key


def test_the_main_job_captures_at_least_300_frames_of_each_of_six_systems() -> None:
    golden = golden_results("quickstart")
    assert golden["system"].nunique() == 6
    assert (golden["frames_captured"] >= 300).all()
    ends = golden[["ea_mean_low", "ea_mean_high", "latency_mean_low_s", "latency_mean_high_s"]]
    assert ends.notna().to_numpy().all()


def test_the_accuracy_pages_table_is_of_the_main_jobs_runs() -> None:
    """Its systems are those of the main job and H.264; what both show is the same."""
    measured = golden_results("measured").set_index("system")
    quickstart = golden_results("quickstart").set_index("system")
    shared = measured.index.intersection(quickstart.index)
    assert len(shared) == 5
    for key in ("ea_mean", "accuracy_mean", "streaming_accuracy_mean", "latency_mean_s"):
        assert measured.loc[shared, key].tolist() == quickstart.loc[shared, key].tolist(), key


def test_the_page_shows_the_estimators_table(repository: Path) -> None:
    text = (repository / "sim" / "README.md").read_text(encoding="utf-8")
    shown = text.split(bench_estimators.BEGIN)[1].split(bench_estimators.END)[0].strip()
    assert shown == bench_estimators.page_table()


def test_the_default_estimator_loses_little_against_the_oracle_on_every_real_trace() -> None:
    """The README says 0.02 EA, and 0.04 by captured frame.

    Every family is there, at its own rate, contested and at the papers' level.
    """
    rows = [row for row in bench_estimators.recorded() if row["family"] and row["estimator"] == "kalman"]
    small = [row for row in rows if row["messages"] == "small"]
    assert {row["family"] for row in small} >= {"mahimahi", "ghent4g", "sigcomm21_uplink", "wifi_solis"}
    assert {row["mean_mbps"] for row in small} == {"", "10", "56"}
    assert len({row["link"] for row in small}) >= 25
    for row in rows:
        assert float(row["regret"]) == pytest.approx(float(row["ea_oracle"]) - float(row["ea"]), abs=1.1e-4)
        assert float(row["regret"]) <= 0.02, (row["link"], row["mean_mbps"], row["video"])
        assert float(row["regret_per_captured"]) <= 0.04, (row["link"], row["mean_mbps"], row["video"])


def test_a_step_is_followed_within_two_seconds_by_who_asks() -> None:
    """Large messages: only once the one that the step caught is given up, which is after five seconds."""
    rows = [row for row in bench_estimators.recorded() if row["link"].startswith("step")]
    assert {(row["messages"], row["estimator"]) for row in rows} == {
        (messages, estimator) for messages in ("small", "large") for estimator in bench_estimators.ESTIMATORS
    }
    assert all(float(row["follow_s"]) <= 2.0 for row in rows if row["messages"] == "small")


def test_the_page_shows_the_systems_at_the_three_levels() -> None:
    """As `python -m analysis table` wrote it, beside the numbers that it was made of."""
    shown = (GOLDEN / "levels" / "levels.md").read_text(encoding="utf-8")
    assert f"<!-- levels table -->\n{shown}<!-- end of levels table -->" in (
        ROOT / "sim" / "accuracy" / "README.md"
    ).read_text(encoding="utf-8")
    numbers = pd.read_csv(GOLDEN / "levels" / "levels.csv")
    rows = [line.strip("|").split("|") for line in shown.splitlines() if line.startswith("| ")][2:]
    halves = (numbers["ea_mean_high"] - numbers["ea_mean_low"]) / 2.0
    assert sorted((trace.strip(), ea.strip()) for _, trace, ea, *_ in rows) == sorted(
        (trace, f"{ea:.3f} ± {half:.3f}")
        for trace, ea, half in zip(numbers["trace"], numbers["ea_mean"], halves, strict=True)
    )


def test_the_levels_are_called_as_the_page_calls_them() -> None:
    numbers = pd.read_csv(GOLDEN / "levels" / "levels.csv").fillna({"payload.quality": 85.0})
    best = {
        trace: tuple(group.loc[group["ea_mean"].idxmax(), ["system", "payload.quality"]])
        for trace, group in numbers.groupby("trace")
    }
    assert best == {
        "high": ("full_offload", 95.0),
        "medium": ("full_offload", 95.0),
        "low": ("fluxshard_remap", 85.0),
    }


def test_the_delay_costs_every_system_more_the_longer_it_is() -> None:
    results = golden_results("propagation_delay")
    for system, jobs in results.groupby("system"):
        delays_s = jobs["overrides"].str.extract(r"link\.delay_s=(\S+)")[0].astype(float)
        assert delays_s.tolist() == [0.005, 0.01, 0.025, 0.05], system
        assert jobs["ea_mean"].is_monotonic_decreasing, system
