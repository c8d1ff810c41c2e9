"""YOLO11's published parameter counts, and what its stock weights see on real frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kernels.models import Letterbox, build_model, decode, load_weights
from kernels.models.evaluation.evaluate import DAVIS_OBJECTS, davis_frames, detect, mask_iou, score_sequence
from kernels.models.predictions.decoding import box_iou
from kernels.models.predictions.labels import COCO_CLASSES
from kernels.models.weight_files import parameter_count

# Ultralytics' table of YOLO11 models (docs.ultralytics.com/models/yolo11), millions, batch norm folded.
PUBLISHED_MILLIONS = {
    "yolo11n": 2.6,
    "yolo11s": 9.4,
    "yolo11m": 20.1,
    "yolo11l": 25.3,
    "yolo11x": 56.9,
    "yolo11n-seg": 2.9,
    "yolo11s-seg": 10.1,
    "yolo11m-seg": 22.4,
    "yolo11l-seg": 27.6,
    "yolo11x-seg": 62.1,
}


@pytest.mark.parametrize("name", PUBLISHED_MILLIONS)
def test_fused_parameter_count_is_the_published_one(name: str) -> None:
    with torch.device("meta"):
        assert round(parameter_count(build_model(name)) / 1e6, 1) == PUBLISHED_MILLIONS[name]


# The same table's billions of operations (two a multiplication) of the detectors at 640².
PUBLISHED_BILLIONS = {"yolo11n": 6.5, "yolo11s": 21.5, "yolo11m": 68.0, "yolo11l": 86.9, "yolo11x": 194.9}


@pytest.mark.parametrize("name", PUBLISHED_BILLIONS)
def test_arithmetic_is_the_published_one(name: str) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build_model(name)(torch.empty(1, 3, 640, 640))
    assert counter.get_total_flops() / 1e9 == pytest.approx(PUBLISHED_BILLIONS[name], rel=0.01)


def test_batch_norm_adds_one_parameter_a_normalised_channel() -> None:
    """A fused convolution has a bias a channel, an unfused one gain and shift: one more."""
    with torch.device("meta"):
        fused, unfused = build_model("yolo11n"), build_model("yolo11n", fused=False)
    channels = sum(m.num_features for m in unfused.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert parameter_count(unfused) - parameter_count(fused) == channels


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "tensors", "parameters"), [("yolo11n", 175, 2616248), ("yolo11n-seg", 201, 2868664)]
)
def test_stock_weights_fit(data_dir: Path, name: str, tensors: int, parameters: int) -> None:
    model = load_weights(build_model(name), data_dir / "weights" / f"{name}_fused_fp16.safetensors")
    assert len(model.state_dict()) == tensors
    assert parameter_count(model) == parameters


@pytest.fixture(scope="module")
def segmenter(data_dir: Path) -> torch.nn.Module:
    return load_weights(
        build_model("yolo11n-seg"), data_dir / "weights" / "yolo11n-seg_fused_fp16.safetensors"
    )


# Mean matched IoU over the frames 0, 20, 40 at 640², computed with the stock weights (int8 export).
@pytest.mark.data
@pytest.mark.parametrize(
    ("sequence", "iou"),
    [("blackswan", 0.89), ("bmx-trees", 0.56), ("car-shadow", 0.95), ("dance-twirl", 0.80)],
)
def test_masks_of_the_annotated_objects(
    data_dir: Path, segmenter: torch.nn.Module, sequence: str, iou: float
) -> None:
    folder = data_dir / "videos" / "davis" / sequence
    score = score_sequence(segmenter, folder, DAVIS_OBJECTS[sequence], step=20)
    assert score.found >= 0.5
    assert score.iou_any_class == pytest.approx(iou, abs=0.03)


@pytest.mark.data
def test_detector_without_masks_sees_the_same_swan(data_dir: Path, segmenter: torch.nn.Module) -> None:
    detector = load_weights(build_model("yolo11n"), data_dir / "weights" / "yolo11n_fused_fp16.safetensors")
    image, truth = next(davis_frames(data_dir / "videos" / "davis" / "blackswan"))
    box = Letterbox(*image.shape[:2], 480, 480)
    with torch.inference_mode():
        found = decode(detector(box.apply(image)))
    assert COCO_CLASSES[int(found.classes[0])] == "bird"
    rows, columns = np.nonzero(truth)
    around = torch.tensor([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
    assert float(box_iou(box.boxes_to_image(found.boxes[:1]), around)) > 0.85


@pytest.mark.data
def test_mask_stays_in_place_when_the_input_is_smaller(data_dir: Path, segmenter: torch.nn.Module) -> None:
    image, _ = next(davis_frames(data_dir / "videos" / "davis" / "car-shadow"))
    _, large = detect(segmenter, image, 640)
    _, small = detect(segmenter, image, 480)
    assert mask_iou(large[0], small[0]) > 0.9
