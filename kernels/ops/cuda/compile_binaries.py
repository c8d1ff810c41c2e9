"""Compiles the kernels beforehand, for every architecture that boards have; needs no GPU.

    python -m kernels.ops.cuda.compile_binaries FOLDER [ARCHITECTURE …]

Uses NVRTC and ptxas of CUDA 11.8, the last toolkit that knows all of sm_72 to sm_90: packages that `make
kit` puts beside the environment. Code of CUDA 11.8 runs with every driver of CUDA 11 and later, so with
JetPack 5.
"""

from __future__ import annotations

import ctypes
import lzma
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from kernels.ops.cuda.precompiled import ARCHITECTURES, SOURCES, file_name

PACKAGES = ("cuda_nvrtc", "cuda_runtime", "cuda_nvcc")  # NVRTC, headers, ptxas


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


def toolkit() -> Path:
    """The folder of NVIDIA's CUDA 11 packages.

    Raises:
        ValueError: one of them is missing, or not of CUDA 11; one line.
    """
    folder = None
    for name in PACKAGES:
        try:
            found = find_spec(f"nvidia.{name}")
        except ModuleNotFoundError:
            found = None
        if found is None or not found.submodule_search_locations:
            raise ValueError(f"nvidia-{name.replace('_', '-')}-cu11: expected to be installed, found none")
        folder = Path(next(iter(found.submodule_search_locations))).parent
    assert folder is not None
    if not (folder / "cuda_nvrtc" / "lib" / "libnvrtc.so.11.2").exists():
        raise ValueError("nvidia-cuda-nvrtc-cu11: expected NVRTC of CUDA 11, found another")
    return folder


def compile_kernels(packages: Path, architecture: str) -> tuple[bytes, str]:
    """The code of all kernels for one architecture, and what ptxas says of registers and spills.

    Raises:
        ValueError: a compiler refuses them; its message.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.ptx"
        path.write_bytes(_ptx(packages, architecture))
        ptxas = str(packages / "cuda_nvcc" / "bin" / "ptxas")
        command = [ptxas, "-v", f"-arch={architecture}", str(path), "-o", f"{folder}/kernels.cubin"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ValueError(f"ptxas: {done.stderr}")
        return (Path(folder) / "kernels.cubin").read_bytes(), done.stderr


def _ptx(packages: Path, architecture: str) -> bytes:
    nvrtc = ctypes.CDLL(str(packages / "cuda_nvrtc" / "lib" / "libnvrtc.so.11.2"))
    headers = "\n".join(f'#include "{name}.cuh"' for name in ("convolve", "elementwise", "move", "search"))
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), headers.encode(), b"all.cu", 0, None, None)
    for name in instances():
        nvrtc.nvrtcAddNameExpression(program, name.encode())
    virtual = architecture.replace("sm_", "compute_")
    options = [f"--gpu-architecture={virtual}", "--std=c++14", f"-I{SOURCES}"]
    options += [f"-I{packages / name / 'include'}" for name in ("cuda_runtime", "cuda_nvcc")]
    array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    error = nvrtc.nvrtcCompileProgram(program, len(options), array)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    if error != 0:
        raise ValueError(f"NVRTC: {log.value.decode()}")
    nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    code = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetPTX(program, code)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return code.value


def write_binary(packages: Path, architecture: str, folder: Path) -> Path:
    """Compile for one architecture, and write the file; those of it that were there before are taken away.

    Raises:
        ValueError: as `compile_kernels`.
    """
    code, _ = compile_kernels(packages, architecture)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(architecture, code)
    for old in folder.glob(f"{architecture}-*.cubin.xz"):
        if old != path:
            old.unlink()
    path.write_bytes(lzma.compress(code, preset=9))
    return path


def main(arguments: Sequence[str]) -> int:
    """0, or 2 with one line."""
    if not arguments or not set(arguments[1:]) <= set(ARCHITECTURES):
        print(f"compile_binaries: expected FOLDER and architectures among {ARCHITECTURES}", file=sys.stderr)
        return 2
    try:
        packages = toolkit()
        for architecture in arguments[1:] or ARCHITECTURES:
            print(write_binary(packages, architecture, Path(arguments[0])), flush=True)
    except (ValueError, OSError) as error:
        print(f"compile_binaries: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
