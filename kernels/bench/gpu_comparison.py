"""Sparse against cuDNN on a GPU: one convolution, or a network; each time beside the check of its result.

A convolution is timed on the device, alone: many runs in one CUDA graph, on both sides, so that neither
launches nor the host count. Maps and weights stay in the device's cache where they fit, on both sides.

A network is timed three ways, each against torch's own of the same kind:

- "eager": called as usual; wall time until the device is done, with the moving of what is reused;
- "replay": a CUDA graph for each frame (`kernels.executor.cuda_graph`); wall time with everything a frame
  needs, against the dense network's graph with the copy of its frame;
- "graph": the same two graphs, device time: without what the host decides, and the launch.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from kernels.bench.gpu_timing import Timing, arithmetic, timings
from kernels.bench.layers import PATTERNS, TOLERANCE, active_set
from kernels.executor import SparseExecutor
from kernels.executor.cuda_graph import CudaGraphRunner, capture_graph
from kernels.executor.graph.nodes import Convolution
from kernels.executor.state.active_sets import tile_of
from kernels.ops import registry
from kernels.ops.maps import Window, list_tiles
from kernels.ops.reference.convolve import activate
from kernels.torch_versions import tree_leaves

PRECISIONS = {"float32": torch.float32, "tf32": torch.float32, "float16": torch.float16}
BACKENDS = {"cuda": ("triton", "cuda"), "cpu": ("cpu",)}
BLOCK_PX = 16
FRACTIONS = (0.05, 0.10, 0.20, 0.30, 0.50, 0.75, 1.0)
_RUNS = 20  # of a convolution in one graph: what a replay costs is then a small share


@dataclass(frozen=True, slots=True)
class GpuBenchmarkRow:
    """One measurement.

    Attributes:
        subject: a layer, or the network.
        precision: "float32" (no TF32 anywhere), "tf32" or "float16".
        backend: what ran the sparse side, with the configuration where one was forced.
        mode: "eager", "replay" or "graph" (see the module).
        dense_s, sparse_s: medians of interleaved runs.
        dense_spread, sparse_spread: distance of the quartiles as a share of the median.
        ratio: sparse_s / dense_s, None unless the result was right.
        error: largest difference from float32 as a share of the output's range.
        tolerance: 1e-4 in float32; in the others twice cuDNN's own error.
        note: why a number is missing.
        margin_px: how far beyond the active blocks every layer computed.
    """

    subject: str
    precision: str
    backend: str
    mode: str
    pattern: str
    fraction: float
    dense_s: float | None = None
    sparse_s: float | None = None
    dense_spread: float | None = None
    sparse_spread: float | None = None
    ratio: float | None = None
    error: float | None = None
    tolerance: float | None = None
    note: str = ""
    margin_px: int = 0


@dataclass(frozen=True, slots=True)
class BenchmarkSubject:
    """What the rows of one comparison have in common."""

    name: str
    precision: str
    tolerance: float
    margin_px: int = 0

    def row(
        self,
        backend: str,
        mode: str,
        case: tuple[str, float],
        error: float,
        dense: Timing,
        sparse: Timing,
    ) -> GpuBenchmarkRow:
        """A finished measurement of a case, which is a pattern and a fraction."""
        return GpuBenchmarkRow(
            self.name,
            self.precision,
            backend,
            mode,
            *case,
            dense.median_s,
            sparse.median_s,
            dense.spread,
            sparse.spread,
            sparse.median_s / dense.median_s if error <= self.tolerance else None,
            error,
            self.tolerance,
            margin_px=self.margin_px,
        )


@dataclass(frozen=True, slots=True)
class ConvolutionShape:
    """A convolution of the network: its geometry and the size of its output."""

    inputs: int
    outputs: int
    window: Window
    groups: int
    activation: str
    height: int
    width: int
    tile: tuple[int, int]

    @property
    def name(self) -> str:
        kernel, stride = "×".join(map(str, self.window.kernel)), self.window.stride[0]
        kind = f" groups {self.groups}" if self.groups > 1 else ""
        return f"{self.inputs}→{self.outputs} {kernel}{kind} /{stride} @{self.height}×{self.width}"

    def input_size(self) -> list[int]:
        """(height, width) that makes an output of this size."""
        window, out = self.window, (self.height, self.width)
        return [
            (out[axis] - 1) * window.stride[axis]
            + (window.kernel[axis] - 1) * window.dilation[axis]
            + 1
            - 2 * window.padding[axis]
            for axis in (0, 1)
        ]


def build_network(name: str, size_px: int, device: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """A network with seeded weights and a frame; times do not depend on the values."""
    from kernels.models import build_model

    torch.manual_seed(0)
    model = build_model(name).eval()
    frame = torch.rand(1, 3, size_px, size_px)
    return model.to(device), frame.to(device)


def shapes_of(name: str, size_px: int, precision: str, device: str) -> list[ConvolutionShape]:
    """The different convolutions of a network, in the order of their first use."""
    model, frame = build_network(name, size_px, device)
    plan = SparseExecutor(model, "fixed", None, BLOCK_PX, dtype=PRECISIONS[precision]).plan(frame)
    found: dict[ConvolutionShape, None] = {}
    for index, node in enumerate(plan.nodes):
        if isinstance(node.operation, Convolution):
            operation, (height, width, _) = node.operation, node.map_shape()
            tile = tile_of(plan.resolutions[plan.resolution_of(index)], BLOCK_PX)
            inputs, outputs = operation.weight.shape[1] * operation.groups, operation.weight.shape[0]
            shape = ConvolutionShape(
                inputs, outputs, operation.window, operation.groups, operation.activation, height, width, tile
            )
            found[shape] = None
    return list(found)


def candidates(shape: ConvolutionShape, precision: str, device: str) -> list[tuple[str, Any, dict[str, int]]]:
    """(name, backend module, extra arguments) of everything that can run a convolution here."""
    found: list[tuple[str, Any, dict[str, int]]] = []
    traits = {
        "dtype": PRECISIONS[precision],
        "groups": shape.groups,
        "in_channels": shape.inputs,
        "out_channels": shape.outputs,
        "kernel": shape.window.kernel,
        "stride": shape.window.stride,
        "dilation": shape.window.dilation,
        "activation": shape.activation,
    }
    for name in BACKENDS[device]:
        if registry.unavailable(name, device) is not None:
            continue
        choice = registry.choose("convolve", device, name, **traits)
        if choice.name != name or (name == "cuda" and precision == "tf32"):
            continue  # refused, or no TF32 in it
        found.append((name, choice.module, {}))
        if name.startswith("cuda") and shape.groups == 1:
            from kernels.ops.cuda.operations import CONFIGURATIONS

            taps = shape.window.kernel[0] * shape.window.kernel[1]
            for number, (rows, columns) in enumerate(CONFIGURATIONS):
                if taps <= 16 or number < len(CONFIGURATIONS) - 1:  # else more shared memory than there is
                    extra = {"configuration": number}
                    found.append((f"{name} {rows}×{columns}", choice.module, extra))
    return found


def measure_layer(
    shape: ConvolutionShape, precision: str, device: str, repeats: int, graphs: bool | None = None
) -> list[GpuBenchmarkRow]:
    """One convolution at every share of active blocks, by every candidate, against cuDNN in this layout."""
    graphs = device == "cuda" if graphs is None else graphs
    generator = torch.Generator().manual_seed(0)
    dtype = PRECISIONS[precision]
    window, groups = shape.window, shape.groups
    each = shape.inputs // groups * window.kernel[0] * window.kernel[1]
    weight = torch.randn(shape.outputs, shape.inputs // groups, *window.kernel, generator=generator)
    weight = (weight / each**0.5).to(device, dtype)
    bias = torch.randn(shape.outputs, generator=generator).to(device, dtype)
    source = torch.randn(*shape.input_size(), shape.inputs, generator=generator).to(device, dtype)
    image, last = source.permute(2, 0, 1)[None], weight.contiguous(memory_format=torch.channels_last)

    def convolved(image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        made = functional.conv2d(image, weight, bias, window.stride, window.padding, window.dilation, groups)
        return activate(made, shape.activation)[0].permute(1, 2, 0)

    dense = partial(convolved, image, last, bias)
    wanted = convolved(image.double(), weight.double(), bias.double())
    span = float(wanted.abs().max())
    own = float((dense().double() - wanted).abs().max()) / span
    tolerance = TOLERANCE if precision == "float32" else max(TOLERANCE, 2 * own)
    out = torch.empty(shape.height, shape.width, shape.outputs, device=device, dtype=dtype)
    grid = -(-shape.height // shape.tile[0]), -(-shape.width // shape.tile[1])
    corners = torch.tensor(shape.tile, dtype=torch.int32)
    cases: list[tuple[str, tuple[str, float], float]] = []
    runs: list[Callable[[], object]] = [dense]
    for name, module, extra in candidates(shape, precision, device):
        packed = module.pack_convolution(weight, bias, window, groups, shape.activation)
        for fraction in FRACTIONS:
            for pattern in PATTERNS:
                tiles = (list_tiles(active_set(*grid, fraction, pattern, seed=1)) * corners).to(device)
                run = partial(module.convolve, packed, source, tiles, shape.tile, out, **extra)
                out.fill_(float("nan"))
                run()
                due = _covered(tiles, shape).to(device)
                error = float("inf")
                if torch.equal(~out.isnan().any(2), due):
                    error = float((out[due].double() - wanted[due]).abs().max()) / span
                cases.append((name, (pattern, fraction), error))
                runs.append(run)
    if graphs:
        runs = [capture_graph(run, _RUNS) for run in runs]
    count = _RUNS if graphs else 1
    dense_t, *times = (
        Timing(one.median_s / count, one.spread)
        for one in timings(runs, repeats, "device" if graphs else "wall")
    )
    subject = BenchmarkSubject(shape.name, precision, tolerance)
    return [
        subject.row(name, "graph" if graphs else "eager", case, error, dense_t, sparse_t)
        for (name, case, error), sparse_t in zip(cases, times, strict=True)
    ]


def _covered(tiles: torch.Tensor, shape: ConvolutionShape) -> torch.Tensor:
    """Which positions of the output lie in a tile: bool (height, width)."""
    mask = torch.zeros(shape.height, shape.width, dtype=torch.bool)
    for y, x in tiles.tolist():
        mask[y : y + shape.tile[0], x : x + shape.tile[1]] = True
    return mask


def measure_network(
    name: str,
    size_px: int,
    precision: str,
    device: str,
    backend: str | None,
    repeats: int,
    capture: Callable[[Callable[[], Any]], Callable[[], Any]] | None = None,
    margin_px: int = 0,
) -> list[GpuBenchmarkRow]:
    """A network under `fixed`, with motion, against itself in channels_last.

    Args:
        margin_px: around the active blocks.
        capture: makes a graph; other than `capture_graph` only where there is no GPU.
    """
    from kernels.models import build_model

    model, frame = build_network(name, size_px, device)
    plain = build_model(name).eval().to(device)
    plain.load_state_dict(model.state_dict())
    plain.to(PRECISIONS[precision]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = frame.to(PRECISIONS[precision]).contiguous(memory_format=torch.channels_last)
    inside = PRECISIONS[precision]
    executor = SparseExecutor(model, "fixed", backend, BLOCK_PX, margin_px=margin_px, dtype=inside)
    plan = executor.plan(frame)
    used = {choice.name for choice in plan.backends.values()}
    if backend is not None and backend not in used:
        return []  # it refuses everything: what ran instead has rows of its own
    oracle = SparseExecutor(model, "fixed", "reference", BLOCK_PX, margin_px=margin_px)

    def dense() -> Any:
        with torch.no_grad():
            return plain(image)

    with arithmetic("float32"), torch.no_grad():
        _, before = oracle.dense(frame)
        wanted = model(frame)
    tolerance = TOLERANCE if precision == "float32" else max(TOLERANCE, 2 * largest_error(dense(), wanted))
    made, cache = executor.dense(frame)
    first = largest_error(made, wanted)
    subject = BenchmarkSubject(f"{name} @{size_px}", precision, tolerance, margin_px)
    label = "+".join(sorted(used))
    graph, reason, runner = None, "", None
    try:
        graph = (capture or capture_graph)(dense)
        runner = CudaGraphRunner(plan, BLOCK_PX, capture=capture, margin_px=margin_px)
    except RuntimeError as refused:
        reason = _first_line(refused)

    def dense_frame() -> Any:
        image.copy_(frame)
        assert graph is not None
        return graph()

    rows: list[GpuBenchmarkRow] = []
    blocks = size_px // BLOCK_PX
    vectors = _motion(blocks)
    for fraction in FRACTIONS:
        for pattern in PATTERNS:
            case = pattern, fraction
            request = frame, active_set(blocks, blocks, fraction, pattern, seed=1), vectors
            with arithmetic("float32"):
                right, _, _ = oracle.sparse(*request, before)
            error = max(first, largest_error(executor.sparse(*request, cache)[0], right))
            eager = partial(_settled, executor, *request, cache)
            rows.append(subject.row(label, "eager", case, error, *timings([dense, eager], repeats, "wall")))
            if graph is None or runner is None:
                rows += [
                    GpuBenchmarkRow(
                        subject.name, precision, label, mode, *case, note=reason, margin_px=margin_px
                    )
                    for mode in _GRAPHS
                ]
                continue
            try:
                runner.start(cache)
                error = max(first, largest_error(runner.sparse(*request), right))
                runner.sparse(*request)  # back from the other arena: a graph of its own
                whole = timings([dense_frame, partial(runner.sparse, *request)], repeats, "wall")
                alone = timings(
                    [graph, runner.replay_last], repeats, "device" if device == "cuda" else "wall"
                )
            except RuntimeError as raised:
                note = _first_line(raised)
                rows += [
                    GpuBenchmarkRow(
                        subject.name, precision, label, mode, *case, note=note, margin_px=margin_px
                    )
                    for mode in _GRAPHS
                ]
                continue
            rows.append(subject.row(label, "replay", case, error, *whole))
            rows.append(subject.row(label, "graph", case, error, *alone))
    return rows


_GRAPHS = ("replay", "graph")


def largest_error(made: Any, wanted: Any) -> float:
    """The largest difference as a share of an output's range, over all outputs."""
    pairs = zip(tree_leaves(made), tree_leaves(wanted), strict=True)
    return max(float((one.float() - two).abs().max() / two.abs().max()) for one, two in pairs)


def _motion(blocks: int) -> torch.Tensor:
    """Two motions: of the camera, and of something before it."""
    vectors = torch.zeros(blocks, blocks, 2, dtype=torch.int32)
    vectors[:, :, 0] = 5
    vectors[blocks // 4 : blocks // 2, blocks // 4 : blocks // 2] = -7
    return vectors


def _settled(executor: SparseExecutor, *arguments: Any) -> object:
    outputs, after, _ = executor.sparse(*arguments)
    after.settle()
    return outputs, after


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def rows_or_note(
    measure: Callable[[], Sequence[GpuBenchmarkRow]], subject: str, precision: str, backend: str
) -> list[GpuBenchmarkRow]:
    """Its rows, or where the device's memory is too small, one that says so."""
    try:
        return list(measure())
    except torch.cuda.OutOfMemoryError as error:
        note = f"out of memory: {_first_line(error)}"
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return [GpuBenchmarkRow(subject, precision, backend, "", "", 0.0, note=note)]
