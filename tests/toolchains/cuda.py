"""What a CUDA compiler says about the kernels, without a GPU: registers and spills, by kernel."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernels.ops.cpu.loader import cache_folder
from kernels.ops.cuda import build
from kernels.ops.cuda.compile_binaries import compile_kernels, instances, toolkit

__all__ = ["check_budget", "cuda11_packages", "instances", "nvcc_log", "nvrtc_log", "parse_usage"]

# With 64 registers a multiprocessor holds four blocks of 256 threads; with up to 128 two, which is what the
# products' shared memory allows as well.
REGISTER_BUDGET = {
    "convolve_half": 104,
    "convolve_single": 96,
    "convolve_depthwise": 64,
    "gather_kernel": 64,
    "scatter_kernel": 64,
    "remap_kernel": 64,
    "prune_kernel": 64,
    "pool_kernel": 64,
    "pointwise_kernel": 64,
    "upsample_kernel": 64,
    "search_blocks": 64,
    "settle_rows": 64,
    "grey_kernel": 32,
    "quarter_kernel": 32,
}
SPILL_BUDGET_BYTES = 8  # nvcc 13 spills two registers of one kernel on sm_75


@dataclass(frozen=True)
class Usage:
    """One compiled kernel."""

    name: str
    registers: int
    spill_bytes: int


def parse_usage(log: str) -> list[Usage]:
    """What `ptxas -v` printed.

    Raises:
        ValueError: a kernel that the budget does not name.
    """
    found = []
    pattern = (
        r"Compiling entry function '(\S+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers"
    )
    for mangled, stores, loads, registers in re.findall(pattern, log, re.DOTALL):
        name = next((name for name in REGISTER_BUDGET if re.search(rf"\d{name}", mangled)), None)
        if name is None:
            raise ValueError(f"no register budget for {mangled}")
        found.append(Usage(name, int(registers), max(int(stores), int(loads))))
    return found


def check_budget(usages: list[Usage], spill_bytes: int = SPILL_BUDGET_BYTES) -> None:
    """Assert that every kernel was compiled, within its registers and next to no spilling."""
    assert {usage.name for usage in usages} == set(REGISTER_BUDGET)
    over = [
        usage
        for usage in usages
        if usage.registers > REGISTER_BUDGET[usage.name] or usage.spill_bytes > spill_bytes
    ]
    assert over == []


def nvcc_log(compiler: str, architecture: str) -> str:
    """What nvcc says when it compiles the kernels for an architecture; kept beside the built libraries."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256((version + architecture).encode())
    for file in sorted((*build.SOURCES.glob("*.cu"), *build.SOURCES.glob("*.cuh"))):
        digest.update(file.read_bytes())
    kept = cache_folder() / f"ptxas-{architecture}-{digest.hexdigest()[:16]}.log"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            flags = ["-O3", "-std=c++14", "-cubin", f"-arch={architecture}", "-Xptxas", "-v"]
            command = [compiler, *flags, str(build.SOURCES / "launch.cu"), "-o", f"{folder}/kernels.cubin"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(done.stderr)
    return kept.read_text()


def cuda11_packages() -> Path:
    """Where NVIDIA's CUDA 11 wheels are: nvrtc, runtime (headers), nvcc (ptxas); skips without them."""
    try:
        return toolkit()
    except ValueError as error:
        pytest.skip(str(error))


def nvrtc_log(packages: Path, architecture: str) -> str:
    """What ptxas of CUDA 11 says about the PTX that NVRTC of CUDA 11 makes of the kernels."""
    return compile_kernels(packages, architecture)[1]
