"""Benchmarks of layers and whole networks, sparse against dense in the same layout, as one CSV.

A speed-up is printed only where the result of the very same inputs was right. Dense and sparse runs are
interleaved and their medians compared. Times are the thread's own on the CPU (a busy machine adds to
wall time, not to them), and wall time around a synchronisation on a GPU. One thread.
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
from kernels.torch_versions import tree_leaves

PATTERNS = ("random", "clustered")
FRACTIONS = (0.05, 0.10, 0.25, 0.50, 0.75, 1.0)
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class ConvolutionCase:
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
    ConvolutionCase(32, 32, 3, 1, 1, 256, 16),
    ConvolutionCase(64, 64, 3, 1, 1, 128, 16),
    ConvolutionCase(128, 128, 3, 1, 1, 64, 16),
    ConvolutionCase(256, 256, 3, 1, 1, 32, 16),
    ConvolutionCase(64, 64, 1, 1, 1, 128, 16),
    ConvolutionCase(3, 16, 3, 2, 1, 320, 8),
    ConvolutionCase(16, 32, 3, 2, 1, 160, 4),
    ConvolutionCase(16, 8, 3, 1, 1, 160, 4),
    ConvolutionCase(64, 64, 3, 1, 1, 80, 2),
    ConvolutionCase(128, 128, 3, 1, 1, 40, 1),
    ConvolutionCase(256, 256, 1, 1, 1, 20, 1),
    ConvolutionCase(80, 80, 3, 1, 80, 80, 2),
)


@dataclass(frozen=True, slots=True)
class BenchmarkSetting:
    """Where and how to measure: device, backend (None: the best), precision, repeats of each run."""

    device: str = "cpu"
    backend: str | None = None
    dtype: torch.dtype = torch.float32
    repeats: int = 15


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """One measurement.

    Attributes:
        subject: the layer or network.
        pattern: how the active blocks lie: "random" or "clustered".
        fraction: share of active tiles or blocks.
        dense_s: median of torch's dense run.
        result_s: median until the sparse result is out.
        sparse_s: median with everything that a frame needs, the cache moved along the vectors included.
        ratio: sparse_s / dense_s, None unless the result was right.
        error: largest difference as a share of the output's range.
        tolerance: what is allowed; in half precision twice the error of torch's own half precision.
    """

    device: str
    backend: str
    dtype: str
    subject: str
    pattern: str
    fraction: float
    dense_s: float
    result_s: float
    sparse_s: float
    ratio: float | None
    error: float
    tolerance: float


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


def interleaved(runs: Sequence[Callable[[], object]], setting: BenchmarkSetting) -> list[float]:
    """Median seconds of each run, taken in turns so that none has the quiet moments to itself."""
    on_gpu = setting.device != "cpu"
    clock = time.perf_counter if on_gpu else time.thread_time
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(setting.repeats + 1):
        for index, run in enumerate(runs):
            start = clock()
            run()
            if on_gpu:
                torch.cuda.synchronize()
            if repeat > 0:  # the first round warms caches and libraries up
                times[index].append(clock() - start)
    return [statistics.median(one) for one in times]


def measure_layer(layer: ConvolutionCase, setting: BenchmarkSetting) -> list[BenchmarkRow]:
    """One convolution with bias and SiLU at every fraction, against torch's in channels_last."""
    device, dtype = setting.device, setting.dtype
    generator = torch.Generator().manual_seed(0)
    kernel, stride = (layer.kernel,) * 2, (layer.stride,) * 2
    window = Window(kernel, stride, (layer.kernel // 2,) * 2)
    weight = torch.randn(layer.outputs, layer.inputs // layer.groups, *kernel, generator=generator) * 0.1
    side = layer.size * layer.stride
    source = torch.randn(side, side, layer.inputs, generator=generator).to(device, dtype)
    bias = torch.randn(layer.outputs, generator=generator).to(device, dtype)
    weight = weight.to(device, dtype)
    choice = registry.choose(
        "convolve",
        device,
        setting.backend,
        dtype=dtype,
        groups=layer.groups,
        in_channels=layer.inputs,
        out_channels=layer.outputs,
        kernel=kernel,
        stride=stride,
        dilation=(1, 1),
        activation="silu",
    )
    packed = choice.module.pack_convolution(weight, bias, window, layer.groups, "silu")
    out = torch.zeros(layer.size, layer.size, layer.outputs, device=device, dtype=dtype)
    image = source.permute(2, 0, 1)[None]
    last = weight.contiguous(memory_format=torch.channels_last)

    def dense() -> torch.Tensor:
        made = functional.conv2d(image, last, bias, stride, window.padding, 1, layer.groups)
        return functional.silu(made, inplace=True)

    whole = functional.conv2d(
        image.float(), weight.float(), bias.float(), stride, window.padding, 1, layer.groups
    )
    wanted = functional.silu(whole)[0].permute(1, 2, 0)
    span = float(wanted.abs().max())
    own = float((dense()[0].permute(1, 2, 0).float() - wanted).abs().max()) / span
    tile = (layer.tile, layer.tile)
    blocks = layer.size // layer.tile
    cases, errors, runs = [], [], []
    for fraction in FRACTIONS:
        for pattern in PATTERNS:
            mask = active_set(blocks, blocks, fraction, pattern, seed=1)
            tiles = (list_tiles(mask) * layer.tile).to(device).contiguous()
            out.fill_(float("nan"))
            choice.module.convolve(packed, source, tiles, tile, out)
            written = ~out.isnan().any(2)
            complete = int(written.sum()) == len(tiles) * layer.tile**2
            difference = float((out[written].float() - wanted[written]).abs().max()) / span
            cases.append((fraction, pattern))
            errors.append(difference if complete else float("inf"))
            runs.append(partial(choice.module.convolve, packed, source, tiles, tile, out))
    dense_s, *sparse = interleaved([dense, *runs], setting)
    return [
        _row(setting, choice.name, layer.name, case, (dense_s, sparse_s, sparse_s), error, own)
        for case, sparse_s, error in zip(cases, sparse, errors, strict=True)
    ]


def measure_network(name: str, size_px: int, setting: BenchmarkSetting) -> list[BenchmarkRow]:
    """A network under `fixed`, with motion; dense is the module itself in channels_last.

    Not calibrated: up to a full set every layer runs sparsely. What `fixed` computes has no dense twin: each
    set is compared with the reference operations in float32, and the dense run with the module.
    """
    from kernels.models import build_model

    device = setting.device
    torch.manual_seed(0)
    model = build_model(name).eval().to(device)
    plain: nn.Module = build_model(name).eval().to(device)
    plain.load_state_dict(model.state_dict())
    plain.to(memory_format=torch.channels_last, dtype=setting.dtype)  # type: ignore[call-overload]
    frame = torch.rand(1, 3, size_px, size_px, device=device)
    image = frame.to(setting.dtype).contiguous(memory_format=torch.channels_last)
    executor = SparseExecutor(model, "fixed", setting.backend, dtype=setting.dtype)
    oracle = SparseExecutor(model, "fixed", "reference")
    made, cache = executor.dense(frame)
    _, before = oracle.dense(frame)

    def dense() -> object:
        with torch.no_grad():
            return plain(image)

    def sparse(active: torch.Tensor) -> None:
        executor.sparse(frame, active, vectors, cache)

    def sparse_and_settle(active: torch.Tensor) -> None:
        executor.sparse(frame, active, vectors, cache)[1].settle()

    with torch.no_grad():
        wanted = model(frame)
    own, first = _error(dense(), wanted), _error(made, wanted)
    blocks = size_px // 16
    vectors = torch.zeros(blocks, blocks, 2, dtype=torch.int32)
    vectors[:, :, 0] = 5
    vectors[blocks // 4 : blocks // 2, blocks // 4 : blocks // 2] = -7
    cases, errors, runs = [], [], []
    for fraction in FRACTIONS:
        for pattern in PATTERNS:
            active = active_set(blocks, blocks, fraction, pattern, seed=1)
            one, _, _ = executor.sparse(frame, active, vectors, cache)
            two, _, _ = oracle.sparse(frame, active, vectors, before)
            cases.append((fraction, pattern))
            errors.append(max(first, _error(one, two)))
            runs += [partial(sparse, active), partial(sparse_and_settle, active)]
    dense_s, *times = interleaved([dense, *runs], setting)
    used = "+".join(sorted({choice.name for choice in executor.plan(frame).backends.values()}))
    measured = zip(cases, times[::2], times[1::2], errors, strict=True)
    return [
        _row(setting, used, f"{name} @{size_px}", case, (dense_s, result_s, sparse_s), error, own)
        for case, result_s, sparse_s, error in measured
    ]


def _error(made: object, wanted: object) -> float:
    """The largest difference as a share of an output's range, over all outputs."""
    pairs = zip(tree_leaves(made), tree_leaves(wanted), strict=True)
    return max(float((one.float() - two).abs().max() / two.abs().max()) for one, two in pairs)


def _row(
    setting: BenchmarkSetting,
    backend: str,
    subject: str,
    case: tuple[float, str],
    times: tuple[float, float, float],
    error: float,
    own_error: float,
) -> BenchmarkRow:
    """`own_error` is that of torch's dense run in the same precision."""
    tolerance = TOLERANCE if setting.dtype == torch.float32 else max(TOLERANCE, 2 * own_error)
    ratio = times[2] / times[0] if error <= tolerance else None
    precision = str(setting.dtype).removeprefix("torch.")
    fraction, pattern = case
    return BenchmarkRow(
        setting.device, backend, precision, subject, pattern, fraction, *times, ratio, error, tolerance
    )


def run(
    target: Path, setting: BenchmarkSetting, networks: Sequence[tuple[str, int]] = (("yolo11n-seg", 640),)
) -> list[BenchmarkRow]:
    """Measure everything, print a table, write `target` (CSV).

    Raises:
        RuntimeError: a result was wrong; the table then has no ratio for it.
    """
    keep_freed_memory()
    torch.set_num_threads(1)
    rows: list[BenchmarkRow] = []
    print(f"{'':34}" + "".join(f"{fraction:>7.0%}" for fraction in FRACTIONS) + "   sparse / dense")
    for layer in LAYERS:
        rows += _shown(measure_layer(layer, setting))
    print("networks under `fixed`, not calibrated: every layer sparse up to a full set")
    for name, size_px in networks:
        rows += _shown(measure_network(name, size_px, setting))
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(BenchmarkRow)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    print(f"{len(rows)} measurements in {target}")
    wrong = sorted({row.subject for row in rows if row.ratio is None})
    if wrong:
        raise RuntimeError(f"wrong results, no ratio: {', '.join(wrong)}")
    return rows


def _shown(rows: list[BenchmarkRow]) -> list[BenchmarkRow]:
    for pattern in PATTERNS:
        cells = [row for row in rows if row.pattern == pattern]
        shown = "".join(f"{row.ratio:>7.2f}" if row.ratio is not None else "  wrong" for row in cells)
        dense_ms = cells[0].dense_s * 1e3
        print(f"{cells[0].subject:24}{pattern:10}{shown}   dense {dense_ms:.2f} ms", flush=True)
        if any(row.result_s != row.sparse_s for row in cells) and all(row.ratio for row in cells):
            shown = "".join(f"{row.result_s / row.dense_s:>7.2f}" for row in cells)
            print(f"{'  until the result is out':34}{shown}", flush=True)
    return rows
