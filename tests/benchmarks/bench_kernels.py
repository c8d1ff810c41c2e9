"""The sparse operations and whole networks against dense ones: `python -m tests.benchmarks.bench_kernels`."""

from __future__ import annotations

from pathlib import Path

from kernels.bench.layers import BenchmarkSetting, run

if __name__ == "__main__":
    run(Path("outputs/benchmarks/kernels.csv"), BenchmarkSetting())
