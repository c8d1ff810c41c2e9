"""How long sparse runs of many architectures take, over dense ones, and what batches of cameras gain.

One thread, the thread's own time, medians of interleaved runs. The camera stands still; a tenth of the blocks
shows something else, in three squares. A time is taken only after the dense result was found to be the
module's.
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from kernels.allocator import keep_freed_memory
from kernels.bench.architectures import ARCHITECTURES, SIZES, build, frame_channels
from kernels.bench.layers import BenchmarkSetting, active_set, interleaved
from kernels.executor import SparseExecutor

TABLES = Path(__file__).parent / "tables"
RATIOS, BATCHES = TABLES / "architectures.csv", TABLES / "batches.csv"
SHARE, BLOCK_PX, TOLERANCE = 0.10, 16, 1e-3
MOST = 1.05  # of dense, and of `truncate` over `exact`, without a word why
BATCH_SIZES = (1, 2, 4, 8)
POLICIES = ("exact", "truncate", "fixed")  # adaptive without salient outputs is fixed with a margin

# Why a policy takes longer than a dense run, or `truncate` longer than `exact`, where it does.
WHY: dict[tuple[str, str], str] = {}


@dataclass(frozen=True, slots=True)
class RatioRow:
    """An architecture under a policy at a frame size.

    Attributes:
        dense_ms, sparse_ms, ratio: times, and the second over the first.
        over_exact: of `truncate`, the median of interleaved ratios of its time over that of `exact`.
        why: if slower than dense, or than `exact`.
    """

    architecture: str
    height: int
    width: int
    policy: str
    dense_ms: float
    sparse_ms: float
    ratio: float
    over_exact: float | None
    why: str


@dataclass(frozen=True, slots=True)
class BatchRow:
    """N cameras of an architecture in one call, over N calls: their times in ms, dense and sparse."""

    architecture: str
    policy: str
    cameras: int
    call_ms: float
    calls_ms: float
    ratio: float


def pair(
    channels: int, size: tuple[int, int], seed: int = 1
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A reference and a frame (1, C, H, W), and the blocks in which they differ."""
    generator = torch.Generator().manual_seed(seed)
    reference, other = torch.rand(2, 1, channels, *size, generator=generator)
    grid = -(-size[0] // BLOCK_PX), -(-size[1] // BLOCK_PX)
    active = active_set(*grid, SHARE, "clustered", seed)
    mask = active.repeat_interleave(BLOCK_PX, 0).repeat_interleave(BLOCK_PX, 1)[: size[0], : size[1]]
    return reference, torch.where(mask, other, reference), active


def measure(name: str, size: tuple[int, int], repeats: int) -> list[RatioRow]:
    """An architecture under every policy.

    Raises:
        RuntimeError: a dense result is not the module's.
    """
    model = build(name)
    reference, frame, active = pair(frame_channels(name), size)
    vectors = torch.zeros(*active.shape, 2, dtype=torch.int64)
    rows = []
    # Dense frames are another executor's, so that memory is used again as it is between sparse frames.
    rival = SparseExecutor(model, "fixed", block_px=BLOCK_PX)
    _check(name, rival.dense(frame)[0], model(frame))
    sparse: dict[str, Callable[[], object]] = {}
    for policy in POLICIES:
        executor = SparseExecutor(model, policy, block_px=BLOCK_PX)
        _, cache = executor.dense(reference)
        sparse[policy] = partial(_settled, executor, frame, active, vectors, cache)
        runs = partial(rival.dense, frame), sparse[policy]
        dense_s, sparse_s = interleaved(runs, BenchmarkSetting(repeats=repeats))
        ratio, over_exact = round(sparse_s / dense_s, 2), None
        if policy == "truncate":
            over_exact = round(paired_ratio(sparse["truncate"], sparse["exact"], repeats), 2)
        why = WHY.get((name, policy), "") if max(ratio, over_exact or 0.0) > MOST else ""
        times_ms = round(1e3 * dense_s, 2), round(1e3 * sparse_s, 2)
        rows.append(RatioRow(name, *size, policy, *times_ms, ratio, over_exact, why))
    return rows


def paired_ratio(one: Callable[[], object], other: Callable[[], object], repeats: int) -> float:
    """The median, over rounds of both in turn, of the thread time of one over that of the other."""
    ratios = []
    for repeat in range(repeats + 1):
        times_s = []
        for run_once in (one, other):
            start_s = time.thread_time()
            run_once()
            times_s.append(time.thread_time() - start_s)
        if repeat > 0:  # the first round warms caches up
            ratios.append(times_s[0] / times_s[1])
    return statistics.median(ratios)


def measure_batch(name: str, policy: str, repeats: int) -> list[BatchRow]:
    """N cameras in one call against one call each; their references differ, their blocks too."""
    model, rows = build(name), []
    executor = SparseExecutor(model, policy, block_px=BLOCK_PX)
    for count in BATCH_SIZES:
        made = [pair(frame_channels(name), SIZES[0], seed) for seed in range(count)]
        frames, active = torch.cat([frame for _, frame, _ in made]), torch.stack([one for *_, one in made])
        vectors = torch.zeros(*active.shape, 2, dtype=torch.int64)
        caches = [executor.dense(reference)[1] for reference, _, _ in made]

        def apart(
            frames: torch.Tensor = frames,
            active: torch.Tensor = active,
            vectors: torch.Tensor = vectors,
            caches: Sequence[Any] = tuple(caches),
        ) -> None:
            for camera, cache in enumerate(caches):
                frame = frames[camera : camera + 1]
                _settled(executor, frame, active[camera], vectors[camera], cache)

        together: Callable[[], object] = partial(_settled, executor, frames, active, vectors, caches)
        call_s, calls_s = interleaved((together, apart), BenchmarkSetting(repeats=repeats))
        times = round(1e3 * call_s, 2), round(1e3 * calls_s, 2)
        rows.append(BatchRow(name, policy, count, *times, round(call_s / calls_s, 2)))
    return rows


def _settled(
    executor: SparseExecutor, frame: torch.Tensor, active: torch.Tensor, vectors: torch.Tensor, cache: Any
) -> None:
    """A sparse run with everything that it leaves to be done."""
    _, made, _ = executor.sparse(frame, active, vectors, cache)
    for one in made if isinstance(made, list) else [made]:
        one.settle()


def _check(name: str, made: Any, wanted: Any) -> None:
    for one, other in zip(pytree.tree_leaves(made), pytree.tree_leaves(wanted), strict=True):
        if float((one - other).abs().max()) > TOLERANCE * float(other.abs().max()):
            raise RuntimeError(f"{name}: the dense result is not the module's")


def run(repeats: int = 9, names: Sequence[str] = tuple(ARCHITECTURES)) -> None:
    """Measure everything, print it and write both tables.

    Raises:
        RuntimeError: a wrong result, or a run that is slower than dense, or under `truncate` than under
            `exact`, and has no word in `WHY`.
    """
    keep_freed_memory()
    torch.set_num_threads(1)
    ratios: list[RatioRow] = []
    with torch.no_grad():
        for name in names:
            for size in SIZES:
                made = measure(name, size, repeats)
                ratios += made
                shown = "  ".join(f"{row.policy} {row.ratio:.2f}" for row in made)
                print(f"{name:42}{size[1]}×{size[0]}  dense {made[0].dense_ms:6.1f} ms  {shown}", flush=True)
        batches = [row for policy in POLICIES for row in measure_batch("partial (YOLO)", policy, repeats)]
    for row in batches:
        apart = f"{row.calls_ms:.1f} ms in as many calls ({row.ratio:.2f})"
        print(f"{row.policy:9}{row.cameras} cameras: {row.call_ms:.1f} ms, {apart}")
    write(RATIOS, ratios, RatioRow)
    write(BATCHES, batches, BatchRow)
    slow = [
        f"{row.architecture}, {row.policy}: {row.ratio} of dense, {row.over_exact or 0} of exact"
        for row in ratios
        if max(row.ratio, row.over_exact or 0.0) > MOST and not row.why
    ]
    if slow:
        raise RuntimeError(f"slow, and no word why: {'; '.join(slow)}")


def write(target: Path, rows: Sequence[Any], kind: type) -> None:
    """Rows as CSV."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(kind)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def page_tables() -> str:
    """Both tables as Markdown, for the executor's page."""
    heads = [*(f"`{policy}`" for policy in POLICIES), "`truncate` over `exact`", "why"]
    lines = [f"| architecture | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    with RATIOS.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in dict.fromkeys(row["architecture"] for row in rows):
        own = [row for row in rows if row["architecture"] == name]
        cells = [
            " / ".join(f"{float(row['ratio']):.2f}" for row in own if row["policy"] == policy)
            for policy in POLICIES
        ]
        cells.append(" / ".join(f"{float(row['over_exact']):.2f}" for row in own if row["over_exact"]))
        why = "; ".join(dict.fromkeys(f"{row['policy']}: {row['why']}" for row in own if row["why"]))
        lines.append(f"| {name} | {' | '.join(cells)} | {why} |")
    with BATCHES.open(encoding="utf-8") as file:
        batches = list(csv.DictReader(file))
    counts = list(dict.fromkeys(row["cameras"] for row in batches))
    lines += [
        "",
        "| N cameras in one call, over N calls | " + " | ".join(f"N = {count}" for count in counts) + " |",
    ]
    lines.append("|---|" + "---|" * len(counts))
    for policy in POLICIES:
        cells = [f"{float(row['ratio']):.2f}" for row in batches if row["policy"] == policy]
        lines.append(f"| `{policy}` | {' | '.join(cells)} |")
    return "\n".join(lines)
