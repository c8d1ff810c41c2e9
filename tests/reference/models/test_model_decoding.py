"""Decoding against loops that do one cell, one box, one pixel at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.models.predictions.decoding import (
    Detections,
    assemble_masks,
    box_iou,
    decode,
    expected_distances,
    level_boxes,
    non_max_suppression,
)

SEEDS = st.integers(0, 2**31 - 1)


def raw_maps(
    seed: int, classes: int = 3, prototypes: int = 4, side: int = 32
) -> dict[str, tuple[Tensor, ...]]:
    """Random raw maps of a ``side``-pixel input."""
    random = torch.Generator().manual_seed(seed)

    def level(channels: int, stride: int) -> Tensor:
        return torch.randn(1, channels, side // stride, side // stride, generator=random) * 2

    return {
        "boxes": tuple(level(64, s) for s in (8, 16, 32)),
        "classes": tuple(level(classes, s) for s in (8, 16, 32)),
        "coefficients": tuple(level(prototypes, s) for s in (8, 16, 32)),
        "prototypes": (level(prototypes, 4),),
    }


def naive_box(logits: list[float], row: int, column: int, stride: int) -> list[float]:
    """One cell's box, straight from the definition."""
    sides = []
    for start in range(0, 64, 16):
        powers = [math.exp(v) for v in logits[start : start + 16]]
        sides.append(sum(b * p for b, p in enumerate(powers)) / sum(powers))
    left, top, right, bottom = sides
    return [
        (column + 0.5 - left) * stride,
        (row + 0.5 - top) * stride,
        (column + 0.5 + right) * stride,
        (row + 0.5 + bottom) * stride,
    ]


def naive_iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
    return overlap / union if union > 0 else 0.0


def naive_suppression(
    boxes: list[list[float]], scores: list[float], labels: list[int], limit: float
) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if all(labels[j] != labels[i] or naive_iou(boxes[j], boxes[i]) <= limit for j in kept):
            kept.append(i)
    return kept


def test_a_distribution_on_one_bin_gives_that_distance() -> None:
    logits = torch.full((1, 64, 1, 1), -50.0)
    for side, distance in enumerate((0, 3, 7, 15)):
        logits[0, 16 * side + distance] = 50.0
    assert expected_distances(logits).flatten().tolist() == pytest.approx([0, 3, 7, 15])


def test_a_flat_distribution_gives_the_middle() -> None:
    assert expected_distances(torch.zeros(1, 64, 2, 3)).unique().tolist() == pytest.approx([7.5])


@given(SEEDS, st.sampled_from([8, 16, 32]))
@settings(max_examples=10, deadline=None)
def test_boxes_are_those_of_the_naive_loop(seed: int, stride: int) -> None:
    logits = torch.randn(1, 64, 3, 5, generator=torch.Generator().manual_seed(seed)) * 3
    expected = [naive_box(logits[0, :, i, j].tolist(), i, j, stride) for i in range(3) for j in range(5)]
    np.testing.assert_allclose(level_boxes(logits, stride)[0].numpy(), expected, rtol=1e-4, atol=1e-3)


