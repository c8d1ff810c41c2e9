"""Policy `exact` against dense inference: ``python -m tests.benchmarks.bench_exact [--rounds N]``.

YOLO11n-seg at 640 × 640 (random weights where the trained ones are not at hand: times do not depend on them),
one thread, medians of interleaved rounds of the thread's own time. Every sparse frame starts from the same
reference; dense frames are another executor's, so that memory is used again as it is between sparse frames. A
time is printed only where the sparse result was the dense one to the last bit.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import data, transform

from kernels import SparseExecutor
from kernels.models import build_model, load_weights
from kernels.models.evaluation.evaluate_sparse import letterboxed
from kernels.motion.classification import active_blocks
from kernels.motion.global_motion import estimate_global_motion
from kernels.motion.image_pyramid import build_pyramid
from kernels.motion.search import search_motion

SIZE_PX, BLOCK_PX = 640, 16
GRID = (SIZE_PX // BLOCK_PX, SIZE_PX // BLOCK_PX)
DATA = Path(__file__).parents[3] / "shared" / "data"
SEQUENCES = ("blackswan", "camel", "car-shadow")


@dataclass(frozen=True)
class Case:
    """A frame after a reference: (H, W, 3) uint8 images, bool blocks, int vectors in pixels."""

    name: str
    reference: np.ndarray
    frame: np.ndarray
    active: torch.Tensor
    vectors: torch.Tensor


def searched(name: str, reference: np.ndarray, frame: np.ndarray) -> Case:
    """With the blocks and vectors that motion search finds."""
    levels, behind = build_pyramid(frame), build_pyramid(reference)
    moved = np.full((*GRID, 2), estimate_global_motion(levels, behind), np.int16)
    field = search_motion(levels, behind, BLOCK_PX, predicted=moved)
    active = torch.zeros(GRID, dtype=torch.bool)
    active.view(-1)[torch.from_numpy(active_blocks(field, 0.025)).long()] = True
    return Case(name, reference, frame, active, torch.from_numpy(field.vectors.astype(np.int64)))


def changed(share: float, image: np.ndarray, other: np.ndarray) -> Case:
    """A camera that stands still: one square of blocks shows something else."""
    side = round((share * GRID[0] * GRID[1]) ** 0.5)
    first = (GRID[0] - side) // 2
    active = torch.zeros(GRID, dtype=torch.bool)
    active[first : first + side, first : first + side] = True
    mask = active.numpy().repeat(BLOCK_PX, 0).repeat(BLOCK_PX, 1)
    frame = np.where(mask[..., None], other, image)
    return Case(f"still, {share:.0%} changed", image, frame, active, torch.zeros(*GRID, 2, dtype=torch.int64))


def panned(scene: np.ndarray, step_px: int) -> Case:
    """The camera turns: everything moves by whole periods, and a strip comes into view."""
    frame = np.ascontiguousarray(scene[:, step_px : step_px + SIZE_PX])
    reference = np.ascontiguousarray(scene[:, :SIZE_PX])
    active = torch.zeros(GRID, dtype=torch.bool)
    active[:, -(step_px // BLOCK_PX) :] = True
    vectors = torch.zeros(*GRID, 2, dtype=torch.int64)
    vectors[..., 0] = step_px
    return Case(f"pan by {step_px} px", reference, frame, active, vectors)


def cases() -> list[Case]:
    """Nothing, little and much to be had; real sequences where they are at hand."""
    photograph = np.rint(transform.resize(data.astronaut(), (SIZE_PX, SIZE_PX + 64), order=3) * 255)
    scene = photograph.clip(0, 255).astype(np.uint8)
    image, other = np.ascontiguousarray(scene[:, :SIZE_PX]), np.ascontiguousarray(scene[::-1, :SIZE_PX])
    still = torch.zeros(GRID, dtype=torch.bool), torch.zeros(*GRID, 2, dtype=torch.int64)
    found = [
        Case("unchanged", image, image, *still),
        *(changed(share, image, other) for share in (0.01, 0.1, 0.25, 0.5)),
        panned(scene, 32),
        Case("everything changed", image, other, ~still[0], still[1]),
    ]
    for name in SEQUENCES:
        folder = DATA / "videos" / "davis" / name
        if folder.is_dir():
            images = letterboxed(folder, SIZE_PX, 2)
            found += [searched(f"DAVIS {name}", *pair) for pair in pairwise(images)]
    return found


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float().contiguous() / 255


def interleaved_ms(runs: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Median of each run's own time."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, taken in zip(runs, times, strict=True):
            began_s = time.thread_time()
            run()
            taken.append(1e3 * (time.thread_time() - began_s))
    return [statistics.median(taken) for taken in times]


def leaves(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def measure(
    model: torch.nn.Module, executor: SparseExecutor, rival: SparseExecutor, case: Case, rounds: int
) -> str:
    """One row of the table: the module, `rival` densely, `executor` sparse."""
    frame, reference = tensor(case.frame), tensor(case.reference)
    last = frame.to(memory_format=torch.channels_last)
    expected, _ = rival.dense(frame)
    _, cache = executor.dense(reference)
    made, after, report = executor.sparse(frame, case.active, case.vectors, cache)
    again, _, _ = executor.sparse(frame, torch.zeros_like(case.active), torch.zeros_like(case.vectors), after)
    for result in (made, again):
        for one, two in zip(leaves(result), leaves(expected), strict=True):
            if not torch.equal(one, two):
                raise AssertionError(f"{case.name}: not the dense result")
    module_ms, dense_ms, sparse_ms = interleaved_ms(
        [
            lambda: model(last),
            lambda: rival.dense(frame),
            lambda: executor.sparse(frame, case.active, case.vectors, cache),
        ],
        rounds,
    )
    certified = statistics.mean(float(report.certified(name).float().mean()) for name in report.reused)
    reused = statistics.mean(report.reused.values())
    return (
        f"{case.name:20} {certified:9.3f} {reused:6.3f} {module_ms:8.1f} {dense_ms:8.1f} {sparse_ms:8.1f}"
        f" {sparse_ms / module_ms:8.2f} {sparse_ms / dense_ms:8.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Policy exact against dense inference, YOLO11n-seg, 640².")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = build_model("yolo11n-seg")
    weights = DATA / "weights" / "yolo11n-seg_fused_fp16.safetensors"
    if weights.exists():
        model = load_weights(model, weights)
    model = model.eval().to(memory_format=torch.channels_last)
    executor, rival = (SparseExecutor(model, "exact", block_px=BLOCK_PX) for _ in range(2))
    print(f"{'':20} certified reused module/ms dense/ms exact/ms ×module  ×dense")
    with torch.no_grad():
        for case in cases():
            if arguments.case in case.name:
                print(measure(model, executor, rival, case, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
