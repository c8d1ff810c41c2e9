"""Measured accuracy on a real clip with a detector: what codec and reuse cost, which coverage cannot see."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.command.single_run import run_once

pytestmark = pytest.mark.data


def detector(data_dir: Path) -> dict[str, str]:
    """YOLO11n-seg with its weights, at the latencies of YOLO11m-seg."""
    weights = data_dir / "weights" / "yolo11n-seg_fused_fp16.safetensors"
    return {"name": "yolo11m-seg", "network": "yolo11n-seg", "weights": str(weights)}


@pytest.mark.parametrize(
    ("system", "coverage"),
    # JPEG at 85 leaves no block 0.025 apart; H.264 at CRF 23 some of the water's, with chroma at half.
    [({"name": "fluxshard_ea"}, 0.99), ({"name": "full_offload_h264"}, 0.95)],
)
def test_a_detector_finds_nearly_the_same(system: dict[str, str], coverage: float, data_dir: Path) -> None:
    content = {
        "system": system,
        "video": {"kind": "file", "path": str(data_dir / "videos" / "davis" / "blackswan")},
        "trace": {"mean_mbps": 56.0, "seed": 2},
        "model": detector(data_dir),
        "accuracy": {"mode": "measured"},
        "frames": 10,
    }
    summary = run_once(content).record.summary
    assert summary["network"] == "yolo11n-seg (stand-in)"
    assert summary["accuracy_ruler"] == "measured"
    assert summary["accuracy_mean"] == summary["measured_accuracy_mean"]
    assert coverage < summary["coverage_accuracy_mean"] <= 1.0
    assert summary["measured_accuracy_mean"] < summary["coverage_accuracy_mean"]
    assert 0.85 < summary["foreground_iou_mean"] < 1.0
    assert 0.2 < summary["measured_accuracy_mean"] < 1.0
    assert summary["streaming_accuracy_mean"] < summary["measured_accuracy_mean"]


def test_dense_labels_are_a_reference_where_the_ids_that_count_are_named(data_dir: Path) -> None:
    """CamVid's cars, pedestrians and cyclists; its sky, road and trees count as background."""
    content = {
        "system": {"name": "edge_only"},
        "video": {"kind": "file", "path": str(data_dir / "videos" / "camvid_0016E5")},
        "trace": {"mean_mbps": 56.0, "seed": 2},
        "model": detector(data_dir),
        "accuracy": {
            "mode": "measured",
            "reference": "masks",
            "classes": ["car", "truck", "bus", "person", "bicycle"],
            "mask_ids": [8, 9, 10],
        },
        "frames": 8,
    }
    summary = run_once(content).record.summary
    assert 0.3 < summary["region_similarity_mean"] < 0.95
    assert summary["streaming_region_similarity_mean"] < summary["region_similarity_mean"]
    assert "measured_accuracy_mean" not in summary
    assert summary["streaming_accuracy_mean"] is None