@given(SEEDS, st.integers(0, 25), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_suppression_is_the_greedy_loop(seed: int, count: int, limit: float) -> None:
    random = np.random.default_rng(seed)
    # A coarse grid, so that equal scores, equal boxes and IoUs of simple fractions occur.
    low = random.integers(0, 6, (count, 2))
    boxes = np.concatenate([low, low + random.integers(0, 6, (count, 2))], axis=1).astype(float)
    scores = random.integers(0, 5, count) / 5
    labels = random.integers(0, 2, count)
    kept = non_max_suppression(
        torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(labels), limit
    ).tolist()
    assert kept == naive_suppression(boxes.tolist(), scores.tolist(), labels.tolist(), limit)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_suppression_keeps_a_maximal_independent_set(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    low = torch.rand(30, 2, generator=random) * 50
    boxes = torch.cat([low, low + torch.rand(30, 2, generator=random) * 50], dim=1)
    scores, labels = torch.rand(30, generator=random), torch.randint(0, 3, (30,), generator=random)
    kept = non_max_suppression(boxes, scores, labels, 0.4)
    conflict = (box_iou(boxes, boxes) > 0.4) & (labels[:, None] == labels[None])
    inside = conflict[kept][:, kept]
    assert not (inside & ~torch.eye(len(kept), dtype=torch.bool)).any()
    assert conflict[kept].any(dim=0)[scores > 0].all()
    assert torch.equal(scores[kept], scores[kept].sort(descending=True).values)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_decoding_is_the_naive_pipeline(seed: int) -> None:
    outputs = raw_maps(seed)
    boxes, scores, labels, coefficients = [], [], [], []
    for level, stride in enumerate((8, 16, 32)):
        for i in range(32 // stride):
            for j in range(32 // stride):
                logits = outputs["classes"][level][0, :, i, j].tolist()
                score = 1 / (1 + math.exp(-max(logits)))
                if score >= 0.5:
                    boxes.append(naive_box(outputs["boxes"][level][0, :, i, j].tolist(), i, j, stride))
                    scores.append(score)
                    labels.append(logits.index(max(logits)))
                    coefficients.append(outputs["coefficients"][level][0, :, i, j].tolist())
    kept = naive_suppression(boxes, scores, labels, 0.5)
    found = decode(outputs, score_threshold=0.5, iou_threshold=0.5)
    assert found.classes.tolist() == [labels[i] for i in kept]
    np.testing.assert_allclose(found.boxes.numpy(), [boxes[i] for i in kept], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.scores.numpy(), [scores[i] for i in kept], rtol=1e-5)
    assert found.coefficients is not None
    np.testing.assert_allclose(found.coefficients.numpy(), [coefficients[i] for i in kept], rtol=1e-6)


def test_limits_keep_the_best() -> None:
    outputs = raw_maps(3)
    everything = decode(outputs, score_threshold=0, iou_threshold=1)
    assert len(everything) == 16 + 4 + 1
    few = decode(outputs, score_threshold=0, iou_threshold=1, max_detections=5, max_candidates=8)
    assert torch.equal(few.scores, everything.scores[:5])


def test_nothing_above_the_threshold_is_an_empty_result() -> None:
    outputs = raw_maps(0)
    found = decode(outputs, score_threshold=1.0)
    assert len(found) == 0
    assert assemble_masks(found, outputs["prototypes"][0], 32, 32).shape == (0, 32, 32)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_masks_are_those_of_the_naive_loop(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(1, 3, 4, 6, generator=random)
    coefficients = torch.randn(2, 3, generator=random)
    boxes = torch.tensor([[2.0, 1.0, 20.0, 9.0], [5.3, 3.7, 11.2, 15.9]])
    found = Detections(boxes, torch.ones(2), torch.zeros(2, dtype=torch.int64), coefficients)
    masks = assemble_masks(found, prototypes, 16, 24)
    for n in range(2):
        logits = sum(float(coefficients[n, p]) * prototypes[0, p].numpy() for p in range(3))
        assert isinstance(logits, np.ndarray)
        for y in range(16):
            for x in range(24):
                value = _bilinear(logits, (y + 0.5) / 4 - 0.5, (x + 0.5) / 4 - 0.5)
                x1, y1, x2, y2 = boxes[n].tolist()
                inside = x1 <= x + 0.5 < x2 and y1 <= y + 0.5 < y2
                if abs(value) > 1e-5:
                    assert bool(masks[n, y, x]) == (inside and value > 0)


def _bilinear(grid: np.ndarray, y: float, x: float) -> float:
    y, x = max(y, 0.0), max(x, 0.0)
    top, left = int(y), int(x)
    below, right = min(top + 1, grid.shape[0] - 1), min(left + 1, grid.shape[1] - 1)
    upper = grid[top, left] * (1 - x + left) + grid[top, right] * (x - left)
    lower = grid[below, left] * (1 - x + left) + grid[below, right] * (x - left)
    return float(upper * (1 - y + top) + lower * (y - top))
