"""What a model's raw outputs say about a frame, in one form for every task.

What else a task has, its bytes on the wire and how far two results agree, is in
:mod:`kernels.models.predictions.tasks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from kernels.models.predictions.decoding import (
    Detections,
    assemble_masks,
    class_map,
    decode,
    keypoints,
    labels,
    peaks,
)

SURROUNDINGS = 0.05  # of the frame's longer side: how far around a keypoint an object is taken to reach


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
        if not len(self.points):
            return covered
        low, high = self.points[:, :2].min(axis=0).astype(int), self.points[:, :2].max(axis=0).astype(int)
        covered[low[1] : high[1] + 1, low[0] : high[0] + 1] = True
        return covered


@dataclass(frozen=True, slots=True)
class Keypoints:
    """Keypoints of any number of objects, each by itself.

    Attributes:
        points: (n, 3) float: x, y in pixels of the frame, score; the highest score first.
        kinds: (n,) int, which keypoint each is.
        height_px, width_px: the frame's size.
    """

    points: np.ndarray
    kinds: np.ndarray
    height_px: int
    width_px: int

    @property
    def foreground(self) -> np.ndarray:
        """(H, W) bool, squares around the keypoints, :data:`SURROUNDINGS` each way: no size is known."""
        covered = np.zeros((self.height_px, self.width_px), bool)
        reach = SURROUNDINGS * max(self.height_px, self.width_px)
        for x, y in self.points[:, :2].tolist():
            x1, y1, x2, y2 = (max(0, round(v)) for v in (x - reach, y - reach, x + reach, y + reach))
            covered[y1:y2, x1:x2] = True
        return covered


@dataclass(frozen=True, slots=True)
class Labels:
    """What the frame as a whole shows.

    Attributes:
        classes: (n,) int, the likeliest first.
        scores: (n,) float, their shares of a softmax over all classes.
        height_px, width_px: the frame's size.
    """

    classes: np.ndarray
    scores: np.ndarray
    height_px: int
    width_px: int

    @property
    def foreground(self) -> None:
        """None: a label is in no place."""
        return None


Result = Segmentation | Boxes | Pose | Keypoints | Labels


def interpret(
    outputs: Tensor | Mapping[str, Sequence[Tensor]],
    height_px: int,
    width_px: int,
    *,
    score_threshold: float = 0.25,
) -> Result:
    """The result of one frame from the raw outputs of a YOLO11 or of one of the small networks.

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
    if "peaks" in outputs:
        points, kinds = peaks(outputs["peaks"][0], height_px, width_px, score_threshold)
        return Keypoints(points.cpu().numpy(), kinds.cpu().numpy(), height_px, width_px)
    if "logits" in outputs:
        classes, scores = labels(outputs["logits"][0])
        return Labels(classes.cpu().numpy(), scores.cpu().numpy(), height_px, width_px)
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
