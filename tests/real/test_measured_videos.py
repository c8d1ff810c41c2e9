"""Measured accuracy on a real clip with a detector: what codec and reuse cost, which coverage cannot see."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.assembly import assemble
from sim.configuration import read_config
from sim.records.summary import summarise

pytestmark = pytest.mark.data


@pytest.mark.parametrize("system", [{"name": "fluxshard_ea"}, {"name": "full_offload", "codec": "h264"}])
def test_a_detector_finds_nearly_the_same(system: dict[str, str], data_dir: Path) -> None:
    content = {
        "system": system,
        "video": {"kind": "file", "path": str(data_dir / "videos" / "davis" / "blackswan")},
        "trace": {"mean_mbps": 56.0, "seed": 2},
        "accuracy": {
            "mode": "measured",
            "model": "yolo11n-seg",
            "weights": str(data_dir / "weights" / "yolo11n-seg_fused_fp16.safetensors"),
        },
        "frames": 10,
    }
    config = read_config(content)
    assembly = assemble(config)
    summary = summarise(config, content, assembly, assembly.simulation.run(), 0.0).summary
    assert summary["accuracy_mean"] > 0.99
    assert 0.85 < summary["foreground_iou_mean"] < 1.0
    assert 0.2 < summary["measured_accuracy_mean"] < 1.0
    assert summary["streaming_accuracy_mean"] < summary["measured_accuracy_mean"]


def test_dense_labels_are_a_reference_where_the_ids_that_count_are_named(data_dir: Path) -> None:
    """CamVid's cars, pedestrians and cyclists; its sky, road and trees count as background."""
    content = {
        "system": {"name": "edge_only"},
        "video": {"kind": "file", "path": str(data_dir / "videos" / "camvid_0016E5")},
        "trace": {"mean_mbps": 56.0, "seed": 2},
        "accuracy": {
            "mode": "measured",
            "model": "yolo11n-seg",
            "weights": str(data_dir / "weights" / "yolo11n-seg_fused_fp16.safetensors"),
            "reference": "masks",
            "classes": ["car", "truck", "bus", "person", "bicycle"],
            "mask_ids": [8, 9, 10],
        },
        "frames": 8,
    }
    config = read_config(content)
    assembly = assemble(config)
    summary = summarise(config, content, assembly, assembly.simulation.run(), 0.0).summary
    assert 0.3 < summary["region_similarity_mean"] < 0.95
    assert summary["streaming_region_similarity_mean"] < summary["region_similarity_mean"]
    assert "measured_accuracy_mean" not in summary
    assert summary["streaming_accuracy_mean"] is None
