"""Sparse inference on real sequences: how close to dense, how much reused, how fast, one row a sequence.

The reference is the previous frame: the cache moves along the vectors and takes on what each frame computes,
with no dense inference after the first frame. Motion search, decoding and salience are not timed.

The tables `tables/yolo11n-seg_*_sparse.csv` are made by `python -m kernels.models evaluate-sparse SEQUENCES
WEIGHTS --policies adaptive,fixed,truncate,exact --truncation conf/model/truncation/yolo11n-seg.json`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kernels.executor import SparseExecutor
from kernels.models.evaluation.evaluate import mask_iou
from kernels.models.predictions.letterbox import Letterbox
from kernels.models.predictions.results import Segmentation, interpret
from kernels.models.predictions.tasks import agreement
from kernels.motion.classification import DEFAULT_THRESHOLD, active_blocks
from kernels.motion.global_motion import estimate_global_motion
from kernels.motion.image_pyramid import build_pyramid
from kernels.motion.salience import block_thresholds, salient_blocks
from kernels.motion.search import search_motion

_Result = TypeVar("_Result")

BLOCK_PX = 16
NEAR, ELSEWHERE = 0.01, 0.02  # τ of salient blocks and of all others, where salience is asked for
SALIENT_SCORE = 0.1  # what a detector is not sure of is salient, too: it may be found in the next frame
SALIENT_OUTPUTS = ("boxes", "coefficients", "prototypes")
IMAGES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class SparseScore:
    """One policy on one sequence.

    Attributes:
        frames: frames that were run sparse.
        active: mean share of active blocks.
        reused: mean share of positions taken from the cache, over frames and layers.
        agreement: mean IoU of the sparse result's classes with the dense result's.
        iou_foreground: mean IoU of the two results' foregrounds (any class).
        dense_ms, sparse_ms: medians of inference, in turns on the same frames; the thread's own time.
        fixed_ms: the same of policy `fixed` without a margin and with one threshold.
        computed: mean share of blocks that were computed, margins included; NaN where the policy decides by
            layer.
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
    fixed_ms: float
    computed: float

    @property
    def ratio(self) -> float:
        """Sparse over dense time."""
        return self.sparse_ms / self.dense_ms

    @property
    def ratio_to_fixed(self) -> float:
        """Sparse time over that of `fixed`."""
        return self.sparse_ms / self.fixed_ms


def find_sequences(folder: Path) -> list[Path]:
    """The sequences in a folder, by name; or the folder itself, if it is one.

    A sequence is a folder of images, in it or in its subfolder `JPEGImages` or `images`.

    Raises:
        FileNotFoundError: there is none.
    """
    if _image_paths(folder):
        return [folder]
    found = [path for path in sorted(folder.glob("*")) if path.is_dir() and _image_paths(path)]
    if not found:
        raise FileNotFoundError(
            f"{folder}: expected images ({', '.join(IMAGES)}), or folders with images or JPEGImages/ in them"
        )
    return found


def _image_paths(folder: Path) -> list[Path]:
    for place in (folder / "JPEGImages", folder / "images", folder):
        found = [path for path in sorted(place.glob("*")) if path.suffix.lower() in IMAGES]
        if found:
            return found
    return []


