"""Tasks: what a network is asked for. All that differs between them is said here, once for each.

| task | result | agreement of two results, in [0, 1] and symmetric |
|---|---|---|
| segmentation | `Segmentation` | IoU per class, averaged over the classes that occur in either |
| detection | `Boxes` | IoUs of matched boxes of one class, over the larger number of boxes |
| pose | `Pose` | mean of COCO's keypoint similarity |
| keypoints | `Keypoints` | share that have one of their kind within 5 % of the longer side |
| classification | `Labels` | 1 if the likeliest class is the same, else 0 |

A result knows its own foreground; its bytes on the wire are :mod:`kernels.codecs.result_codec`'s. Two results
that both found nothing agree (1). A new task is one more entry of :data:`TASKS`, and a kind of message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kernels.codecs.result_codec import (
    DecodedResult,
    decode_result,
    encode_boxes,
    encode_classes,
    encode_keypoints,
    encode_labels,
    encode_points,
)
from kernels.models.predictions.decoding import box_iou
from kernels.models.predictions.results import Boxes, Keypoints, Labels, Pose, Result, Segmentation

# How precisely people mark each of COCO's 17 keypoints, relative to the person's size (COCO keypoint
# evaluation, cocodataset.org): nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
_SPREAD = np.array([0.026, *np.repeat([0.025, 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089], 2)])

# α of the percentage of correct keypoints, α · max(height, width) of the image: PCK of Yang & Ramanan 2013,
# by the image's size where objects have none; the strictest of the usual .05, .1 and .15 (as on PF-PASCAL,
# Min et al. 2019, "Hyperpixel flow"). 32 px of 640: more than half a ball, a sixth of a person.
TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Task:
    """One task.

    Attributes:
        result: the type of its results.
        kind: of their messages (:class:`~kernels.codecs.result_codec.DecodedResult`).
        pack: a result as it crosses the downlink; equal results give equal bytes.
        unpack: the result that a message of that kind holds.
        agree: how far two results agree, where their frames are of one size.
    """

    result: type
    kind: str
    pack: Callable[[Any], bytes]
    unpack: Callable[[DecodedResult], Result]
    agree: Callable[[Any, Any], float]


def pack(result: Result) -> bytes:
    """A result as it crosses the downlink.

    Raises:
        TypeError: it is of no task.
    """
    return _task_of(result).pack(result)


def unpack(packed: bytes) -> Result:
    """The result that was packed.

    Raises:
        ValueError: a damaged message.
    """
    found = decode_result(packed)
    return next(task for task in TASKS.values() if task.kind == found.kind).unpack(found)


def agreement(result: Result, reference: Result) -> float:
    """How much of ``reference`` the result reproduces, in [0, 1]; symmetric. The measure is the task's.

    Raises:
        TypeError, ValueError: if the two are of different tasks or frame sizes.
    """
    task = _task_of(reference)
    if not isinstance(result, task.result):
        raise TypeError(f"result must be {task.result.__name__} (got {type(result).__name__})")
    if _size(result) != _size(reference):
        raise ValueError(f"result must have the reference's size {_size(reference)} (got {_size(result)})")
    return task.agree(result, reference)


def _task_of(result: Result) -> Task:
    for task in TASKS.values():
        if isinstance(result, task.result):
            return task
    known = ", ".join(task.result.__name__ for task in TASKS.values())
    raise TypeError(f"result must be one of {known} (got {type(result).__name__})")


def _size(result: Result) -> tuple[int, ...]:
    if isinstance(result, Segmentation):
        return tuple(result.classes.shape)
    return result.height_px, result.width_px


def _class_iou(result: Segmentation, reference: Segmentation) -> float:
    one, other = result.classes, reference.classes
    joint = np.bincount(one.ravel().astype(np.intp) * 256 + other.ravel(), minlength=256 * 256).reshape(
        256, 256
    )
    overlap = np.diag(joint)
    union = joint.sum(axis=0) + joint.sum(axis=1) - overlap
    occurring = union[1:] > 0
    return float(np.mean(overlap[1:][occurring] / union[1:][occurring])) if occurring.any() else 1.0


def _matched_iou(one: Boxes, other: Boxes) -> float:
    """Greedily from the largest IoU."""
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
    """exp(−d²/(2·s²·(2σ)²)) with the frame's area as s²."""
    spread = _SPREAD if len(one.points) == len(_SPREAD) else np.full(len(one.points), _SPREAD.mean())
    squared = ((one.points[:, :2] - other.points[:, :2]) ** 2).sum(axis=1)
    area = other.height_px * other.width_px
    return float(np.mean(np.exp(-squared / (2 * area * (2 * spread) ** 2))))


def matched_keypoints(one: Keypoints, other: Keypoints, tolerance: float = TOLERANCE) -> int:
    """How many pairs of one kind lie within tolerance · max(H, W), each keypoint in one pair at most.

    Pairs are made greedily from the closest.
    """
    if not len(one.points) or not len(other.points):
        return 0
    apart = np.linalg.norm(one.points[:, None, :2] - other.points[None, :, :2], axis=2)
    reach = tolerance * max(other.height_px, other.width_px)
    apart = np.where((one.kinds[:, None] == other.kinds[None]) & (apart <= reach), apart, np.inf)
    pairs = 0
    while np.isfinite(apart).any():
        row, column = np.unravel_index(np.argmin(apart), apart.shape)
        apart[row, :] = apart[:, column] = np.inf
        pairs += 1
    return pairs


def _keypoint_share(one: Keypoints, other: Keypoints) -> float:
    """2 · pairs / (keypoints of both): the F1 score of PCK's matches, since numbers may differ."""
    both = len(one.points) + len(other.points)
    return 2 * matched_keypoints(one, other) / both if both else 1.0


def _top_one(one: Labels, other: Labels) -> float:
    return float(one.classes[:1].tolist() == other.classes[:1].tolist())


TASKS = {
    "segmentation": Task(
        Segmentation,
        "classes",
        lambda found: encode_classes(found.classes),
        lambda said: Segmentation(said.classes),  # type: ignore[arg-type]
        _class_iou,
    ),
    "detection": Task(
        Boxes,
        "boxes",
        lambda found: encode_boxes(found.boxes, found.classes, found.height_px, found.width_px),
        lambda said: Boxes(said.boxes, said.classes, said.height_px, said.width_px),  # type: ignore[arg-type]
        _matched_iou,
    ),
    "pose": Task(
        Pose,
        "points",
        lambda found: encode_points(found.points, found.height_px, found.width_px),
        lambda said: Pose(said.points, said.height_px, said.width_px),  # type: ignore[arg-type]
        _keypoint_similarity,
    ),
    "keypoints": Task(
        Keypoints,
        "keypoints",
        lambda found: encode_keypoints(found.points, found.kinds, found.height_px, found.width_px),
        lambda said: Keypoints(said.points, said.classes, said.height_px, said.width_px),  # type: ignore[arg-type]
        _keypoint_share,
    ),
    "classification": Task(
        Labels,
        "labels",
        lambda found: encode_labels(found.classes, found.scores, found.height_px, found.width_px),
        lambda said: Labels(said.classes, said.scores, said.height_px, said.width_px),  # type: ignore[arg-type]
        _top_one,
    ),
}
