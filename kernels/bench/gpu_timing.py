"""Timing on a GPU: events, what torch may do with float32, whether the clocks held, what was measured on."""

from __future__ import annotations

import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch

_STATE = "clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit,temperature.gpu"


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """What torch may do with float32, on both sides; restored afterwards."""
    before = (
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
        torch.get_float32_matmul_precision(),
    )
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[:2]
        torch.set_float32_matmul_precision(before[2])


@dataclass(frozen=True, slots=True)
class Timing:
    """Median seconds of one run, and the distance of its quartiles as a share of that."""

    median_s: float
    spread: float


def timings(runs: Sequence[Callable[[], object]], repeats: int, mode: str) -> list[Timing]:
    """Of each run, in turns, after one turn that does not count.

    Args:
        mode: "device": by events on the device, several runs in a row; "wall": until the device is done.
    """
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 1):
        for index, run in enumerate(runs):
            taken = _device_seconds(run) if mode == "device" else _wall_seconds(run)
            if repeat > 0:
                times[index].append(taken)
    return [_timing(one) for one in times]


def _timing(times: list[float]) -> Timing:
    middle = statistics.median(times)
    if len(times) < 2:
        return Timing(middle, 0.0)
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return Timing(middle, (high - low) / middle)


def _device_seconds(run: Callable[[], object], runs: int = 5) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    run()
    start.record()
    for _ in range(runs):
        run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) * 1e-3 / runs


def _wall_seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def steady_seconds(device: str) -> float:
    """Of a matrix product, once the clocks are up: taken before and after, it tells whether they held."""
    side, warm_up_s = (4096, 1.0) if device == "cuda" else (128, 0.0)
    matrix = torch.rand(side, side, device=device)
    run = partial(torch.mm, matrix, matrix)
    until = time.perf_counter() + warm_up_s
    while time.perf_counter() < until:
        _wall_seconds(run)
    return timings([run], 9, "wall")[0].median_s


def describe() -> dict[str, Any]:
    """What the numbers were measured on."""
    from kernels.ops.cuda import build as toolchain

    here = ("git", "-C", str(Path(__file__).parent))
    commit = _said(*here, "rev-parse", "--short=12", "HEAD")
    if commit and _said(*here, "status", "--porcelain", "--untracked-files=no"):
        commit += " with changes"
    meta: dict[str, Any] = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": commit,
        "layout": "channels_last, batch 1, cudnn.benchmark on",
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        about = {
            "device": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "memory_bytes": properties.total_memory,
            "cache_bytes": getattr(properties, "L2_cache_size", None),
            "cudnn": torch.backends.cudnn.version(),
            "driver": _asked("driver_version"),
            "state_before": state(),
        }
        meta.update(about)
    compiler = toolchain.nvcc()
    version = (_said(compiler, "--version") or "").splitlines() if compiler else []
    meta["nvcc"] = version[-1] if version else None
    try:
        import triton

        meta["triton"] = triton.__version__
    except ImportError:
        meta["triton"] = None
    return meta


def state() -> dict[str, str] | None:
    """Clocks, power and temperature of the current GPU, as nvidia-smi says; None where it does not."""
    said = _asked(_STATE)
    return None if said is None else dict(zip(_STATE.split(","), said.split(", "), strict=False))


def _asked(what: str) -> str | None:
    """What nvidia-smi says of the current GPU: of the first one where torch cannot name it."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    identity = getattr(properties, "uuid", None)
    which = [f"--id=GPU-{identity}"] if identity is not None else []
    said = _said("nvidia-smi", *which, f"--query-gpu={what}", "--format=csv,noheader")
    return said.splitlines()[0] if said else None


def _said(*command: str) -> str | None:
    """What a program printed, None where there is none, it failed or hung."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
