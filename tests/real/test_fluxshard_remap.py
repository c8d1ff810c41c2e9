"""fluxshard_remap on a real clip: what its parts are for, with a detector and a network that both know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.command.single_run import run_once
from sim.records.summary import RunRecord

pytestmark = pytest.mark.data


def run(data_dir: Path, sequence: str, **options: Any) -> RunRecord:
    weights = data_dir / "weights" / "yolo11n-seg_fused_fp16.safetensors"
    content = {
        "system": {"name": "fluxshard_remap", **options},
        "video": {"kind": "file", "path": str(data_dir / "videos" / "davis" / sequence)},
        "trace": {"mean_mbps": 56.0, "seed": 2},
        "model": {"name": "yolo11m-seg", "network": "yolo11n-seg", "weights": str(weights)},
        "accuracy": {"mode": "measured"},
        "frames": 16,
    }
    return run_once(content).record


def test_the_filter_sends_less_and_finds_less(data_dir: Path) -> None:
    """The paper's rule against the lowered threshold, on cyclists between trees."""
    ours, papers = (run(data_dir, "bmx-trees", salience_rule=rule) for rule in ("threshold", "filter"))
    assert papers.frames["blocks_sent"].sum() < 0.6 * ours.frames["blocks_sent"].sum()
    assert papers.summary["latency_mean_s"] < ours.summary["latency_mean_s"]
    assert papers.summary["accuracy_mean"] < ours.summary["accuracy_mean"] - 0.1


def test_frames_overlap_and_nearly_every_one_is_answered(data_dir: Path) -> None:
    frames = run(data_dir, "car-shadow").frames
    assert (frames["outcome"] == "completed").sum() >= 14
    assert frames["path"].dropna().isin(["edge", "cloud"]).all()
    done = frames[frames["outcome"] == "completed"]
    assert (done["blocks_computed"] >= done["blocks_processed"]).all()  # with the ring around them
    assert (done["completed_s"].shift(1) > done["started_s"]).sum() >= 8  # they overlap
