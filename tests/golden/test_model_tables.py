"""The committed tables of YOLO11n-seg on DAVIS are what the model gives on the real frames."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from kernels.models import build_model, load_weights
from kernels.models.evaluation.evaluate import DAVIS_OBJECTS, score_sequence
from kernels.models.evaluation.evaluate_sparse import evaluate_sparse

TABLES = Path(__file__).resolve().parent.parent.parent / "kernels" / "models" / "evaluation" / "tables"
SEQUENCE = "car-shadow"  # the shortest


def rows(name: str) -> list[dict[str, str]]:
    with (TABLES / name).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def model(data_dir: Path):
    path = data_dir / "weights" / "yolo11n-seg_fused_fp16.safetensors"
    if not path.is_file():
        pytest.skip(f"weights not found at {path}")
    return load_weights(build_model("yolo11n-seg"), path).eval()


@pytest.mark.data
def test_masks_agree_with_ground_truth_as_the_table_says(model, data_dir: Path) -> None:
    score = score_sequence(model, data_dir / "videos" / "davis" / SEQUENCE, DAVIS_OBJECTS[SEQUENCE])
    row = next(row for row in rows("yolo11n-seg_davis.csv") if row["sequence"] == SEQUENCE)
    assert score.frames == int(row["frames"])
    for name in ("found", "iou_matched", "iou_any_class", "iou_all"):
        assert getattr(score, name) == pytest.approx(float(row[name]), abs=0.01), name


@pytest.mark.data
@pytest.mark.parametrize("policy", ["adaptive", "fixed"])
def test_sparse_inference_agrees_with_dense_as_the_table_says(model, data_dir: Path, policy: str) -> None:
    score = evaluate_sparse(model, data_dir / "videos" / "davis" / SEQUENCE, policy)
    row = next(
        row
        for row in rows("yolo11n-seg_davis_sparse.csv")
        if (row["sequence"], row["policy"]) == (SEQUENCE, policy)
    )
    assert score.frames == int(row["frames"])
    for name in ("active", "reused", "agreement", "iou_foreground"):
        assert getattr(score, name) == pytest.approx(float(row[name]), abs=0.02), name


def test_every_policy_and_sequence_is_in_the_table_and_exact_is_exact() -> None:
    table = {(row["sequence"], row["policy"]): row for row in rows("yolo11n-seg_davis_sparse.csv")}
    assert set(table) == {
        (name, policy) for name in DAVIS_OBJECTS for policy in ("adaptive", "fixed", "truncate", "exact")
    }
    assert all(float(table[name, "exact"]["agreement"]) == 1.0 for name in DAVIS_OBJECTS)
