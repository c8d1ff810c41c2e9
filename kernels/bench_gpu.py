"""On an NVIDIA GPU: `python -m kernels.bench_gpu`. Needs torch, numpy and nvcc; Triton joins in where it is.

Against cuDNN (channels_last, its own search for the fastest algorithm on), in float32 without and with TF32
and in float16:

- every convolution of the network, alone: each backend and configuration at each share of active blocks, from
  CUDA graphs on both sides, so that what is compared is the device's work;
- the network: dense run by torch as usual and from a graph; sparse run as usual, with everything a frame
  needs, and from a graph of one block set, which leaves out what the processor does.

First `kernels.check` must pass. A ratio stands only beside a result of the same inputs that was right. The
rows, and what they were measured on, go to `conf/profile/<device>/<model>-<size>/`.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.nn import functional

from kernels.bench import PATTERNS, TOLERANCE, active_set
from kernels.executor import SparseExecutor
from kernels.executor.blocks import tile_of
from kernels.executor.graph import Convolve
from kernels.executor.policies import fixed
from kernels.gpu_timing import arithmetic, as_graph, describe, medians
from kernels.ops import registry
from kernels.ops.maps import Window, list_tiles
from kernels.ops.reference.convolve import activate

PRECISIONS = {"float32": torch.float32, "tf32": torch.float32, "float16": torch.float16}
BLOCK_PX = 16
FRACTIONS = (0.05, 0.10, 0.20, 0.30, 0.50, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        subject: a layer, or the network.
        precision: "float32" (no TF32 anywhere), "tf32" or "float16".
        backend: what ran the sparse side, with the configuration where one was forced.
        mode: "graph" (replayed, device time) or "eager" (wall time of the call, until the device is done).
        dense_s, sparse_s: medians of interleaved runs.
        ratio: sparse_s / dense_s, None unless the result was right.
        error: largest difference from float32 as a share of the output's range.
        tolerance: 1e-4 in float32; in the others twice cuDNN's own error.
        note: why a number is missing.
    """

    subject: str
    precision: str
    backend: str
    mode: str
    pattern: str
    fraction: float
    dense_s: float | None
    sparse_s: float | None
    ratio: float | None
    error: float | None
    tolerance: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
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


def shapes_of(executor: SparseExecutor, frame: torch.Tensor) -> list[Shape]:
    """The different convolutions of a network, in the order of their first use."""
    plan = executor.plan(frame)
    found: dict[Shape, None] = {}
    for index, node in enumerate(plan.nodes):
        if isinstance(node.work, Convolve):
            work, (height, width, _) = node.work, node.map_shape()
            tile = tile_of(plan.resolutions[plan.level(index)], BLOCK_PX)
            inputs, outputs = work.weight.shape[1] * work.groups, work.weight.shape[0]
            shape = Shape(inputs, outputs, work.window, work.groups, work.activation, height, width, tile)
            found[shape] = None
    return list(found)


def contestants(shape: Shape, precision: str, device: str) -> list[tuple[str, Any, dict[str, int]]]:
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
    for name in ("triton", "cuda") if device == "cuda" else ("cpu",):
        if registry.unavailable(name, device) is not None:
            continue
        choice = registry.choose("convolve", device, name, **traits)
        if choice.name != name or (name == "cuda" and precision == "tf32"):
            continue  # refused, or no TF32 in it
        found.append((name, choice.module, {}))
        if name == "cuda" and shape.groups == 1:
            from kernels.ops.cuda.operations import CONFIGURATIONS

            for number, (rows, columns) in enumerate(CONFIGURATIONS):
                found.append((f"cuda {rows}×{columns}", choice.module, {"configuration": number}))
    return found


