"""Policies of reuse tried on real video: ``python -m tests.benchmarks.bench_reuse [--only TEXT]``.

YOLO11n-seg at 640 × 640, each frame reusing the one before, no dense refresh after the first. Policies are
chosen on the first half of each of four DAVIS sequences; what is chosen is reported on the other half
(``--half report``). One row a policy: agreement and foreground IoU with dense inference, the share of
multiply-adds that is computed, with ``--time`` the thread's own time over that of ``executor.dense``, in
turns, settling included.

What dense inference and motion search find is kept in ``--cache``, so that a policy takes seconds. The rows
of ``kernels/models/evaluation/tables/reuse_policies.csv`` were made by this.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label

from kernels import SparseExecutor
from kernels.executor.graph.nodes import Convolution, TransposedConvolution
from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.policies import SparseRequest
from kernels.executor.policies.adaptive import moved_blocks
from kernels.executor.policies.fixed import run_fixed
from kernels.executor.state.active_sets import HostActiveSets, decide_active_sets
from kernels.executor.state.margins import grown
from kernels.models import build_model, load_weights
from kernels.models.evaluation.evaluate import DAVIS_OBJECTS, mask_iou
from kernels.models.evaluation.evaluate_sparse import SALIENT_OUTPUTS, letterboxed
from kernels.models.predictions.decoding import assemble_masks, box_iou, decode
from kernels.models.predictions.results import Segmentation, interpret
from kernels.models.predictions.tasks import agreement
from kernels.motion.global_motion import estimate_global_motion
from kernels.motion.image_pyramid import build_pyramid
from kernels.motion.salience import block_thresholds, salient_blocks
from kernels.motion.search import search_motion
from kernels.motion.warp import warp_image
from tests.benchmarks.reuse_policies import Policy, policies

DATA = Path(__file__).parents[3] / "shared" / "data"
TABLE = Path(__file__).parents[2] / "kernels/models/evaluation/tables/reuse_policies.csv"
SIZE_PX, BLOCK_PX, FRAMES = 640, 16, 60
GRID = (SIZE_PX // BLOCK_PX, SIZE_PX // BLOCK_PX)
USUAL_SHARE = 0.15  # of blocks that are active
Blocks = NDArray[np.bool_]


@dataclass(frozen=True)
class Sequence:
    """Frames (n, H, W, 3) uint8, the classes that dense inference finds, the fields to the frame before."""

    images: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    vectors: NDArray[np.int16]
    difference: NDArray[np.float32]

    @classmethod
    def of(cls, folder: Path, executor: SparseExecutor, cache: Path) -> Sequence:
        """Read from `cache`, or made and written there."""
        path = cache / f"{folder.name}.npz"
        if not path.is_file():
            rows: list[tuple[Any, ...]] = []
            before = None
            for image in letterboxed(folder, SIZE_PX, FRAMES):
                levels = build_pyramid(image)
                vectors, difference = np.zeros((*GRID, 2), np.int16), np.zeros(GRID, np.float32)
                if before is not None:
                    moved = np.full((*GRID, 2), estimate_global_motion(levels, before), np.int16)
                    vectors, difference = search_motion(levels, before, BLOCK_PX, predicted=moved)
                found = interpret(executor.dense(tensor(image))[0], SIZE_PX, SIZE_PX)
                assert isinstance(found, Segmentation)
                rows.append((image, found.classes, vectors, difference))
                before = levels
            names = [one.name for one in fields(cls)]
            cache.mkdir(parents=True, exist_ok=True)
            np.savez(
                path,
                **{name: np.stack(part) for name, part in zip(names, zip(*rows, strict=True), strict=True)},
            )
        with np.load(path) as stored:
            return cls(*(stored[one.name] for one in fields(cls)))


def tensor(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


class Chooser:
    """The active and the salient blocks of one frame after another, and what is remembered for that."""

    def __init__(self, policy: Policy, first: NDArray[np.uint8]) -> None:
        self.policy = policy
        self.summed, self.age = np.zeros(GRID, np.float32), np.zeros(GRID, int)
        self.behind = np.zeros(GRID, bool)
        self.past: list[Blocks] = []
        self.factor = 1.0  # of τ
        self.wide = np.zeros(GRID, bool)  # the active blocks, or quarters of some, that have a margin
        self.assembled = self.moved = self.image = self.before = first

    def choose(
        self,
        image: NDArray[np.uint8],
        vectors: NDArray[np.int16],
        difference: NDArray[np.float32],
        outputs: Any,
    ) -> tuple[Blocks, Blocks]:
        """Active blocks, and those at which fine layers are computed, after a result."""
        policy = self.policy
        if policy.assembled:
            self.image, self.moved = image, warp_image(self.assembled, vectors, BLOCK_PX)
            pixels = np.abs(image.astype(np.int16) - self.moved).mean(2) / 255
            difference = pixels.reshape(GRID[0], BLOCK_PX, GRID[1], BLOCK_PX).mean((1, 3)).astype(np.float32)
        moves = torch.from_numpy(vectors.astype(np.int64))
        places = torch.arange(GRID[0] * GRID[1]).view(GRID)
        came_from = moved_blocks(places, moves, BLOCK_PX)
        assert came_from is not None
        there = came_from.numpy()
        self.summed = self.summed.flat[there] + difference
        self.age = self.age.flat[there] + 1
        self.past = [past.flat[there] for past in self.past]
        salient = self._salient(found(outputs, policy.score), vectors, policy.reach)
        fine = salient
        if policy.fine_reach is not None:
            score = policy.score if policy.fine_score is None else policy.fine_score
            fine = salient_blocks(found(outputs, score), vectors, BLOCK_PX, policy.fine_reach)
        near = policy.elsewhere if policy.near is None else policy.near
        thresholds = self.factor * block_thresholds(salient, near, policy.elsewhere)
        if policy.doubtful is not None:
            doubtful = salient_blocks(_doubted(outputs), vectors, BLOCK_PX, 1)
            thresholds[doubtful] = policy.doubtful
            salient = salient | doubtful
        active: Blocks = difference >= thresholds
        if policy.share:
            worth = self.summed * np.where(salient, policy.weight, 1.0)
            count = int(policy.share * worth.size)
            active = worth >= max(float(np.partition(worth.ravel(), -count)[-count]), 1e-9)
        limit_near = policy.summed if policy.summed_near is None else policy.summed_near
        active = active | (self.summed >= np.where(salient, limit_near, policy.summed))
        if policy.age:
            active = active | (self.age >= policy.age)
        if policy.age_near:
            active = active | ((self.age >= policy.age_near) & salient)
        if policy.least:
            groups, _ = label(active, np.ones((3, 3)))
            active = active & ((np.bincount(groups.ravel())[groups] > policy.least) | salient)
        if policy.fine:
            self.behind = self.behind.flat[there]
            active = active | (self.behind & fine)
        self.wide = active
        if policy.margins == "salient":
            self.wide = active & salient
        elif policy.margins == "strong":
            self.wide = active & (difference >= block_thresholds(salient, policy.strong_near, policy.strong))
        elif policy.margins == "changed":
            moved = warp_image(self.before, vectors, BLOCK_PX)
            self.before = image
            of_cells = _cell_means(np.abs(image.astype(np.int16) - moved).mean(2) / 255)
            limits = in_quarters(block_thresholds(salient, policy.strong_near, policy.strong))
            self.wide = in_quarters(active) & (of_cells >= limits)
        if policy.steady:
            share = max(float(active.mean()), 1e-3)
            self.factor = min(2.0, max(0.5, (share / USUAL_SHARE) ** policy.steady))
        return active, fine

    def _salient(self, foreground: Blocks, vectors: NDArray[np.int16], reach: int) -> Blocks:
        if not self.policy.lasting:
            return salient_blocks(foreground, vectors, BLOCK_PX, reach)
        self.past = [*self.past, salient_blocks(foreground, vectors, BLOCK_PX, 0)][-self.policy.lasting :]
        together = np.any(self.past, axis=0).repeat(BLOCK_PX, 0).repeat(BLOCK_PX, 1)
        return salient_blocks(together, np.zeros_like(vectors), BLOCK_PX, reach)

    def computed(self, blocks: Blocks, fine: Blocks) -> None:
        """What was computed, and where the fine layers were."""
        self.summed[blocks], self.age[blocks] = 0, 0
        self.behind = (self.behind | blocks) & ~fine
        if self.policy.assembled:
            of_pixels = blocks.repeat(BLOCK_PX, 0).repeat(BLOCK_PX, 1)[..., None]
            self.assembled = np.where(of_pixels, self.image, self.moved)


def in_quarters(blocks: NDArray[Any]) -> NDArray[Any]:
    """Values of blocks for each of their four quarters."""
    return blocks.repeat(2, 0).repeat(2, 1)


def _cell_means(pixels: NDArray[Any]) -> NDArray[Any]:
    rows, columns, side_px = 2 * GRID[0], 2 * GRID[1], BLOCK_PX // 2
    means: NDArray[Any] = pixels.reshape(rows, side_px, columns, side_px).mean((1, 3))
    return means


def found(outputs: Any, score: float) -> Blocks:
    return interpret(outputs, SIZE_PX, SIZE_PX, score_threshold=score).foreground


def _doubted(outputs: Any) -> Blocks:
    seen = decode(outputs, score_threshold=0.05)
    likely = seen.scores > 0.12
    rival = (box_iou(seen.boxes, seen.boxes) > 0.5) & (seen.classes[:, None] != seen.classes[None])
    rival &= (seen.scores[:, None] - seen.scores[None]).abs() < 0.25
    doubted = likely & ((seen.scores < 0.42) | rival.any(1))
    if not bool(doubted.any()):
        return np.zeros((SIZE_PX, SIZE_PX), bool)
    masks: Blocks = assemble_masks(seen[doubted], outputs["prototypes"][0], SIZE_PX, SIZE_PX).numpy()
    return masks.any(0)


def host_sets(
    plan: ExecutionPlan, policy: Policy, request: SparseRequest, fine: Blocks, wide: Blocks
) -> HostActiveSets:
    """The active sets with the policy's margins; `wide`: the active blocks that have one."""
    inner_px = policy.margin_px if policy.fine_margin_px is None else policy.fine_margin_px
    made = {}
    for resolutions, active, margin_px in (
        (plan.everywhere, request.active, policy.margin_px),
        (plan.salient_only, request.active & torch.from_numpy(fine), inner_px),
    ):
        for key, resolution in resolutions.items():
            own_px, blocks = policy.margin_at(int(resolution.scale_y), margin_px), active
            vectors, block_px = request.vectors, BLOCK_PX
            if policy.margins == "changed" and margin_px:
                blocks, own_px = _around_quarters(active, torch.from_numpy(wide), own_px), 0
                if resolution.scale_y <= BLOCK_PX // 2:
                    block_px, vectors = BLOCK_PX // 2, torch.from_numpy(in_quarters(vectors.numpy()))
                else:  # a position covers whole blocks
                    blocks = blocks.view(GRID[0], 2, GRID[1], 2).any(3).any(1)
            elif policy.margins != "all" and margin_px:
                stride_px = BLOCK_PX if policy.margins == "blocks" else int(resolution.scale_y)
                blocks, own_px = _partly_wide(active, torch.from_numpy(wide), own_px, stride_px), 0
            made.update(
                decide_active_sets(
                    {key: resolution},
                    blocks,
                    vectors,
                    block_px,
                    False,
                    request.cache.residuals,
                    margin_px=own_px,
                ).by_resolution
            )
    return HostActiveSets(made, int(request.active.sum()))


