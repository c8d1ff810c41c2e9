"""Sparse inference on real sequences: how close to dense, how much reused, how fast, one row a sequence.

The reference is the previous frame: the cache moves along the vectors and takes on what each frame computes,
with no dense inference after the first frame. Motion search and decoding are not timed.

`tables/yolo11n-seg_davis_sparse.csv` is made by `python -m kernels.models evaluate-sparse DAVIS WEIGHTS
--policies fixed,truncate,exact --truncation conf/model/truncation/yolo11n-seg.json --output FILE`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kernels.executor import SparseExecutor
from kernels.models.evaluation.evaluate import davis_frames, mask_iou
from kernels.models.predictions.letterbox import Letterbox
from kernels.models.predictions.results import agreement, interpret
from kernels.motion.classification import active_blocks
from kernels.motion.global_motion import estimate_global_motion
from kernels.motion.image_pyramid import build_pyramid
from kernels.motion.search import search_motion

BLOCK_PX = 16


@dataclass(frozen=True, slots=True)
class SparseScore:
    """One policy on one sequence.

    Attributes:
        frames: frames that were run sparse.
        active: mean share of active blocks.
        reused: mean share of positions taken from the cache, over frames and layers.
        agreement: mean IoU of the sparse result's classes with the dense result's.
        iou_foreground: mean IoU of the two results' foregrounds (any class).
        dense_ms, sparse_ms: medians of inference, in turns on the same frames.
    """

    sequence: str
    policy: str
    frames: int
    active: float
    reused: float
    agreement: float
    iou_foreground: float
    dense_ms: float
    sparse_ms: float

    @property
    def ratio(self) -> float:
        """Sparse over dense time."""
        return self.sparse_ms / self.dense_ms


def letterboxed(folder: Path, input_px: int, frames: int | None) -> Iterator[np.ndarray]:
    """The frames of a DAVIS sequence as the network sees them, (input_px, input_px, 3) uint8 RGB."""
    for index, (image, _) in enumerate(davis_frames(folder)):
        if index == frames:
            return
        box = Letterbox(image.shape[0], image.shape[1], input_px, input_px)
        tensor = box.apply(image)
        yield np.ascontiguousarray((tensor[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())


def evaluate_sparse(
    model: nn.Module,
    folder: Path,
    policy: str,
    *,
    input_px: int = 640,
    threshold: float = 0.025,
    frames: int | None = None,
    **options: Any,
) -> SparseScore:
    """Run a model over a DAVIS sequence, densely and sparse, and compare every frame.

    Args:
        model: a YOLO11 with masks, in eval mode.
        folder: the sequence.
        policy: of the SparseExecutor; `options` go to it, too.
        input_px: side of the letterboxed input.
        threshold: τ of the miss classifier.
        frames: at most so many; None: all.
    """
    executor = SparseExecutor(model, policy, block_px=BLOCK_PX, **options)
    cache: Any = None
    previous: Any = None
    rows: list[tuple[float, ...]] = []
    for image in letterboxed(folder, input_px, frames):
        frame = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0
        pyramid = build_pyramid(image)
        began_s = time.perf_counter()
        dense, fresh = executor.dense(frame)
        dense_s = time.perf_counter() - began_s
        truth = interpret(dense, input_px, input_px)
        if cache is None:
            cache, previous = fresh, pyramid
            continue
        grid = (input_px // BLOCK_PX, input_px // BLOCK_PX)
        moved = np.full((*grid, 2), estimate_global_motion(pyramid, previous), np.int16)
        field = search_motion(pyramid, previous, BLOCK_PX, predicted=moved)
        active = torch.zeros(grid, dtype=torch.bool)
        active.view(-1)[torch.from_numpy(active_blocks(field, threshold)).long()] = True
        began_s = time.perf_counter()
        outputs, cache, report = executor.sparse(frame, active, torch.from_numpy(field.vectors), cache)
        sparse_s = time.perf_counter() - began_s
        result = interpret(outputs, input_px, input_px)
        rows.append(
            (
                float(active.float().mean()),
                float(np.mean(list(report.reused.values()))),
                agreement(result, truth),
                mask_iou(result.foreground, truth.foreground),
                1e3 * dense_s,
                1e3 * sparse_s,
            )
        )
        previous = pyramid
    columns = np.array(rows)
    means = columns[:, :4].mean(axis=0).tolist()
    return SparseScore(folder.name, policy, len(rows), *means, *np.median(columns[:, 4:], axis=0).tolist())
