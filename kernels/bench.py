"""How fast: layers and whole networks, sparse beside dense in the same layout, one CSV.

A speed-up is printed only where the result of the very same inputs was right. Dense and sparse runs are
interleaved and their medians compared. On a processor the time is the thread's own (a busy machine steals
wall time, not that); on a GPU it is wall time around a synchronisation. One thread.
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from kernels.allocator import keep_freed_memory
from kernels.executor import SparseExecutor
from kernels.ops import registry
from kernels.ops.maps import Window, list_tiles

FRACTIONS = (0.05, 0.10, 0.25, 0.50, 0.75, 1.0)
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution to measure: channels, kernel, stride, groups, side of its output, active tile."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int
    size: int
    tile: int

    @property
    def name(self) -> str:
        kind = "depthwise " if self.groups > 1 else ""
        stride = f" /{self.stride}" if self.stride > 1 else ""
        return f"{kind}{self.inputs}→{self.outputs} {self.kernel}×{self.kernel}{stride} @{self.size}"


LAYERS = (
    Layer(32, 32, 3, 1, 1, 256, 16),
    Layer(64, 64, 3, 1, 1, 128, 16),
    Layer(128, 128, 3, 1, 1, 64, 16),
    Layer(256, 256, 3, 1, 1, 32, 16),
    Layer(64, 64, 1, 1, 1, 128, 16),
    Layer(3, 16, 3, 2, 1, 320, 8),
    Layer(16, 32, 3, 2, 1, 160, 4),
    Layer(16, 8, 3, 1, 1, 160, 4),
    Layer(64, 64, 3, 1, 1, 80, 2),
    Layer(128, 128, 3, 1, 1, 40, 1),
    Layer(256, 256, 1, 1, 1, 20, 1),
    Layer(80, 80, 3, 1, 80, 80, 2),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        subject: the layer or network.
        pattern: how the active blocks lie: "random" or "clustered".
        fraction: share of active tiles or blocks.
        dense_s, sparse_s: medians; sparse with everything that a frame needs, the cache moved included.
        ratio: sparse / dense, None unless the result was right.
        error: largest difference as a share of the output's range.
    """

    device: str
    backend: str
    subject: str
    pattern: str
    fraction: float
    dense_s: float
    sparse_s: float
    ratio: float | None
    error: float


def active_set(rows: int, columns: int, fraction: float, pattern: str, seed: int) -> torch.Tensor:
    """A bool (rows, columns) mask with `fraction` True, scattered or in squares of a sixth of the side.

    Raises:
        ValueError: unknown pattern.
    """
    generator = torch.Generator().manual_seed(seed)
    count = max(1, round(fraction * rows * columns))
    mask = torch.zeros(rows * columns, dtype=torch.bool)
    if pattern == "random":
        mask[torch.randperm(rows * columns, generator=generator)[:count]] = True
        return mask.view(rows, columns)
    if pattern != "clustered":
        raise ValueError(f"pattern must be 'random' or 'clustered' (got {pattern!r})")
    score = torch.full((rows, columns), float("inf"))
    y, x = torch.arange(rows)[:, None], torch.arange(columns)[None, :]
    for _ in range(3):
        top = float(torch.rand((), generator=generator)) * rows
        left = float(torch.rand((), generator=generator)) * columns
        score = torch.minimum(score, torch.maximum((y - top).abs(), (x - left).abs()))
    mask[score.flatten().argsort(stable=True)[:count]] = True
    return mask.view(rows, columns)


def interleaved(runs: Sequence[Callable[[], object]], repeats: int, device: str) -> list[float]:
    """Median seconds of each run, taken in turns so that none has the quiet moments to itself."""
    clock = time.thread_time if device == "cpu" else time.perf_counter
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 1):
        for index, run in enumerate(runs):
            start = clock()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            if repeat > 0:  # the first round warms caches and libraries up
                times[index].append(clock() - start)
    return [statistics.median(one) for one in times]


