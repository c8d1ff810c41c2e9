"""Segmentation quality on sequences with ground-truth masks, as a table of one row a sequence."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kernels.models.predictions.decoding import Detections, assemble_masks, decode
from kernels.models.predictions.labels import COCO_CLASSES
from kernels.models.predictions.letterbox import Letterbox

# What a viewer would call the annotated objects. DAVIS masks are of these objects only: the spectators of
# dance-twirl and the parked cars of car-shadow are background in the ground truth.
DAVIS_OBJECTS = {
    "blackswan": ("bird",),
    "bmx-trees": ("person", "bicycle"),
    "car-shadow": ("car",),
    "dance-twirl": ("person",),
}


@dataclass(frozen=True, slots=True)
class SequenceScore:
    """How well a model finds the annotated objects of one sequence.

    Attributes:
        frames: frames evaluated.
        found: share of frames × expected classes in which a detection of the class lies on the object.
        iou_matched: mean IoU of the ground truth with the detections that overlap it most, one an
            expected class.
        iou_any_class: the same with one detection of whatever class for each expected object (a ``truck`` on
            the car counts).
        iou_all: mean IoU with the union of every detection of the expected classes: unannotated people and
            cars count against it.
    """

    sequence: str
    frames: int
    objects: str
    found: float
    iou_matched: float
    iou_any_class: float
    iou_all: float


def detect(
    model: nn.Module, image: np.ndarray, input_px: int = 640, score_threshold: float = 0.25
) -> tuple[Detections, np.ndarray]:
    """Detections (boxes in image pixels) and masks (n, height, width) bool of one RGB image.

    Args:
        model: a YOLO11 with masks.
        image: (height, width, 3) uint8, RGB.
        input_px: side of the letterboxed network input, a multiple of 32.
    """
    box = Letterbox(image.shape[0], image.shape[1], input_px, input_px)
    with torch.inference_mode():
        outputs = model(box.apply(image))
        found = decode(outputs, score_threshold=score_threshold)
        masks = assemble_masks(found, outputs["prototypes"][0], input_px, input_px)
        in_image = box.masks_to_image(masks).numpy()
    mapped = Detections(box.boxes_to_image(found.boxes), found.scores, found.classes, found.coefficients)
    return mapped, in_image


def mask_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boolean masks; two empty masks agree (1)."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def davis_frames(folder: Path, step: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image (h, w, 3) uint8 RGB and mask (h, w) bool of every ``step``-th frame of a DAVIS sequence."""
    from PIL import Image

    paths = sorted((folder / "JPEGImages").glob("*.jpg"))
    if not paths:
        raise FileNotFoundError(f"{folder}: expected a DAVIS sequence (JPEGImages/*.jpg, Annotations/*.png)")
    for path in paths[::step]:
        mask = np.asarray(Image.open(folder / "Annotations" / f"{path.stem}.png")) > 0
        yield np.asarray(Image.open(path).convert("RGB")), mask


def score_sequence(
    model: nn.Module, folder: Path, objects: Sequence[str], *, step: int = 1, input_px: int = 640
) -> SequenceScore:
    """Run ``model`` on every ``step``-th frame of a DAVIS sequence and compare with its masks."""
    wanted = [COCO_CLASSES.index(name) for name in objects]
    found, matched, any_class, union_all = [], [], [], []
    for image, truth in davis_frames(folder, step):
        detections, masks = detect(model, image, input_px)
        classes = detections.classes.numpy()
        overlap = np.array([np.count_nonzero(mask & truth) for mask in masks], dtype=float)
        on_truth = overlap / np.maximum(masks.sum(axis=(1, 2)), 1)
        chosen = []
        for label in wanted:
            best = _best(np.where(classes == label, overlap, 0.0), on_truth)
            found.append(best is not None)
            chosen += [] if best is None else [best]
        matched.append(mask_iou(_union(masks[chosen], truth.shape), truth))
        anything = [i for i in np.argsort(-overlap, kind="stable")[: len(wanted)] if on_truth[i] > 0.5]
        any_class.append(mask_iou(_union(masks[anything], truth.shape), truth))
        union_all.append(mask_iou(_union(masks[np.isin(classes, wanted)], truth.shape), truth))
    means = [float(np.mean(values)) for values in (found, matched, any_class, union_all)]
    return SequenceScore(folder.name, len(matched), "+".join(objects), *means)


def _best(overlap: np.ndarray, on_truth: np.ndarray) -> int | None:
    """The detection with the largest overlap, if more than half of it lies on the ground truth."""
    if not len(overlap) or overlap.max() == 0:
        return None
    best = int(np.argmax(overlap))
    return best if on_truth[best] > 0.5 else None


def _union(masks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(masks.any(axis=0)) if len(masks) else np.zeros(shape, bool)


def write_table(scores: Sequence[Any], target: Path) -> None:
    """Write scores (of one dataclass) as CSV, or as a Markdown table if ``target`` ends in ``.md``."""
    names = [field.name for field in fields(scores[0])]
    rows = [
        [f"{value:.3f}" if isinstance(value, float) else str(value) for value in asdict(score).values()]
        for score in scores
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".md":
        lines = [names, ["---"] * len(names), *rows]
        target.write_text("".join(f"| {' | '.join(line)} |\n" for line in lines), encoding="utf-8")
        return
    with target.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([names, *rows])


def draw_overlay(image: np.ndarray, detections: Detections, masks: np.ndarray, target: Path) -> None:
    """Write a picture of the masks, boxes and labels over the image; one hue a class."""
    import colorsys

    from PIL import Image, ImageDraw

    canvas = image.astype(np.float32)
    hues = [
        tuple(round(255 * v) for v in colorsys.hsv_to_rgb(int(label) * 0.381966 % 1, 0.8, 1))
        for label in detections.classes
    ]
    for mask, hue in zip(masks, hues, strict=True):
        canvas[mask] = 0.5 * canvas[mask] + 0.5 * np.array(hue)
    picture = Image.fromarray(canvas.astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for box, score, label, hue in zip(
        detections.boxes.tolist(), detections.scores.tolist(), detections.classes.tolist(), hues, strict=True
    ):
        pen.rectangle(box, outline=hue, width=2)
        pen.text((box[0] + 3, box[1] + 1), f"{COCO_CLASSES[label]} {score:.2f}", fill=hue)
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.save(target)