def _around_quarters(active: torch.Tensor, quarters: torch.Tensor, margin_px: int) -> torch.Tensor:
    """The active blocks and everything within the margin of some quarters of theirs, in quarters."""
    reach = -(-2 * margin_px // BLOCK_PX)
    return torch.from_numpy(in_quarters(active.numpy())) | grown(quarters, reach, reach)


def _partly_wide(active: torch.Tensor, wide: torch.Tensor, margin_px: int, stride_px: int) -> torch.Tensor:
    """The active blocks and, around the wide ones, those within the margin, in positions."""
    each = max(1, stride_px // BLOCK_PX)  # blocks of a position, along an axis
    reach = -(-margin_px // (each * BLOCK_PX))

    def positions(blocks: torch.Tensor) -> torch.Tensor:
        return blocks.view(GRID[0] // each, each, GRID[1] // each, each).any(3).any(1)

    made = positions(active) | grown(positions(wide), reach, reach)
    return made.repeat_interleave(each, 0).repeat_interleave(each, 1)


def multiply_adds(plan: ExecutionPlan) -> Mapping[str, int]:
    """Of every convolution of a plan."""
    counts = {}
    for index in plan.reported:
        node = plan.nodes[index]
        if isinstance(node.operation, (Convolution, TransposedConvolution)):
            patches = isinstance(node.operation, TransposedConvolution)
            height, width, _ = plan.nodes[node.inputs[0] if patches else index].map_shape()
            counts[node.name] = height * width * node.operation.weight.numel()
    return counts


def run(
    executor: SparseExecutor, sequence: Sequence, frames: range, policy: Policy, timed: bool
) -> tuple[float, ...]:
    """Active blocks, multiply-adds, agreement, foreground IoU (means), dense and sparse time (medians)."""
    first = tensor(sequence.images[frames[0]])
    outputs, cache = executor.dense(first)
    plan, pool = cache.plan, cache._pool
    counts = multiply_adds(plan)
    chooser, rows = Chooser(policy, sequence.images[frames[0]]), []
    for index in frames[1:]:
        frame, vectors = tensor(sequence.images[index]), sequence.vectors[index]
        active, fine = chooser.choose(sequence.images[index], vectors, sequence.difference[index], outputs)
        moves = torch.from_numpy(vectors.astype(np.int64))
        request = SparseRequest(
            frame, torch.from_numpy(active), moves, cache, BLOCK_PX, 1.0, policy.margin_px
        )
        dense_s = math.nan
        if timed:
            began_s = time.thread_time()
            executor.dense(frame)
            dense_s = time.thread_time() - began_s
        began_s = time.thread_time()
        with torch.no_grad():
            runner, cache, report = run_fixed(
                plan, pool, request, host_sets(plan, policy, request, fine, chooser.wide)
            )
            outputs = runner.outputs()
        sparse_s = time.thread_time() - began_s
        inner = active & fine
        computed = request.computed.numpy()
        if policy.margins == "changed":
            around = _around_quarters(request.active, torch.from_numpy(chooser.wide), policy.margin_px)
            computed = around.view(GRID[0], 2, GRID[1], 2).any(3).any(1).numpy()
        elif policy.margins != "all":
            wide = torch.from_numpy(chooser.wide)
            computed = _partly_wide(request.active, wide, policy.margin_px, BLOCK_PX).numpy()
        chooser.computed(computed, inner if policy.fine_margin_px == 0 else computed & fine)
        result, truth = interpret(outputs, SIZE_PX, SIZE_PX), Segmentation(sequence.classes[index])
        share = sum(count * (1 - report.reused[name]) for name, count in counts.items()) / sum(
            counts.values()
        )
        overlap = mask_iou(result.foreground, truth.foreground)
        rows.append((active.mean(), share, agreement(result, truth), overlap, dense_s, sparse_s))
    columns = np.array(rows)
    return (*columns[:, :4].mean(0).tolist(), *np.median(columns[:, 4:], axis=0).tolist())


def measured(
    half: str, sequences: Mapping[str, Sequence], chosen: list[Policy], timed: bool
) -> Iterator[dict[str, str]]:
    """One row a policy: means over sequences."""
    torch.set_num_threads(1)
    weights = DATA / "weights" / "yolo11n-seg_fused_fp16.safetensors"
    model = load_weights(build_model("yolo11n-seg"), weights).eval()
    executors = {
        False: SparseExecutor(model, "fixed"),
        True: SparseExecutor(model, "adaptive", salient_outputs=SALIENT_OUTPUTS),
    }
    for policy in chosen:
        found_rows = []
        for sequence in sequences.values():
            count = len(sequence.images)
            part = range(count // 2) if half == "research" else range(count // 2, count)
            found_rows.append(run(executors[policy.fine], sequence, part, policy, timed))
        active, share, agreed, overlap, dense_s, sparse_s = np.mean(found_rows, axis=0)
        ratio = "" if math.isnan(dense_s) else f"{sparse_s / dense_s:.3f}"
        yield {
            "policy": str(policy),
            "half": half,
            "active": f"{active:.3f}",
            "multiply_adds": f"{share:.3f}",
            "agreement": f"{agreed:.3f}",
            "iou_foreground": f"{overlap:.3f}",
            "time": ratio,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("research", "report"), default="research")
    parser.add_argument("--only", default="", help="policies whose name contains this")
    parser.add_argument("--time", action="store_true", help="time against executor.dense as well")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "bench_reuse")
    parser.add_argument("--output", type=Path, default=TABLE)
    chosen = parser.parse_args()
    weights = DATA / "weights" / "yolo11n-seg_fused_fp16.safetensors"
    executor = SparseExecutor(load_weights(build_model("yolo11n-seg"), weights).eval(), "fixed")
    folders = [DATA / "videos" / "davis" / name for name in DAVIS_OBJECTS]
    sequences = {folder.name: Sequence.of(folder, executor, chosen.cache) for folder in folders}
    tried = [policy for policy in policies() if chosen.only in str(policy)]
    with chosen.output.open("w", newline="", encoding="utf-8") as stream:
        writer: Any = None
        for row in measured(chosen.half, sequences, tried, chosen.time):
            writer = writer or csv.DictWriter(stream, list(row), lineterminator="\n")
            if stream.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
            stream.flush()
            print("  ".join(row.values()), flush=True)


if __name__ == "__main__":
    main()
