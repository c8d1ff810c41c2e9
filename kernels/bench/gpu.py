"""Benchmarks on an NVIDIA GPU: `python -m kernels.bench.gpu`. Needs nvcc; uses Triton where it is installed.

Against cuDNN (channels_last, its own search for the fastest algorithm on), in float32 without and with TF32
and in float16: the network, as usual and as CUDA graphs, then every convolution of it alone, by each backend
and configuration, at each share of active blocks (`kernels.bench.gpu_comparison` says what each time holds).

First `kernels.bench.check` must pass. A ratio stands only beside a result of the same inputs that was right.
The rows, and what they were measured on, go to `conf/profile/<device>/<model>-<size>/`.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

from conf.search_path import writable_folder
from kernels.bench.gpu_comparison import (
    BACKENDS,
    FRACTIONS,
    PRECISIONS,
    GpuBenchmarkRow,
    measure_layer,
    measure_network,
    rows_or_note,
    shapes_of,
)
from kernels.bench.gpu_timing import arithmetic, describe, state, steady_seconds
from kernels.ops import registry

DRIFT = 0.05  # change of a matrix product's time from before to after that is worth a warning


def run(
    folder: Path,
    name: str,
    size_px: int,
    precisions: Sequence[str],
    repeats: int,
    device: str = "cuda",
    layers: bool = True,
    capture: Callable[[Callable[[], Any]], Callable[[], Any]] | None = None,
    margins_px: Sequence[int] = (0,),
) -> list[GpuBenchmarkRow]:
    """Measure a network and its layers, print as it goes, and write `kernels.csv` and `kernels.json`.

    The table is written after every subject: what was measured before an interruption is kept, marked
    `complete: false`.

    Args:
        folder: where both files go.
        device: "cuda"; "cpu" is for trying this out.
        capture: makes a graph; other than CUDA's only for trying this out.
        margins_px: around the active blocks, of the network's rows.
    """
    rows: list[GpuBenchmarkRow] = []
    meta = {
        **describe(),
        "command": f"python -m kernels.bench.gpu --model {name}:{size_px} --repeats {repeats}",
        "precisions": list(precisions),
        "repeats": repeats,
        "complete": False,
    }
    _write(folder, rows, meta)  # an unwritable folder shows before the work, not after
    before_s = steady_seconds(device)

    def add(
        measure: Callable[[], Sequence[GpuBenchmarkRow]], subject: str, precision: str, backend: str = ""
    ) -> None:
        rows.extend(_shown(rows_or_note(measure, subject, precision, backend)))
        _write(folder, rows, meta)

    backends = [backend for backend in BACKENDS[device] if registry.unavailable(backend, device) is None]
    if device == "cuda":
        gc.freeze()  # a capture collects garbage first: not all of torch again each time
    cases = [(one, backend, margin) for one in precisions for backend in backends for margin in margins_px]
    for precision, backend, margin_px in cases:
        with arithmetic(precision):
            measure = partial(
                measure_network, name, size_px, precision, device, backend, repeats, capture, margin_px
            )
            add(measure, f"{name} @{size_px}", precision, backend)
    for precision in precisions if layers else ():  # the many, and each with kernels of its own to compile
        with arithmetic(precision):
            for shape in shapes_of(name, size_px, precision, device):
                add(partial(measure_layer, shape, precision, device, repeats), shape.name, precision)
    drift = steady_seconds(device) / before_s - 1
    meta.update({"complete": True, "drift": round(drift, 4)})
    if device == "cuda":
        meta["state_after"] = state()
    _write(folder, rows, meta)
    if abs(drift) > DRIFT:
        print(
            f"warning: a matrix product took {drift:+.0%} of its time at the start: the clocks did not hold; "
            "ratios are of interleaved runs, times are not comparable throughout",
            file=sys.stderr,
        )
    return rows


def _write(folder: Path, rows: Sequence[GpuBenchmarkRow], meta: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "kernels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(GpuBenchmarkRow)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    (folder / "kernels.json").write_text(json.dumps(meta, indent=1) + "\n")


def _shown(rows: list[GpuBenchmarkRow]) -> list[GpuBenchmarkRow]:
    """Print the ratios of a subject, one line for each backend, mode and pattern."""
    lines: dict[tuple[str, str, str, int], list[GpuBenchmarkRow]] = {}
    for row in rows:
        lines.setdefault((row.backend, row.mode, row.pattern, row.margin_px), []).append(row)
    for (backend, mode, pattern, margin_px), cells in lines.items():
        shown = "".join(
            f"{cell.ratio:>7.2f}" if cell.ratio is not None else f"{'–' if cell.note else 'wrong':>7}"
            for cell in cells
        )
        dense = f"{cells[0].dense_s * 1e6:.0f} µs" if cells[0].dense_s is not None else cells[0].note
        label = ", ".join(
            part
            for part in (
                *(cells[0].subject, cells[0].precision, backend, mode, pattern),
                f"margin {margin_px}" if margin_px else "",
            )
            if part
        )
        print(f"{label:72}{shown}   dense {dense}", flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """0 on success, 1 where a result was wrong, 2 where it cannot run; the reason is printed as one line."""
    parser = argparse.ArgumentParser(prog="python -m kernels.bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="yolo11m-seg:1024", metavar="NAME:SIZE")
    parser.add_argument("--precision", nargs="+", choices=tuple(PRECISIONS), default=list(PRECISIONS))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--output", type=Path, help="folder; default conf/profile/<device>/<model>-<size>")
    parser.add_argument(
        "--margin", type=int, nargs="+", default=[0], metavar="PX", help="around active blocks"
    )
    parser.add_argument("--no-layers", action="store_true", help="the network alone")
    chosen = parser.parse_args(arguments)
    name, _, size = chosen.model.partition(":")
    if not size.isdigit() or int(size) < 32 or int(size) % 32:
        return _refuse(f"--model must be NAME:SIZE with a multiple of 32 pixels (got {chosen.model!r})")
    if min(chosen.margin) < 0:
        return _refuse(f"--margin must be 0 or more px (got {min(chosen.margin)})")
    if chosen.repeats < 1:
        return _refuse(f"--repeats must be at least 1 (got {chosen.repeats})")
    if torch.cuda.is_available():
        print("compiling the CUDA kernels, if that has not been done", file=sys.stderr)
    reason = registry.unavailable("cuda", "cuda")
    if reason is not None:
        return _refuse(f"no measurement without a GPU and nvcc: {reason}")
    from kernels.bench.check import check

    print("checking every operation first; kernels are compiled as they are needed", file=sys.stderr)
    try:
        checks = [one for one in check() if one.device == "cuda"]
    except RuntimeError as error:  # such as a driver that is older than the toolkit
        return _refuse(f"the kernels cannot be launched: {str(error).splitlines()[0]}")
    wrong = [f"{one.backend} {one.operation}" for one in checks if not one.passed]
    if wrong:
        print(f"error: wrong results, nothing measured: {', '.join(wrong)}", file=sys.stderr)
        return 1
    device = re.sub(r"[^a-z0-9]+", "_", torch.cuda.get_device_name().lower()).strip("_")
    folder = chosen.output or writable_folder("profile") / device / f"{name}-{size}"
    print(f"{'':72}" + "".join(f"{fraction:>7.0%}" for fraction in FRACTIONS) + "   sparse / dense")
    try:
        rows = run(
            folder,
            name,
            int(size),
            chosen.precision,
            chosen.repeats,
            layers=not chosen.no_layers,
            margins_px=chosen.margin,
        )
    except OSError as error:
        return _refuse(f"cannot write to {folder}: {error}")
    print(f"{len(rows)} measurements in {folder / 'kernels.csv'}")
    wrong_count = sum(row.ratio is None and not row.note for row in rows)
    if wrong_count:
        print(f"error: {wrong_count} wrong results, no ratio", file=sys.stderr)
    return 1 if wrong_count else 0


def _refuse(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
