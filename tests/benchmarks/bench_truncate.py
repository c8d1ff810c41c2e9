"""Policy `truncate` against dense inference: ``python -m tests.benchmarks.bench_truncate [--rounds N]``.

YOLO11n-seg at 640 × 640 (random weights where the trained ones are not at hand), one thread, medians of
interleaved rounds of the thread's own time. Before anything is timed, ε = 0 must give the dense result to the
last bit where the camera stands still. "allowed" is (1 − reused) + 10 %: what a frame may cost.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from skimage import data, transform

from kernels import SparseExecutor
from kernels.allocator import keep_freed_memory
from kernels.bench.layers import active_set
from kernels.executor.calibration.truncation_profile import TruncationProfile, TruncationRow
from kernels.models import build_model, load_weights
from kernels.models.evaluation.evaluate import DAVIS_OBJECTS, mask_iou
from kernels.models.evaluation.evaluate_sparse import letterboxed
from kernels.models.predictions.results import interpret
from tests.benchmarks.bench_exact import (
    BLOCK_PX,
    DATA,
    GRID,
    SIZE_PX,
    Case,
    interleaved_ms,
    leaves,
    searched,
    tensor,
)

CONF = Path(__file__).parents[2] / "conf"
PROFILE = "profile"
EPSILONS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
STILL = [(pattern, share) for pattern in ("clustered", "random") for share in (0.02, 0.10, 0.25, 0.50)]


def constant(epsilon: float) -> TruncationProfile:
    return TruncationProfile((TruncationRow(0.0, 0.0, 0.0, epsilon),))


def still_cases() -> list[Case]:
    """A camera that stands still; some blocks show something else."""
    photograph = np.rint(transform.resize(data.astronaut(), (SIZE_PX, SIZE_PX), order=3) * 255)
    image = photograph.clip(0, 255).astype(np.uint8)
    other, still = image[::-1], torch.zeros(*GRID, 2, dtype=torch.int64)
    found = []
    for pattern, share in STILL:
        active = active_set(*GRID, share, pattern, seed=1)
        mask = active.numpy().repeat(BLOCK_PX, 0).repeat(BLOCK_PX, 1)
        frame = np.where(mask[..., None], other, image)
        found.append(Case(f"still, {share:.0%} {pattern}", image, frame, active, still))
    return found


def check(executor: SparseExecutor, case: Case) -> None:
    """ε = 0 and no motion: the dense result, bit by bit.

    Raises:
        AssertionError: it is not.
    """
    chosen, executor.truncation = executor.truncation, constant(0.0)
    expected, _ = executor.dense(tensor(case.frame))
    _, cache = executor.dense(tensor(case.reference))
    made, _, _ = executor.sparse(tensor(case.frame), case.active, case.vectors, cache)
    executor.truncation = chosen
    for one, two in zip(leaves(made), leaves(expected), strict=True):
        if not torch.equal(one, two):
            raise AssertionError(f"{case.name}: ε = 0 does not give the dense result")


def show(name: str, epsilon: str, reused: float, times_ms: tuple[float, float], iou: float) -> None:
    dense_ms, sparse_ms = times_ms
    print(
        f"{name:24} {epsilon:>7} {reused:6.3f} {dense_ms:8.1f} {sparse_ms:9.1f} {sparse_ms / dense_ms:6.2f}"
        f" {1.1 - reused:7.2f} {iou:10.3f}",
        flush=True,
    )


def measure_still(executor: SparseExecutor, case: Case, epsilon: float, rounds: int) -> None:
    """One frame after one reference."""
    executor.truncation = constant(epsilon)
    frame = tensor(case.frame)
    truth, _ = executor.dense(frame)
    _, cache = executor.dense(tensor(case.reference))
    made, _, report = executor.sparse(frame, case.active, case.vectors, cache)
    dense_ms, sparse_ms = interleaved_ms(
        [
            lambda: executor.dense(frame),
            lambda: executor.sparse(frame, case.active, case.vectors, cache),
        ],
        rounds,
    )
    results = [interpret(outputs, SIZE_PX, SIZE_PX).foreground for outputs in (made, truth)]
    reused = statistics.mean(report.reused.values())
    show(case.name, f"{epsilon:g}", reused, (dense_ms, sparse_ms), mask_iou(results[0], results[1]))


def measure_sequence(executor: SparseExecutor, name: str, cases: list[Case], epsilon: str) -> None:
    """Frame after frame, the cache moving along; means over frames, medians of times."""
    if epsilon == PROFILE:
        executor.truncation = TruncationProfile.load(CONF / "model" / "truncation" / "yolo11n-seg.json")
    else:
        executor.truncation = constant(float(epsilon))
    _, cache = executor.dense(tensor(cases[0].reference))
    rows = []
    for case in cases:
        frame = tensor(case.frame)
        began_s = time.thread_time()
        truth, _ = executor.dense(frame)
        between_s = time.thread_time()
        made, cache, report = executor.sparse(frame, case.active, case.vectors, cache)
        times_s = between_s - began_s, time.thread_time() - between_s
        results = [interpret(outputs, SIZE_PX, SIZE_PX).foreground for outputs in (made, truth)]
        rows.append((statistics.mean(report.reused.values()), *times_s, mask_iou(results[0], results[1])))
    reused, dense, sparse, iou = (list(column) for column in zip(*rows, strict=True))
    times_ms = 1e3 * statistics.median(dense), 1e3 * statistics.median(sparse)
    show(name, epsilon, statistics.mean(reused), times_ms, statistics.mean(iou))


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Policy truncate against dense inference, YOLO11n-seg, 640²."
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=16, help="of each sequence")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    model = build_model("yolo11n-seg")
    weights = DATA / "weights" / "yolo11n-seg_fused_fp16.safetensors"
    if weights.exists():
        model = load_weights(model, weights)
    executor = SparseExecutor(model.eval(), "truncate", block_px=BLOCK_PX)
    print(f"{'':24} {'ε':>7} reused dense/ms sparse/ms ×dense allowed foreground")
    for case in still_cases():
        check(executor, case)
        for epsilon in (0.05, 0.2):
            measure_still(executor, case, epsilon, arguments.rounds)
    for name in DAVIS_OBJECTS:
        folder = DATA / "videos" / "davis" / name
        if not folder.is_dir():
            continue
        images = letterboxed(folder, SIZE_PX, arguments.frames)
        cases = [searched(name, *pair) for pair in pairwise(images)]
        for epsilon in (*map(str, EPSILONS), PROFILE):
            measure_sequence(executor, f"DAVIS {name}", cases, epsilon)


if __name__ == "__main__":
    main()
