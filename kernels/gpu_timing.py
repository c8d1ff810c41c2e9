"""Timing on a GPU: CUDA graphs, events, what torch may do with float32, and what was measured on."""

from __future__ import annotations

import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import torch


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


def as_graph(run: Callable[[], object]) -> Callable[[], object]:
    """`run` captured once, replayed from then on.

    Raises:
        RuntimeError: it does something that cannot be captured, such as waiting for the device.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # workspaces and algorithms are settled before the capture
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = run()

    def replay(outputs: object = kept) -> object:  # the graph's memory lives as long as its outputs
        graph.replay()
        return outputs

    return replay


def medians(runs: Sequence[Callable[[], object]], repeats: int, mode: str) -> list[float]:
    """Median seconds of each run, in turns; "graph": by events on the device, several replays at a time."""
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 1):
        for index, run in enumerate(runs):
            taken = _device_seconds(run) if mode == "graph" else _wall_seconds(run)
            if repeat > 0:
                times[index].append(taken)
    return [statistics.median(one) for one in times]


def _device_seconds(run: Callable[[], object], replays: int = 5) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    run()
    start.record()
    for _ in range(replays):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3 / replays


def _wall_seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def describe() -> dict[str, Any]:
    """What the numbers were measured on."""
    from kernels.ops.cuda import build as toolchain

    meta: dict[str, Any] = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": _said("git", "rev-parse", "--short=12", "HEAD"),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        meta |= {
            "device": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "memory_bytes": properties.total_memory,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
            "clocks": _said(
                "nvidia-smi", "--query-gpu=clocks.sm,clocks.mem,power.limit", "--format=csv,noheader"
            ),
        }
    compiler = toolchain.nvcc()
    version = (_said(compiler, "--version") or "").splitlines() if compiler else []
    meta["nvcc"] = version[-1] if version else None
    try:
        import triton

        meta["triton"] = triton.__version__
    except ImportError:
        meta["triton"] = None
    return meta


def _said(*command: str) -> str | None:
    """What a program printed, None where there is none or it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
