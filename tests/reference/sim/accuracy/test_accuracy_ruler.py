"""Accuracy is measured wherever a network can run, and every run says by which ruler its accuracy is."""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.command.single_run import run_once
from sim.components.context import SystemContext
from sim.records.outcome import Outcome
from sim.records.summary import RunRecord
from tests.strategies.sim import pixels, statistical

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px")
SCENE = {"kind": "scene", "size_px": 64}
AUTO = {"mode": "auto"}


def record_of(system: str = "edge_only", **changes: Any) -> RunRecord:
    return run_once(pixels(system, **{"video": SCENE, "accuracy": AUTO, "frames": 6, **changes})).record


def test_what_can_be_measured_is() -> None:
    """And says its accuracy as before, too, and by coverage."""
    record = record_of("full_offload", options={"codec": "jpeg", "quality": 20})
    summary, frames = record.summary, record.frames
    assert (summary["accuracy_ruler"], summary["network"]) == ("measured", "default (stand-in)")
    for name in ("accuracy", "ea"):
        assert frames[name].equals(frames[f"measured_{name}"].rename(name))
        assert summary[f"{name}_mean"] == summary[f"measured_{name}_mean"]
    done = frames[frames["outcome"] == "completed"]
    assert (done["coverage_accuracy"] == 1 - done["blocks_stale"].astype(float) / 16).all()
    assert summary["coverage_accuracy_mean"] == pytest.approx(done["coverage_accuracy"].mean())
    assert frames.loc[frames["outcome"] != "completed", ["accuracy", "ea"]].isna().all(axis=None)


def test_the_same_run_by_coverage_differs_in_nothing_else() -> None:
    sized = {"result_bytes": 4096}  # by coverage no result has a size
    measured = record_of("deltacnn", options=sized)
    covered = record_of("deltacnn", options=sized, accuracy={"mode": "coverage"})
    shared = [name for name in covered.frames if name not in ("accuracy", "ea")]
    assert measured.frames[shared].equals(covered.frames[shared])
    expected = covered.frames["accuracy"].rename("coverage_accuracy")
    assert measured.frames["coverage_accuracy"].equals(expected)
    assert (covered.summary["accuracy_ruler"], covered.summary["network"]) == ("coverage", None)
    assert "coverage_accuracy_mean" not in covered.summary
    assert measured.summary["coverage_accuracy_mean"] == covered.summary["accuracy_mean"]


@pytest.mark.parametrize(
    ("system", "changes"),
    [
        ("spinn", {"options": {"bits": 8}}),
        ("coach", {"options": {"variant": "split"}}),
        ("edge_only", {"model": {"name": "yolo11m-seg", "stand_in": None}}),
        ("edge_only", {"video": {"kind": "scene", "size_px": 80}}),
    ],
    ids=["quantised", "split", "no network", "wrong size"],
)
def test_what_cannot_be_measured_is_covered_and_says_so(system: str, changes: dict[str, Any]) -> None:
    summary = record_of(system, **changes).summary
    assert (summary["accuracy_ruler"], summary["network"]) == ("coverage", None)
    assert summary["accuracy_mean"] == 1.0
    assert "measured_accuracy_mean" not in summary
    assert summary["streaming_accuracy_mean"] is None


def test_counts_are_covered_without_torch(repository: Path) -> None:
    import subprocess

    script = (
        "import sys; from sim import run; summary = run(['video=statistical', 'frames=4']).summary; "
        "print(summary['accuracy_ruler'], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["coverage", "False"]


class HalfSilent:
    """Says what it found in some frames."""

    @dataclass(frozen=True)
    class Options:
        """From which frame on it says nothing."""

        silent_from: int = 0

    def __init__(self, context: SystemContext, options: Options) -> None:
        self.network = context.network()
        self.silent_from = options.silent_from

    def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
        yield world.work_edge(0.001)
        result = self.network.dense(frame) if frame.index < self.silent_from else None
        return Outcome("edge", 16, 16, 4, result=result)


@pytest.mark.parametrize("silent_from", [0, 2])
def test_a_system_that_returns_no_result_is_covered(tmp_path: Path, silent_from: int) -> None:
    (tmp_path / "system").mkdir()
    yaml = f"_target_: {__name__}.HalfSilent\nsilent_from: {silent_from}\n"
    (tmp_path / "system" / "half_silent.yaml").write_text(yaml)
    record = record_of("half_silent", config_folders=[str(tmp_path)])
    assert (record.summary["accuracy_ruler"], record.summary["network"]) == ("coverage", None)
    assert record.summary["accuracy_mean"] == 1 - 4 / 16
    assert "measured_accuracy" not in record.frames


def test_against_masks_alone_accuracy_is_region_similarity() -> None:
    record = record_of("edge_only", accuracy={"mode": "auto", "reference": "masks"})
    assert record.summary["accuracy_ruler"] == "measured"
    assert record.summary["accuracy_mean"] == record.summary["region_similarity_mean"]
    assert record.summary["ea_mean"] == pytest.approx(record.summary["region_similarity_ea_mean"])
    done = record.frames[record.frames["outcome"] == "completed"]
    decay = np.exp(-np.log(2) / 0.1 * done["latency_s"])
    assert done["ea"].to_numpy() == pytest.approx((done["accuracy"] * decay).to_numpy())


def test_counts_keep_their_own() -> None:
    summary = run_once(statistical()).record.summary
    assert summary["accuracy_ruler"] == "coverage"
