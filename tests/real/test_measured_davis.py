"""The README's figures on DAVIS: the experiment that made them, composed and run anew for one row."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis.pages import golden_results
from analysis.tables import system_name
from sim import run
from sim.__main__ import main

pytestmark = pytest.mark.data


def places(data_dir: Path) -> list[str]:
    """What the experiment asks for."""
    weights = data_dir / "weights" / "yolo11n-seg_fused_fp16.safetensors"
    return [f"experiment.davis={data_dir / 'videos' / 'davis'}", f"model.weights={weights}"]


@pytest.mark.filterwarnings("ignore")
def test_every_variant_runs(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a size at which nothing is found; what the command leaves is the README's, without its paths."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    small = ["experiment.sequence=car-shadow", "frames=2", "video.size_px=64", f"hydra.sweep.dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["sim", "experiment=measured_davis", *places(data_dir), *small])
    main()
    table, golden = pd.read_csv(tmp_path / "results.csv"), golden_results("measured_davis")
    assert (table["status"] == "completed").all()
    chosen = golden[golden["video"] == "car-shadow"]
    assert [system_name(row, row["overrides"].split()) for row in table.to_dict("records")] == [
        system_name(row, row["overrides"].split()) for row in chosen.to_dict("records")
    ]
    assert not golden["overrides"].str.contains("model.weights|experiment.davis=").any()


def test_the_experiment_finds_a_golden_row_again(data_dir: Path) -> None:
    """Three hundredths of an IoU: sums in another order push single detections over the score's threshold."""
    row = ["experiment/measured_davis=fluxshard_ea", "experiment.sequence=car-shadow"]
    summary = run(["experiment=measured_davis", "hydra.mode=RUN", *row, *places(data_dir)]).summary
    assert summary["network"] == "yolo11n-seg (stand-in)"
    golden = golden_results("measured_davis")
    (expected,) = golden[golden["overrides"].str.startswith(" ".join(row))].to_dict("records")
    for key in ("video", "frames_captured", "frames_completed"):
        assert summary[key] == expected[key], key
    for key in ("measured_accuracy_mean", "foreground_iou_mean", "region_similarity_mean"):
        assert summary[key] == pytest.approx(expected[key], abs=0.03), key
    for key in ("streaming_accuracy_mean", "streaming_region_similarity_mean"):
        assert summary[key] == pytest.approx(expected[key], abs=0.03), key
