"""From raw maps to boxes, masks, keypoints and class maps: box distributions, non-maximum suppression.

The maps of boxes are those of :class:`kernels.models.networks.yolo11.YOLO11`; all boxes are x1, y1, x2, y2 in
pixels of the network's input. :class:`kernels.models.predictions.letterbox.Letterbox` maps them to the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

STRIDES_PX = (8, 16, 32)
HEATMAP_STRIDE_PX = 4
CLASS_STRIDE_PX = 4  # of the default network's class logits
PEAK_STRIDES_PX = (8, 16)  # of the keypoint network's heat maps, the second on halved frames
MOST_KEYPOINTS = 100  # of a frame
MOST_LABELS = 5  # of a frame: what top-5 accuracy, the longest that is usual, asks for
MASKS_AT_ONCE = 16  # bounds the memory of fp32 logits at the input's size


@dataclass(frozen=True, slots=True)
class Detections:
    """What a network found in one frame, best first.

    Attributes:
        boxes: (n, 4) float, x1 y1 x2 y2 in input pixels.
        scores: (n,) float in [0, 1].
        classes: (n,) int64.
        coefficients: (n, prototypes) float, or None for a model without masks.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    coefficients: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: Tensor) -> Detections:
        """The detections at an index or boolean tensor."""
        coefficients = None if self.coefficients is None else self.coefficients[chosen]
        return Detections(self.boxes[chosen], self.scores[chosen], self.classes[chosen], coefficients)


def expected_distances(logits: Tensor) -> Tensor:
    """Expectation of each side's distance, d = Σ_b b·softmax(logits)_b (Li et al. 2020, eq. 5).

    Args:
        logits: (B, 4·bins, H, W), the bins of a side contiguous.

    Returns:
        (B, 4, H, W): left, top, right, bottom in units of the stride.
    """
    weights = torch.softmax(logits.unflatten(1, (4, -1)), dim=2)
    bins = torch.arange(weights.shape[2], dtype=weights.dtype, device=weights.device)
    return torch.einsum("bskhw,k->bshw", weights, bins)


def level_boxes(logits: Tensor, stride_px: int) -> Tensor:
    """Boxes (B, H·W, 4) of one level, row-major; the anchor of cell (i, j) is its centre.

    x1, x2 = (j + ½ − left, j + ½ + right)·stride, y1, y2 = (i + ½ − top, i + ½ + bottom)·stride.
    """
    distances = expected_distances(logits)
    height, width = distances.shape[-2:]
    x = torch.arange(width, dtype=logits.dtype, device=logits.device) + 0.5
    y = (torch.arange(height, dtype=logits.dtype, device=logits.device) + 0.5)[:, None]
    left, top, right, bottom = distances.unbind(1)
    return torch.stack([x - left, y - top, x + right, y + bottom], dim=-1).flatten(1, 2) * stride_px


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes (n, 4) and (m, 4), as (n, m); boxes without area give 0."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=2)
    union = _areas(first)[:, None] + _areas(second)[None] - overlap
    return torch.where(union > 0, overlap / union, torch.zeros_like(union))


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)