def letterboxed(folder: Path, input_px: int, frames: int | None) -> Iterator[np.ndarray]:
    """The frames of a sequence as the network sees them, (input_px, input_px, 3) uint8 RGB.

    Raises:
        FileNotFoundError: no sequence.
    """
    from PIL import Image

    paths = _image_paths(find_sequences(folder)[0])
    for path in paths[:frames]:
        image = np.asarray(Image.open(path).convert("RGB"))
        box = Letterbox(image.shape[0], image.shape[1], input_px, input_px)
        tensor = box.apply(image)
        yield np.ascontiguousarray((tensor[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())


def evaluate_sparse(
    model: nn.Module,
    folder: Path,
    policy: str,
    *,
    input_px: int = 640,
    threshold: float | None = None,
    near: float | None = None,
    salience: bool | None = None,
    frames: int | None = None,
    **options: Any,
) -> SparseScore:
    """Run a model over a sequence, densely and sparse, and compare every frame.

    Args:
        model: a YOLO11 with masks, in eval mode.
        folder: the sequence.
        policy: of the SparseExecutor; `options` go to it, too.
        input_px: side of the letterboxed input.
        threshold: τ of the miss classifier; None: 0.025, or with salience 0.02.
        near: τ of salient blocks; None: 0.01, or `threshold` if that is smaller.
        salience: whether blocks near what the last result found are recomputed from a smaller τ on, and under
            `adaptive` all that feeds boxes and masks only there; None: under `adaptive` only.
        frames: at most so many; None: all.

    Raises:
        FileNotFoundError: no sequence.
        ValueError: fewer than two frames.
    """
    salience = policy == "adaptive" if salience is None else salience
    if policy == "adaptive" and salience:
        options["salient_outputs"] = SALIENT_OUTPUTS
    executor = SparseExecutor(model, policy, block_px=BLOCK_PX, **options)
    plain = SparseExecutor(model, "fixed", block_px=BLOCK_PX)
    cache: Any = None
    plain_cache: Any = None
    previous: Any = None
    found = np.zeros((input_px, input_px), bool)
    rows: list[tuple[float, ...]] = []
    for image in letterboxed(folder, input_px, frames):
        frame = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0
        pyramid = build_pyramid(image)
        dense_s, (dense, fresh) = _timed(executor.dense, frame)
        truth = _said(dense, input_px)
        if cache is None:
            cache, previous, found = fresh, pyramid, _foreground(dense, input_px)
            plain_cache = plain.dense(frame)[1]
            continue
        grid = (input_px // BLOCK_PX, input_px // BLOCK_PX)
        moved = np.full((*grid, 2), estimate_global_motion(pyramid, previous), np.int16)
        field = search_motion(pyramid, previous, BLOCK_PX, predicted=moved)
        vectors = torch.from_numpy(field.vectors)
        salient = salient_blocks(found, field.vectors, BLOCK_PX) if salience else None
        if salient is None:
            active = _mask(active_blocks(field, DEFAULT_THRESHOLD if threshold is None else threshold), grid)
        else:
            away = ELSEWHERE if threshold is None else threshold
            close = min(NEAR, away) if near is None else near
            active = _mask(active_blocks(field, block_thresholds(salient, close, away)), grid)
        extra = [torch.from_numpy(salient)] if salient is not None and policy == "adaptive" else []
        sparse_s, (outputs, cache, report) = _timed(executor.sparse, frame, active, vectors, cache, *extra)
        usual = _mask(active_blocks(field, DEFAULT_THRESHOLD), grid)
        fixed_s, (_, plain_cache, _) = _timed(plain.sparse, frame, usual, vectors, plain_cache)
        found = _foreground(outputs, input_px)
        result = _said(outputs, input_px)
        rows.append(
            (
                float(active.float().mean()),
                float(np.mean(list(report.reused.values()))),
                agreement(result, truth),
                mask_iou(result.foreground, truth.foreground),
                1e3 * dense_s,
                1e3 * sparse_s,
                1e3 * fixed_s,
                float("nan") if report.computed is None else float(report.computed.float().mean()),
            )
        )
        previous = pyramid
    if not rows:
        raise ValueError(f"{folder}: expected at least 2 frames")
    columns = np.array(rows)
    means, times = columns[:, :4].mean(axis=0).tolist(), np.median(columns[:, 4:7], axis=0).tolist()
    return SparseScore(folder.name, policy, len(rows), *(*means, *times, float(columns[:, 7].mean())))


def _timed(run: Callable[..., _Result], *arguments: Any) -> tuple[float, _Result]:
    began_s = time.thread_time()
    made = run(*arguments)
    return time.thread_time() - began_s, made


def _foreground(outputs: Any, input_px: int) -> NDArray[np.bool_]:
    """Where a result may have found something."""
    return _said(outputs, input_px, SALIENT_SCORE).foreground


def _said(outputs: Any, input_px: int, score_threshold: float = 0.25) -> Segmentation:
    found = interpret(outputs, input_px, input_px, score_threshold=score_threshold)
    assert isinstance(found, Segmentation)  # the command asks for a model with masks
    return found


def _mask(blocks: NDArray[np.int32], grid: tuple[int, int]) -> torch.Tensor:
    active = torch.zeros(grid, dtype=torch.bool)
    active.view(-1)[torch.from_numpy(blocks).long()] = True
    return active