def measure_layer(layer: Layer, device: str, backend: str | None, repeats: int) -> list[Row]:
    """One convolution with bias and SiLU at every fraction, against torch's in channels_last."""
    generator = torch.Generator().manual_seed(0)
    kernel, stride = (layer.kernel,) * 2, (layer.stride,) * 2
    window = Window(kernel, stride, (layer.kernel // 2,) * 2)
    weight = torch.randn(layer.outputs, layer.inputs // layer.groups, *kernel, generator=generator) * 0.1
    bias = torch.randn(layer.outputs, generator=generator)
    side = layer.size * layer.stride
    source = torch.randn(side, side, layer.inputs, generator=generator).to(device)
    weight, bias = weight.to(device), bias.to(device)
    choice = registry.choose(
        "convolve",
        device,
        backend,
        dtype=torch.float32,
        groups=layer.groups,
        in_channels=layer.inputs,
        out_channels=layer.outputs,
        kernel=kernel,
        stride=stride,
        dilation=(1, 1),
        activation="silu",
    )
    packed = choice.module.pack_convolution(weight, bias, window, layer.groups, "silu")
    out = torch.zeros(layer.size, layer.size, layer.outputs, device=device)
    image = source.permute(2, 0, 1)[None]
    last = weight.contiguous(memory_format=torch.channels_last)

    def dense() -> torch.Tensor:
        made = functional.conv2d(image, last, bias, stride, window.padding, 1, layer.groups)
        return functional.silu(made, inplace=True)

    wanted = dense()[0].permute(1, 2, 0)
    tile = (layer.tile, layer.tile)
    blocks = layer.size // layer.tile
    labels, sets = [], []
    for fraction in FRACTIONS:
        for pattern in ("random", "clustered"):
            mask = active_set(blocks, blocks, fraction, pattern, seed=1)
            labels.append((fraction, pattern))
            sets.append((list_tiles(mask) * layer.tile).to(device).contiguous())
    errors = []
    for tiles in sets:
        out.fill_(float("nan"))
        choice.module.convolve(packed, source, tiles, tile, out)
        written = ~out.isnan().any(2)
        complete = int(written.sum()) == len(tiles) * layer.tile**2
        difference = float((out[written] - wanted[written]).abs().max() / wanted.abs().max())
        errors.append(difference if complete else float("inf"))
    runs: list[Callable[[], object]] = [dense]
    runs += [partial(choice.module.convolve, packed, source, tiles, tile, out) for tiles in sets]
    dense_s, *sparse = interleaved(runs, repeats, device)
    return [
        _row(device, choice.name, layer.name, pattern, fraction, dense_s, sparse_s, error)
        for (fraction, pattern), sparse_s, error in zip(labels, sparse, errors, strict=True)
    ]


def measure_network(name: str, size_px: int, device: str, backend: str | None, repeats: int) -> list[Row]:
    """A network under `fixed`, with motion, cache move included; dense is the module in channels_last."""
    from kernels.models import build_model

    torch.manual_seed(0)
    model = build_model(name).eval().to(device)
    frame = torch.rand(1, 3, size_px, size_px, device=device)
    executor = SparseExecutor(model, "fixed", backend)
    plain: nn.Module = build_model(name).eval().to(device)
    plain.load_state_dict(model.state_dict())
    plain.to(memory_format=torch.channels_last)
    image = frame.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        wanted = plain(image)
    made, cache = executor.dense(frame)
    blocks = size_px // 16
    vectors = torch.zeros(blocks, blocks, 2, dtype=torch.int32, device=device)
    vectors[:, :, 0] = 5
    vectors[blocks // 4 : blocks // 2, blocks // 4 : blocks // 2] = -7
    labels, sets = [], []
    for fraction in FRACTIONS:
        for pattern in ("random", "clustered"):
            labels.append((fraction, pattern))
            sets.append(active_set(blocks, blocks, fraction, pattern, seed=1).to(device))
    # The same inputs through the reference: what `fixed` computes has no dense twin to compare with.
    oracle = SparseExecutor(model, "fixed", "reference")
    _, before = oracle.dense(frame)
    errors = [max(_errors(made, wanted))] * len(sets)
    for index in range(0, len(sets), 5):
        one, _, _ = executor.sparse(frame, sets[index], vectors, cache)
        two, _, _ = oracle.sparse(frame, sets[index], vectors, before)
        errors[index] = max(errors[index], *_errors(one, two))

    def dense() -> object:
        with torch.no_grad():
            return plain(image)

    def sparse(active: torch.Tensor) -> None:
        _, after, _ = executor.sparse(frame, active, vectors, cache)
        after.settle()

    runs: list[Callable[[], object]] = [dense]
    runs += [partial(sparse, active) for active in sets]
    dense_s, *rest = interleaved(runs, repeats, device)
    used = ", ".join(sorted({choice.name for choice in executor.plan(frame).choices.values()}))
    return [
        _row(device, used, f"{name} @{size_px}", pattern, fraction, dense_s, sparse_s, error)
        for (fraction, pattern), sparse_s, error in zip(labels, rest, errors, strict=True)
    ]


def _errors(made: object, wanted: object) -> list[float]:
    from torch.utils import _pytree as pytree

    pairs = zip(pytree.tree_leaves(made), pytree.tree_leaves(wanted), strict=True)
    return [float((one - other).abs().max() / other.abs().max()) for one, other in pairs]


def _row(
    device: str,
    backend: str,
    subject: str,
    pattern: str,
    fraction: float,
    dense_s: float,
    sparse_s: float,
    error: float,
) -> Row:
    ratio = sparse_s / dense_s if error <= TOLERANCE else None
    return Row(device, backend, subject, pattern, fraction, dense_s, sparse_s, ratio, error)


def run(
    target: Path,
    device: str = "cpu",
    backend: str | None = None,
    repeats: int = 15,
    networks: Sequence[tuple[str, int]] = (("yolo11n-seg", 640),),
) -> list[Row]:
    """Measure everything, print a table, write `target` (CSV).

    Raises:
        RuntimeError: a result was wrong; the table then has no ratio for it.
    """
    keep_freed_memory()
    torch.set_num_threads(1)
    rows: list[Row] = []
    print(f"{'':34}" + "".join(f"{fraction:>7.0%}" for fraction in FRACTIONS) + "   sparse / dense")
    for layer in LAYERS:
        rows += _shown(measure_layer(layer, device, backend, repeats))
    for name, size_px in networks:
        rows += _shown(measure_network(name, size_px, device, backend, repeats))
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    print(f"{len(rows)} measurements in {target}")
    wrong = sorted({row.subject for row in rows if row.ratio is None})
    if wrong:
        raise RuntimeError(f"wrong results, no ratio: {', '.join(wrong)}")
    return rows


def _shown(rows: list[Row]) -> list[Row]:
    for pattern in ("random", "clustered"):
        cells = [row for row in rows if row.pattern == pattern]
        shown = "".join(f"{row.ratio:>7.2f}" if row.ratio is not None else "  wrong" for row in cells)
        dense_ms = cells[0].dense_s * 1e3
        print(f"{cells[0].subject:24}{pattern:10}{shown}   dense {dense_ms:.2f} ms", flush=True)
    return rows