def measure_layer(shape: Shape, precision: str, device: str, repeats: int) -> list[Row]:
    """One convolution at every share of active blocks, by every contestant, against cuDNN in this layout."""
    generator = torch.Generator().manual_seed(0)
    dtype = PRECISIONS[precision]
    window, groups = shape.window, shape.groups
    each = shape.inputs // groups * window.kernel[0] * window.kernel[1]
    weight = torch.randn(shape.outputs, shape.inputs // groups, *window.kernel, generator=generator)
    weight = (weight / each**0.5).to(device, dtype)
    bias = torch.randn(shape.outputs, generator=generator).to(device, dtype)
    size = [
        (out - 1) * stride + (kernel - 1) * dilation + 1 - 2 * padding
        for out, stride, kernel, dilation, padding in zip(
            (shape.height, shape.width),
            window.stride,
            window.kernel,
            window.dilation,
            window.padding,
            strict=True,
        )
    ]
    source = torch.randn(*size, shape.inputs, generator=generator).to(device, dtype)
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
    cases: list[tuple[str, str, float, float]] = []
    runs: list[Callable[[], object]] = [dense]
    for name, module, extra in contestants(shape, precision, device):
        packed = module.pack_convolution(weight, bias, window, groups, shape.activation)
        for fraction in FRACTIONS:
            for pattern in PATTERNS:
                tiles = (list_tiles(active_set(*grid, fraction, pattern, seed=1)) * corners).to(device)
                run = partial(module.convolve, packed, source, tiles, shape.tile, out, **extra)
                out.fill_(float("nan"))
                run()
                written = ~out.isnan().any(2)
                error = float((out[written].double() - wanted[written]).abs().max()) / span
                inside = tiles[:, None] + corners.to(device) - 1
                whole = bool((inside[..., 0] < shape.height).all() & (inside[..., 1] < shape.width).all())
                expected = len(tiles) * shape.tile[0] * shape.tile[1]
                right = int(written.sum()) == expected or not whole
                cases.append((name, pattern, fraction, error if right else float("inf")))
                runs.append(run)
    mode = "graph" if device == "cuda" else "eager"
    if mode == "graph":
        runs = [as_graph(run) for run in runs]
    dense_s, *times = medians(runs, repeats, mode)
    return [
        Row(
            shape.name,
            precision,
            name,
            mode,
            pattern,
            fraction,
            dense_s,
            sparse_s,
            sparse_s / dense_s if error <= tolerance else None,
            error,
            tolerance,
        )
        for (name, pattern, fraction, error), sparse_s in zip(cases, times, strict=True)
    ]


def build(name: str, size_px: int, device: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """A network with seeded weights and a frame; times do not depend on the values."""
    from kernels.models import build_model

    torch.manual_seed(0)
    model = build_model(name).eval()
    frame = torch.rand(1, 3, size_px, size_px)
    return model.to(device), frame.to(device)


def measure_network(
    name: str, size_px: int, precision: str, device: str, backend: str | None, repeats: int
) -> list[Row]:
    """A network under `fixed`, with motion, against itself in channels_last; as usual, and from graphs."""
    from kernels.bench import _error as largest_error
    from kernels.models import build_model

    model, frame = build(name, size_px, device)
    plain = build_model(name).eval().to(device)
    plain.load_state_dict(model.state_dict())
    plain.to(memory_format=torch.channels_last, dtype=PRECISIONS[precision])
    image = frame.to(PRECISIONS[precision]).contiguous(memory_format=torch.channels_last)
    executor = SparseExecutor(model, "fixed", backend, BLOCK_PX, dtype=PRECISIONS[precision])
    oracle = SparseExecutor(model, "fixed", "reference", BLOCK_PX)
    with arithmetic("float32"):
        _, before = oracle.dense(frame)
        with torch.no_grad():
            wanted = model(frame)
    made, cache = executor.dense(frame)
    used = "+".join(sorted({choice.name for choice in executor.plan(frame).choices.values()}))

    def dense() -> object:
        with torch.no_grad():
            return plain(image)

    own = largest_error(dense(), wanted)
    tolerance = TOLERANCE if precision == "float32" else max(TOLERANCE, 2 * own)
    first = largest_error(made, wanted)
    blocks = size_px // BLOCK_PX
    vectors = torch.zeros(blocks, blocks, 2, dtype=torch.int32)
    vectors[:, :, 0] = 5
    vectors[blocks // 4 : blocks // 2, blocks // 4 : blocks // 2] = -7
    cases: list[tuple[str, float, float]] = []
    eager: list[Callable[[], object]] = []
    for fraction in FRACTIONS:
        for pattern in PATTERNS:
            active = active_set(blocks, blocks, fraction, pattern, seed=1)
            one, _, _ = executor.sparse(frame, active, vectors, cache)
            with arithmetic("float32"):
                two, _, _ = oracle.sparse(frame, active, vectors, before)
            cases.append((pattern, fraction, max(first, largest_error(one, two))))
            eager.append(partial(_settled, executor, frame, active, vectors, cache))
    rows: list[Row] = []

    def add(mode: str, dense_s: float | None, times: Sequence[float | None], note: str = "") -> None:
        for (pattern, fraction, error), sparse_s in zip(cases, times, strict=True):
            right = error <= tolerance and dense_s is not None and sparse_s is not None
            ratio = sparse_s / dense_s if right and sparse_s and dense_s else None
            rows.append(
                Row(
                    f"{name} @{size_px}",
                    precision,
                    used,
                    mode,
                    pattern,
                    fraction,
                    dense_s,
                    sparse_s,
                    ratio,
                    error,
                    tolerance,
                    note,
                )
            )

    dense_s, *times = medians([dense, *eager], repeats, "eager")
    add("eager", dense_s, times)
    if device == "cuda":
        try:
            graphs = [as_graph(dense), *(_captured(run) for run in eager)]
        except RuntimeError as error:
            add("graph", None, [None] * len(cases), f"cannot be captured: {str(error).splitlines()[0]}")
        else:
            dense_s, *times = medians(graphs, repeats, "graph")
            add("graph", dense_s, times)
    return rows


def _settled(executor: SparseExecutor, *arguments: Any) -> object:
    outputs, after, _ = executor.sparse(*arguments)
    after.settle()
    return outputs, after


def _captured(run: Callable[[], object]) -> Callable[[], object]:
    """A sparse frame as a graph: the lists of tiles are made beforehand, by the processor."""
    made: list[Any] = []
    compute = fixed.levels_of

    def once(plan: Any, request: Any) -> Any:
        if not made:
            made.append(compute(plan, request))
        return made[0]

    with mock.patch.object(fixed, "levels_of", once):
        return as_graph(run)


def run(
    folder: Path,
    name: str,
    size_px: int,
    precisions: Sequence[str],
    repeats: int,
    device: str = "cuda",
    layers: bool = True,
) -> list[Row]:
    """Measure a network and its layers, print as it goes, and write `kernels.csv` and `kernels.json`.

    The table is written after every subject: what was measured before an interruption is kept, marked
    `complete: false`.

    Args:
        folder: where both files go.
        device: "cuda"; "cpu" is for trying this out, without graphs.
    """
    rows: list[Row] = []
    meta = {
        **describe(),
        "command": f"python -m kernels.bench_gpu --model {name}:{size_px} --repeats {repeats}",
        "repeats": repeats,
        "complete": False,
    }
    names = ["default"] if device != "cuda" else ["cuda", "triton"]
    backends = [backend for backend in names if device != "cuda" or not registry.unavailable(backend, device)]
    for precision in precisions:
        with arithmetic(precision):
            model, frame = build(name, size_px, device)
            executor = SparseExecutor(model, "fixed", None, BLOCK_PX, dtype=PRECISIONS[precision])
            shapes = shapes_of(executor, frame) if layers else []
            del model
            for shape in shapes:
                rows += _shown(measure_layer(shape, precision, device, repeats))
                _write(folder, rows, meta)
            for backend in backends:
                asked = None if backend == "default" else backend
                rows += _shown(measure_network(name, size_px, precision, device, asked, repeats))
                _write(folder, rows, meta)
    _write(folder, rows, {**meta, "complete": True})
    return rows


def _write(folder: Path, rows: Sequence[Row], meta: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "kernels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    (folder / "kernels.json").write_text(json.dumps(meta, indent=1) + "\n")


def _shown(rows: list[Row]) -> list[Row]:
    """Print the ratios of a subject, one line for each backend, mode and pattern."""
    lines: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        lines.setdefault((row.backend, row.mode, row.pattern), []).append(row)
    for (backend, mode, pattern), cells in lines.items():
        shown = "".join("  wrong" if cell.ratio is None else f"{cell.ratio:>7.2f}" for cell in cells)
        dense = f"{cells[0].dense_s * 1e6:.0f} µs" if cells[0].dense_s is not None else cells[0].note
        label = f"{cells[0].subject}, {cells[0].precision}, {backend}, {mode}, {pattern}"
        print(f"{label:72}{shown}   dense {dense}", flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """0 on success, 1 where a result was wrong, 2 where it cannot run; the reason is printed as one line."""
    parser = argparse.ArgumentParser(prog="python -m kernels.bench_gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="yolo11m-seg:1024", metavar="NAME:SIZE")
    parser.add_argument("--precision", nargs="+", choices=tuple(PRECISIONS), default=list(PRECISIONS))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--output", type=Path, help="default conf/profile/<device>/<model>-<size>")
    parser.add_argument("--no-layers", action="store_true", help="the network alone")
    chosen = parser.parse_args(arguments)
    name, _, size = chosen.model.partition(":")
    if not size.isdigit() or int(size) < 32 or int(size) % 32:
        print(
            f"error: --model must be NAME:SIZE with a multiple of 32 pixels (got {chosen.model!r})",
            file=sys.stderr,
        )
        return 2
    reason = registry.unavailable("cuda", "cuda")
    if reason is not None:
        print(f"error: no measurement without a GPU and nvcc: {reason}", file=sys.stderr)
        return 2
    from kernels.check import check

    wrong = [
        f"{outcome.backend} {outcome.operation}"
        for outcome in check()
        if outcome.device == "cuda" and not outcome.passed
    ]
    if wrong:
        print(f"error: wrong results, nothing measured: {', '.join(wrong)}", file=sys.stderr)
        return 1
    device = re.sub(r"[^a-z0-9]+", "_", torch.cuda.get_device_name().lower()).strip("_")
    folder = chosen.output or Path("conf/profile") / device / f"{name}-{size}"
    print(f"{'':72}" + "".join(f"{fraction:>7.0%}" for fraction in FRACTIONS) + "   sparse / dense")
    rows = run(folder, name, int(size), chosen.precision, chosen.repeats, layers=not chosen.no_layers)
    print(f"{len(rows)} measurements in {folder / 'kernels.csv'}")
    missing = sum(row.ratio is None and not row.note for row in rows)
    if missing:
        print(f"error: {missing} wrong results, no ratio", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
