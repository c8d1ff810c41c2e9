"""The pages' numbers come from files that its commands made, and the commands still make them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.pages import TABLES, golden_results, markers, page_table
from sim.command.single_run import run_once
from tests.benchmarks import bench_estimators
from traces.bandwidth.synthetic import DEFAULT_SEED


def summary_of(system: str, frames: int, mode: str) -> Mapping[str, Any]:
    """What a job of the README's tables leaves."""
    content = {
        "system": {"name": system},
        "trace": {"name": "medium", "mean_mbps": 56.0, "seed": DEFAULT_SEED},
        "accuracy": {"mode": mode},
        "frames": frames,
    }
    return run_once(content).record.summary


@pytest.mark.parametrize("name", TABLES)
def test_a_page_shows_the_golden_table(name: str, repository: Path) -> None:
    begin, end = markers(name)
    text = (repository / TABLES[name].page).read_text(encoding="utf-8")
    assert text.split(begin)[1].split(end)[0].strip() == page_table(name)


@pytest.mark.parametrize("system", ["fluxshard_ea", "edge_only"])
def test_main_job_reproduces_its_golden_row(system: str) -> None:
    """Within 2 %: other processors round a scene's pixels differently, and a few blocks follow."""
    summary = summary_of(system, 300, "auto")
    golden = golden_results("quickstart").set_index("system").loc[system]
    assert summary["frames_captured"] == golden["frames_captured"]
    assert summary["accuracy_ruler"] == golden["accuracy_ruler"] == "measured"
    for key in ("accuracy_mean", "streaming_accuracy_mean"):
        assert summary[key] == pytest.approx(golden[key], abs=0.02), key
    for key in ("ea_mean", "latency_mean_s", "latency_p95_s", "reuse_ratio_mean", "uplink_bps_mean"):
        assert summary[key] == pytest.approx(golden[key], rel=0.02, abs=1e-9), key


def test_measured_accuracy_reproduces_its_golden_row() -> None:
    """Two hundredths of an IoU: sums in another order move the edges of a few masks."""
    summary = summary_of("fluxshard_ea", 100, "measured")
    golden = golden_results("measured").set_index("system").loc["fluxshard_ea"]
    for key in ("measured_accuracy_mean", "foreground_iou_mean", "streaming_accuracy_mean"):
        assert summary[key] == pytest.approx(golden[key], abs=0.02), key


def test_the_page_shows_the_estimators_table(repository: Path) -> None:
    text = (repository / "sim" / "README.md").read_text(encoding="utf-8")
    shown = text.split(bench_estimators.BEGIN)[1].split(bench_estimators.END)[0].strip()
    assert shown == bench_estimators.page_table()


def test_the_default_estimator_loses_little_against_the_oracle_on_every_real_trace() -> None:
    """The README says 0.02 EA; every family is there, at its own rate, contested and at the papers' level."""
    rows = [row for row in bench_estimators.recorded() if row["family"] and row["estimator"] == "kalman"]
    small = [row for row in rows if row["messages"] == "small"]
    assert {row["family"] for row in small} >= {"mahimahi", "ghent4g", "sigcomm21_uplink", "wifi_solis"}
    assert {row["mean_mbps"] for row in small} == {"", "10", "56"}
    assert len({row["link"] for row in small}) >= 25
    for row in rows:
        assert float(row["regret"]) == pytest.approx(float(row["ea_oracle"]) - float(row["ea"]), abs=1.1e-4)
        assert float(row["regret"]) <= 0.02, (row["link"], row["mean_mbps"], row["video"])


def test_a_step_is_followed_within_two_seconds_by_who_asks() -> None:
    """Large messages: only once the one that the step caught is given up, which is after five seconds."""
    rows = [row for row in bench_estimators.recorded() if row["link"].startswith("step")]
    assert {(row["messages"], row["estimator"]) for row in rows} == {
        (messages, estimator)
        for messages in bench_estimators.SYSTEMS
        for estimator in bench_estimators.ESTIMATORS
    }
    assert all(float(row["follow_s"]) <= 2.0 for row in rows if row["messages"] == "small")


def test_the_delay_costs_every_system_more_the_longer_it_is() -> None:
    results = golden_results("propagation_delay")
    for system, jobs in results.groupby("system"):
        delays_s = jobs["overrides"].str.extract(r"link\.delay_s=(\S+)")[0].astype(float)
        assert delays_s.tolist() == [0.005, 0.01, 0.025, 0.05], system
        assert jobs["ea_mean"].is_monotonic_decreasing, system
