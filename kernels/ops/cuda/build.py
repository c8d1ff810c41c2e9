"""Compiles the CUDA sources beside this file at first use, and loads them through ctypes.

Device code and launchers have a plain C interface and know nothing of torch: one source serves every version
of torch, and every toolkit from CUDA 11.4 on. A library is built for the one architecture at hand and cached
under `~/.cache/fluxshard` (or `FLUXSHARD_CACHE`) in a file named by a hash of the sources, the compiler's
version, the flags and the architecture. `FLUXSHARD_NVCC` names another compiler than the one on the PATH.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from kernels.ops.cpu.loader import BuildError, cache_folder

SOURCES = Path(__file__).parent
# No --use_fast_math: a NaN must stay one, and an activation must agree with torch's.
FLAGS = ("-O3", "-std=c++14", "-lineinfo", "-Xcompiler", "-fPIC", "-shared")
SHIM_FLAGS = (
    *("-O2", "-std=c++14", "-ffp-contract=off", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE"),
    *("-Wno-unknown-pragmas", "-DFLUXSHARD_SHIM", "-fPIC", "-shared", "-x", "c++"),
)
VARIABLE = "FLUXSHARD_NVCC"

_int, _float, _pointer = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
_source = (_pointer, _int, _int, _int, _pointer, _int, _pointer, _pointer, _int)
_tiles = (_pointer, _int, _int, _int)
_out = (_pointer, _int, _int, _int)
# The parameters of launch.cu, function by function.
_SIGNATURES: dict[str, tuple[type, ...]] = {
    "gather": (_int, *_source, _pointer, *(_int,) * 8, _float, _pointer, _pointer),
    "scatter": (_int, _pointer, *_tiles, _int, *_out, _pointer),
    "remap": (_int, _pointer, _int, _pointer, _int, _pointer, _int, *_out, _pointer),
    "prune": (_int, _pointer, _int, *_tiles, _int, _float, _pointer, *_out, _pointer),
    "pool": (_int, _int, _pointer, _int, *_source, *_tiles, _int, *_out, _pointer),
    "pointwise": (
        *(_int, _int, _pointer, _int, _pointer, _int),
        *(*_tiles, _int, _int, _float, *_out, _pointer),
    ),
    "upsample": (_int, _int, _int, _float, _float, *_source, *_tiles, _int, *_out, _pointer),
    "convolve": (
        *(_int, *_source, *_tiles, *_out, _pointer, _int, _pointer),
        *(_int, _int, _int, _int, _int, _pointer, _pointer, _int, _float, _int, _pointer),
    ),
    "prepare": (_pointer, _int, _int, _int, _pointer, _pointer, _pointer),
    "search": (*(_pointer,) * 6, *(_int,) * 5, *(_pointer,) * 6),
}


def nvcc() -> str | None:
    """The CUDA compiler: `FLUXSHARD_NVCC`, else nvcc on the PATH, under CUDA_HOME or in /usr/local/cuda."""
    if os.environ.get(VARIABLE):
        return shutil.which(os.environ[VARIABLE])
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    candidates = ["nvcc", *(str(Path(home) / "bin" / "nvcc") for home in homes if home)]
    return next((found for name in candidates if (found := shutil.which(name))), None)


def architecture(device: int) -> str:
    """What to compile for: "sm_90" for a device of capability 9.0."""
    import torch

    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


@cache
def cuda_library(target: str) -> ctypes.CDLL:
    """The library for one architecture, built if it is not yet in the cache.

    Args:
        target: an architecture, such as "sm_90".

    Raises:
        BuildError: no nvcc, or it failed; the message has its first lines.
    """
    path = nvcc()
    if path is None:
        asked = os.environ.get(VARIABLE)
        tried = f"{VARIABLE}={asked}" if asked else "the PATH, CUDA_HOME, /usr/local/cuda"
        raise BuildError(f"no nvcc found (tried {tried}): install the CUDA toolkit or set {VARIABLE}")
    flags = (*FLAGS, f"-arch={target}")
    return _load(built(f"cuda-{target}", path, flags, [SOURCES / "launch.cu"]))


@cache
def shim_library(compiler: str) -> ctypes.CDLL:
    """The same sources for the processor, through the shim: slow, and meant for tests.

    Raises:
        BuildError: the compiler failed; the message has its first lines.
    """
    files = [SOURCES / "launch.cu", SOURCES / "shim" / "fibers.cpp"]
    return _load(built("cuda-shim", compiler, (f"-I{SOURCES}", *SHIM_FLAGS), files))


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    for name, parameters in _SIGNATURES.items():
        function = getattr(library, f"fluxshard_{name}")
        function.argtypes, function.restype = parameters, _int
    library.fluxshard_error.argtypes, library.fluxshard_error.restype = (_int,), ctypes.c_char_p
    return library


def built(name: str, compiler: str, flags: Sequence[str], files: Sequence[Path]) -> Path:
    """The library `compiler` makes of `files`, from the cache or made now.

    Raises:
        BuildError: the compiler failed, or the cache cannot be written.
    """
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    # The folder's own place says nothing about what is built.
    digest = hashlib.sha256("\0".join((version, *(flag for flag in flags if flag[:2] != "-I"))).encode())
    for file in sorted(path for pattern in ("*.cu", "*.cuh", "shim/*.*") for path in SOURCES.glob(pattern)):
        if file.suffix in (".cu", ".cuh", ".h", ".cpp"):
            digest.update(file.read_bytes())
    target = cache_folder() / f"{name}-{digest.hexdigest()[:16]}.so"
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Built aside and renamed: another process may be building or loading the same file.
        handle, temporary = tempfile.mkstemp(suffix=".so", dir=target.parent)
    except OSError as error:
        raise BuildError(
            f"cannot write to the cache {target.parent} (set FLUXSHARD_CACHE): {error}"
        ) from error
    os.close(handle)
    command = [compiler, *flags, *map(str, files), "-o", temporary]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        Path(temporary).unlink()
        first = "\n".join((done.stderr or done.stdout).strip().splitlines()[:5])
        raise BuildError(f"{compiler} failed with exit code {done.returncode}:\n{first}")
    Path(temporary).replace(target)
    return target
