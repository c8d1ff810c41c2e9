"""What a model's raw outputs say about a frame, in one form for every task, and how far two results agree.

This is what measured accuracy compares: the result of a sparse or stale inference against that of dense
inference on the true frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kernels.models.predictions.decoding import (
    Detections,
    assemble_masks,
    box_iou,
    class_map,
    decode,
    keypoints,
)


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The class of every pixel.

    Attributes:
        classes: (H, W) uint8, 0 for background.
    """

    classes: np.ndarray

    @property
    def foreground(self) -> np.ndarray:
        """(H, W) bool, where something was found: what the salience of a block overlaps with."""
        return self.classes > 0


@dataclass(frozen=True, slots=True)
class Boxes:
    """Detected boxes without masks.

    Attributes:
        boxes: (n, 4) float, x1 y1 x2 y2 in pixels of the frame.
        classes: (n,) int.
        height_px, width_px: the frame's size.
    """

    boxes: np.ndarray
    classes: np.ndarray
    height_px: int
    width_px: int

    @property
    def foreground(self) -> np.ndarray:
        """(H, W) bool, the pixels whose centre lies in a box."""
        covered = np.zeros((self.height_px, self.width_px), bool)
        for x1, y1, x2, y2 in np.rint(self.boxes).astype(int).clip(min=0):
            covered[y1:y2, x1:x2] = True
        return covered


@dataclass(frozen=True, slots=True)
class Pose:
    """Keypoints of the one person in the frame.

    Attributes:
        points: (n, 3) float: x, y in pixels of the frame, score.
        height_px, width_px: the frame's size.
    """

    points: np.ndarray
    height_px: int
    width_px: int

    @property
    def foreground(self) -> np.ndarray:
        """(H, W) bool, the rectangle around the keypoints."""
        covered = np.zeros((self.height_px, self.width_px), bool)
        low, high = self.points[:, :2].min(axis=0).astype(int), self.points[:, :2].max(axis=0).astype(int)
        covered[low[1] : high[1] + 1, low[0] : high[0] + 1] = True
        return covered


Result = Segmentation | Boxes | Pose

# How precisely people mark each of COCO's 17 keypoints, relative to the person's size (COCO keypoint
# evaluation, cocodataset.org): nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
_SPREAD = np.array([0.026, *np.repeat([0.025, 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089], 2)])


def interpret(
    outputs: Tensor | Mapping[str, Sequence[Tensor]],
    height_px: int,
    width_px: int,
    *,
    score_threshold: float = 0.25,
) -> Result:
    """The result of one frame from the raw outputs of the default network, a YOLO11 or the pose network.

    A segment model's instances are painted into one map, the best last; class c is stored as c + 1.

    Args:
        outputs: what the model's forward pass returned.
        height_px, width_px: the network input's size.

    Raises:
        ValueError: if the outputs are not those of one frame of that size.
    """
    if isinstance(outputs, Tensor):
        return Segmentation(class_map(outputs, height_px, width_px).cpu().numpy())
    if "heatmaps" in outputs:
        return Pose(keypoints(outputs["heatmaps"][0]).cpu().numpy(), height_px, width_px)
    grid = (height_px // 8, width_px // 8)
    if tuple(outputs["boxes"][0].shape[2:]) != grid:
        raise ValueError(
            f"outputs must be of a {height_px}×{width_px} px frame, a finest map of {grid} "
            f"(got {tuple(outputs['boxes'][0].shape[2:])})"
        )
    found = decode(outputs, score_threshold=score_threshold)
    if "prototypes" not in outputs:
        return Boxes(found.boxes.cpu().numpy(), found.classes.cpu().numpy(), height_px, width_px)
    return Segmentation(_paint(found, outputs["prototypes"][0], height_px, width_px))


def _paint(found: Detections, prototypes: Tensor, height_px: int, width_px: int) -> np.ndarray:
    painted = np.zeros((height_px, width_px), np.uint8)
    masks = assemble_masks(found, prototypes, height_px, width_px).cpu().numpy()
    for mask, label in zip(masks[::-1], found.classes.tolist()[::-1], strict=True):
        painted[mask] = label + 1
    return painted


def agreement(result: Result, reference: Result) -> float:
    """How much of ``reference`` the result reproduces, in [0, 1]; symmetric.

    Segmentations: IoU per class, averaged over the classes that occur in either (background excluded).
    Boxes: the IoUs of boxes of one class, matched greedily from the largest, summed and divided by the larger
    number of boxes. Two results that both found nothing agree (1). Poses: the mean of COCO's keypoint
    similarity exp(−d²/(2·s²·(2σ)²)) with the frame's area as s².

    Raises:
        TypeError, ValueError: if the two are of different kinds or frame sizes.
    """
    if isinstance(result, Segmentation) and isinstance(reference, Segmentation):
        if result.classes.shape != reference.classes.shape:
            raise ValueError(
                f"result must have the reference's size {reference.classes.shape} "
                f"(got {result.classes.shape})"
            )
        return _class_iou(result.classes, reference.classes)
    if isinstance(result, Boxes) and isinstance(reference, Boxes):
        return _matched_iou(result, reference)
    if isinstance(result, Pose) and isinstance(reference, Pose):
        return _keypoint_similarity(result, reference)
    raise TypeError(f"result must be {type(reference).__name__} (got {type(result).__name__})")


def _class_iou(one: np.ndarray, other: np.ndarray) -> float:
    joint = np.bincount(one.ravel().astype(np.intp) * 256 + other.ravel(), minlength=256 * 256).reshape(
        256, 256
    )
    overlap = np.diag(joint)
    union = joint.sum(axis=0) + joint.sum(axis=1) - overlap
    occurring = union[1:] > 0
    return float(np.mean(overlap[1:][occurring] / union[1:][occurring])) if occurring.any() else 1.0


def _matched_iou(one: Boxes, other: Boxes) -> float:
    most = max(len(one.boxes), len(other.boxes))
    if most == 0 or min(len(one.boxes), len(other.boxes)) == 0:
        return float(most == 0)
    iou = box_iou(torch.from_numpy(one.boxes).double(), torch.from_numpy(other.boxes).double()).numpy()
    iou = np.where(one.classes[:, None] == other.classes[None], iou, 0.0)
    total = 0.0
    for _ in range(min(iou.shape)):
        row, column = np.unravel_index(np.argmax(iou), iou.shape)
        total += float(iou[row, column])
        iou[row, :] = iou[:, column] = 0.0
    return total / most


def _keypoint_similarity(one: Pose, other: Pose) -> float:
    spread = _SPREAD if len(one.points) == len(_SPREAD) else np.full(len(one.points), _SPREAD.mean())
    squared = ((one.points[:, :2] - other.points[:, :2]) ** 2).sum(axis=1)
    area = other.height_px * other.width_px
    return float(np.mean(np.exp(-squared / (2 * area * (2 * spread) ** 2))))
