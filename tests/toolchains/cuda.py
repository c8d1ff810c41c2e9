"""What a CUDA compiler says about the kernels, without a GPU: registers and spills, by kernel."""

from __future__ import annotations

import ctypes
import hashlib
import re
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest

from kernels.ops.cpu.loader import cache_folder
from kernels.ops.cuda import build

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


def instances() -> list[str]:
    """Every kernel that launch.cu instantiates, as C++ names it."""
    names = [
        f"{kernel}<{kind}, {pack}>"
        for kernel in (
            *("gather_kernel", "scatter_kernel", "remap_kernel", "prune_kernel", "pool_kernel"),
            *("pointwise_kernel", "upsample_kernel", "convolve_depthwise"),
        )
        for kind, pack in (("float", 1), ("float", 4), ("__half", 1), ("__half", 8))
    ]
    single = ("32, 32, 16, 4, 2, 4", "64, 64, 16, 8, 4, 4", "128, 64, 16, 8, 4, 4")
    half = ("32, 32, 32, 16, 16, 8", "64, 64, 32, 32, 32, 8", "128, 64, 32, 32, 32, 8")
    names += [f"convolve_single<{shape}, {flag}>" for shape, flag in product(single, ("false", "true"))]
    names += [f"convolve_half<{shape}, {flag}>" for shape, flag in product(half, ("false", "true"))]
    names += ["convolve_single<64, 64, 16, 8, 4, 1, true>", "convolve_half<64, 64, 32, 32, 32, 1, true>"]
    names += ["search_blocks", "settle_rows<false>", "settle_rows<true>", "grey_kernel", "quarter_kernel"]
    return [f"fluxshard::{name}" for name in names]


def cuda11_packages() -> Path:
    """Where NVIDIA's CUDA 11 wheels are: nvrtc, runtime (headers), nvcc (ptxas); skips without them."""
    for name in ("cuda_nvrtc", "cuda_runtime", "cuda_nvcc"):
        try:
            found = find_spec(f"nvidia.{name}")
        except ModuleNotFoundError:
            found = None
        if found is None or not found.submodule_search_locations:
            pytest.skip(f"nvidia-{name.replace('_', '-')}-cu11 is not installed")
        folder = Path(next(iter(found.submodule_search_locations))).parent
    if not (folder / "cuda_nvrtc" / "lib" / "libnvrtc.so.11.2").exists():
        pytest.skip("NVRTC is not of CUDA 11")
    return folder


def nvrtc_log(packages: Path, architecture: str) -> str:
    """What ptxas of CUDA 11 says about the PTX that NVRTC of CUDA 11 makes of the kernels."""
    nvrtc = ctypes.CDLL(str(packages / "cuda_nvrtc" / "lib" / "libnvrtc.so.11.2"))
    headers = "\n".join(f'#include "{name}.cuh"' for name in ("convolve", "elementwise", "move", "search"))
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), headers.encode(), b"all.cu", 0, None, None) == 0
    for name in instances():
        assert nvrtc.nvrtcAddNameExpression(program, name.encode()) == 0
    virtual = architecture.replace("sm_", "compute_")
    options = [f"--gpu-architecture={virtual}", "--std=c++14", f"-I{build.SOURCES}"]
    options += [f"-I{packages / name / 'include'}" for name in ("cuda_runtime", "cuda_nvcc")]
    array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    error = nvrtc.nvrtcCompileProgram(program, len(options), array)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert error == 0, log.value.decode()
    nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    code = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetPTX(program, code)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.ptx"
        path.write_bytes(code.value)
        ptxas = str(packages / "cuda_nvcc" / "bin" / "ptxas")
        command = [ptxas, "-v", f"-arch={architecture}", str(path), "-o", f"{folder}/kernels.cubin"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr
