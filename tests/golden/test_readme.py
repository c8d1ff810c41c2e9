"""The pages' numbers come from files that its commands made, and the commands still make them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.pages import TABLES, golden_results, markers, page_table
from sim.command.single_run import run_once


def summary_of(system: str, frames: int, mode: str) -> Mapping[str, Any]:
    """What a job of the README's tables leaves."""
    content = {
        "system": {"name": system},
        "trace": {"name": "medium", "mean_mbps": 56.0, "seed": 2},
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