def non_max_suppression(boxes: Tensor, scores: Tensor, classes: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression within each class.

    A box is kept if no kept box of its class with a higher score overlaps it by more than ``iou_threshold``;
    equal scores keep the order of the input, so the result is a function of its arguments alone.

    Args:
        boxes: (n, 4).
        scores: (n,).
        classes: (n,) integers.
        iou_threshold: in [0, 1].

    Returns:
        Indices of the kept boxes, best first.
    """
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold must be in [0, 1] (got {iou_threshold})")
    order = torch.argsort(scores, descending=True, stable=True)
    ranked, labels = boxes[order], classes[order]
    overlapping = (box_iou(ranked, ranked) > iou_threshold) & (labels[:, None] == labels[None])
    suppressed = torch.zeros(len(order), dtype=torch.bool, device=boxes.device)
    kept = []
    for rank in range(len(order)):
        if not suppressed[rank]:
            kept.append(rank)
            suppressed |= overlapping[rank]
    return order[torch.tensor(kept, dtype=torch.int64, device=boxes.device)]


def decode(
    outputs: Mapping[str, Sequence[Tensor]],
    *,
    score_threshold: float = 0.25,
    iou_threshold: float = 0.7,
    max_detections: int = 300,
    max_candidates: int = 2000,
) -> Detections:
    """Detections of a single frame from YOLO11's raw maps.

    A cell's class is its best one; its score the sigmoid of that logit. Cells below ``score_threshold`` are
    dropped, of the rest the ``max_candidates`` best enter suppression, of which ``max_detections`` stay.

    Raises:
        ValueError: if the maps are of more than one frame or a threshold is outside [0, 1].
    """
    if not 0 <= score_threshold <= 1:
        raise ValueError(f"score_threshold must be in [0, 1] (got {score_threshold})")
    if outputs["boxes"][0].shape[0] != 1:
        raise ValueError(f"outputs must be of one frame (got a batch of {outputs['boxes'][0].shape[0]})")
    logits = torch.cat([level[0].flatten(1) for level in outputs["classes"]], dim=1)
    best, labels = logits.max(dim=0)
    scores = torch.sigmoid(best)
    candidates = torch.nonzero(scores >= score_threshold)[:, 0]
    if len(candidates) > max_candidates:
        ranked = torch.argsort(scores[candidates], descending=True, stable=True)
        candidates = candidates[ranked[:max_candidates]]
    boxes = torch.cat(
        [level_boxes(level, stride)[0] for level, stride in zip(outputs["boxes"], STRIDES_PX, strict=True)]
    )
    coefficients = None
    if "coefficients" in outputs:
        coefficients = torch.cat([level[0].flatten(1) for level in outputs["coefficients"]], dim=1).T[
            candidates
        ]
    found = Detections(boxes[candidates], scores[candidates], labels[candidates], coefficients)
    return found[
        non_max_suppression(found.boxes, found.scores, found.classes, iou_threshold)[:max_detections]
    ]


def assemble_masks(detections: Detections, prototypes: Tensor, height_px: int, width_px: int) -> Tensor:
    """Masks (n, height, width) bool at the input's size: coefficients · prototypes, cropped to each box.

    The logits are upsampled bilinearly before the threshold (logit > 0), so that edges are not stairs of the
    prototypes' stride.

    Args:
        detections: with coefficients (n, p), boxes in input pixels.
        prototypes: (1, p, h, w), the segment head's ``prototypes`` map.
        height_px, width_px: the input's size.

    Raises:
        ValueError: if the detections have no coefficients or as many as there are prototypes do not fit.
    """
    coefficients = detections.coefficients
    if coefficients is None:
        raise ValueError("detections must have mask coefficients (got those of a model without masks)")
    if prototypes.shape[:2] != (1, coefficients.shape[1]):
        raise ValueError(
            f"prototypes must be (1, {coefficients.shape[1]}, h, w) to fit the coefficients "
            f"(got {tuple(prototypes.shape)})"
        )
    if len(detections) == 0:
        return torch.zeros((0, height_px, width_px), dtype=torch.bool, device=prototypes.device)
    small = torch.einsum("np,phw->nhw", coefficients, prototypes[0])
    x = torch.arange(width_px, device=small.device) + 0.5
    y = (torch.arange(height_px, device=small.device) + 0.5)[:, None]
    masks = []
    for part, boxes in zip(small.split(MASKS_AT_ONCE), detections.boxes.split(MASKS_AT_ONCE), strict=True):
        logits = functional.interpolate(part[None], (height_px, width_px), mode="bilinear")[0]
        x1, y1, x2, y2 = (side[:, None, None] for side in boxes.unbind(1))
        masks.append((logits > 0) & (x >= x1) & (x < x2) & (y >= y1) & (y < y2))
    return torch.cat(masks)


def keypoints(heatmaps: Tensor) -> Tensor:
    """Positions and scores (keypoints, 3) of heatmaps at stride 4: x and y in input pixels, the maximum.

    The centre of the largest cell; of equal cells the first in row-major order.

    Raises:
        ValueError: if the heatmaps are not those of one frame.
    """
    if heatmaps.dim() != 4 or heatmaps.shape[0] != 1:
        raise ValueError(f"heatmaps must be (1, keypoints, h, w) (got {tuple(heatmaps.shape)})")
    scores, cells = heatmaps[0].flatten(1).max(dim=1)
    width = heatmaps.shape[3]
    x, y = cells % width, cells // width
    return torch.stack([HEATMAP_STRIDE_PX * (x + 0.5), HEATMAP_STRIDE_PX * (y + 0.5), scores], dim=1)


def peaks(logits: Tensor, height_px: int, width_px: int, score_threshold: float) -> tuple[Tensor, Tensor]:
    """Keypoints (n, 3), x and y in pixels and score, and their kinds (n,), from heat maps at stride 8 or 16.

    A keypoint is a cell whose score σ(logit) is the largest among its neighbours' and at least the threshold
    (Zhou et al. 2019, "Objects as points", section 4); of the best :data:`MOST_KEYPOINTS`, highest first. It
    lies at the mean of the 3×3 cells around, weighted by score, since a cell is coarse.

    Args:
        logits: (1, kinds, height/stride, width/stride).

    Raises:
        ValueError: if they are not those of one frame of that size.
    """
    sizes = {(height_px // stride, width_px // stride): stride for stride in PEAK_STRIDES_PX}
    if logits.dim() != 4 or logits.shape[0] != 1 or tuple(logits.shape[2:]) not in sizes:
        known = " or ".join(f"(1, kinds, {rows}, {columns})" for rows, columns in sizes)
        raise ValueError(f"peaks must be {known} (got {tuple(logits.shape)})")
    size = (int(logits.shape[2]), int(logits.shape[3]))
    scores = torch.sigmoid(logits.float())
    around = functional.unfold(scores[0][:, None], 3, padding=1).unflatten(2, size)  # (kinds, 9, h, w)
    kept = (scores[0] >= around.amax(dim=1)) & (scores[0] >= score_threshold)
    kinds, rows, columns = torch.nonzero(kept, as_tuple=True)
    found = scores[0][kinds, rows, columns]
    order = torch.argsort(found, descending=True, stable=True)[:MOST_KEYPOINTS]
    kinds, rows, columns = kinds[order], rows[order], columns[order]
    weights = around[kinds, :, rows, columns]
    weights = weights / weights.sum(dim=1, keepdim=True)
    step = torch.arange(3, device=weights.device) - 1.0
    x = columns + 0.5 + (weights * step.repeat(3)).sum(dim=1)
    y = rows + 0.5 + (weights * step.repeat_interleave(3)).sum(dim=1)
    return torch.stack([sizes[size] * x, sizes[size] * y, found[order]], dim=1), kinds


def labels(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The :data:`MOST_LABELS` likeliest classes (n,) of a frame, likeliest first, and their shares (n,).

    Args:
        logits: (1, classes), whose softmax the shares are; of equal shares the first class comes first.

    Raises:
        ValueError: if they are not those of one frame.
    """
    if logits.dim() != 2 or logits.shape[0] != 1:
        raise ValueError(f"logits must be (1, classes) (got {tuple(logits.shape)})")
    shares, classes = torch.softmax(logits[0].float(), dim=0).sort(descending=True, stable=True)
    return classes[:MOST_LABELS], shares[:MOST_LABELS]


def class_map(logits: Tensor, height_px: int, width_px: int) -> Tensor:
    """The class of every pixel, (height, width) uint8, 0 for background; of equals the first.

    Args:
        logits: (1, classes, height/4, width/4), upsampled bilinearly before the decision.
        height_px, width_px: the frame's size.

    Raises:
        ValueError: if the logits are not those of one frame of that size.
    """
    expected = (height_px // CLASS_STRIDE_PX, width_px // CLASS_STRIDE_PX)
    if logits.dim() != 4 or logits.shape[0] != 1 or logits.shape[2:] != expected:
        raise ValueError(
            f"logits must be (1, classes, {expected[0]}, {expected[1]}) (got {tuple(logits.shape)})"
        )
    full = functional.interpolate(logits, (height_px, width_px), mode="bilinear", align_corners=False)
    # max, not argmax: over channels of 640x640 pixels that do not lie together it takes 3 ms, argmax 50.
    return full[0].max(dim=0).indices.to(torch.uint8)
