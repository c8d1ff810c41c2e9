"""Compiles the CUDA sources beside this file at first use, and loads them through ctypes.

Device code and launchers have a plain C interface and know nothing of torch: one source serves every version
of torch, and every toolkit from CUDA 11.4 on. A library is built for the one architecture at hand and cached
under `~/.cache/fluxshard` (or `FLUXSHARD_CACHE`) in a file named by hashes of the sources, the compiler's
version, the flags and the architecture. `FLUXSHARD_NVCC` names another compiler than the one on the PATH.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
from functools import cache
from pathlib import Path

from kernels.ops.cpu import loader
from kernels.ops.cuda.precompiled import KernelBinary, binary_for
from kernels.ops.libraries import BuildError, BuildRecipe, load, obtain

SOURCES = Path(__file__).parent
# No --use_fast_math: a NaN must stay one, and an activation must agree with torch's.
FLAGS = ("-O3", "-std=c++14", "-lineinfo", "-Xcompiler", "-fPIC", "-shared")
SHIM_FLAGS = (
    *("-O2", "-std=c++14", "-ffp-contract=off", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE"),
    *("-Wno-unknown-pragmas", "-DFLUXSHARD_SHIM", "-fPIC", "-shared", "-x", "c++"),
)
# The kernels are compiled for the sake of their names: nobody runs them.
DRIVER_FLAGS = (
    *("-O1", "-std=c++14", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE", "-Wno-unknown-pragmas"),
    *("-DFLUXSHARD_SHIM", "-DFLUXSHARD_DRIVER", "-fPIC", "-shared", "-x", "c++"),
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
    """The library for one architecture: built by nvcc, or precompiled kernels behind a launcher built by g++.

    Args:
        target: an architecture, such as "sm_90".

    Raises:
        BuildError: neither can be had; the message says why for both.
    """
    try:
        return _compiled_library(target)
    except BuildError as error:
        try:
            return _precompiled_library(target)[0]
        except (BuildError, ValueError) as other:
            raise BuildError(f"{error}; {other}") from other


def built_by(target: str) -> str:
    """How the library of an architecture was made, for what is said of a measurement.

    Raises:
        BuildError: as `cuda_library`.
    """
    cuda_library(target)
    try:
        _compiled_library(target)
    except BuildError:
        return f"precompiled for {_precompiled_library(target)[1].architecture}"
    return "compiled here"


@cache
def _compiled_library(target: str) -> ctypes.CDLL:
    path, asked = nvcc(), os.environ.get(VARIABLE)
    tried = f"{VARIABLE}={asked}" if asked else "the PATH, CUDA_HOME, /usr/local/cuda"
    missing = f"no nvcc found (tried {tried}): install the CUDA toolkit or set {VARIABLE}"
    if path is None and asked:
        raise BuildError(missing)
    flags = (*FLAGS, f"-arch={target}")
    recipe = BuildRecipe(
        f"cuda-{target}", [SOURCES / "launch.cu"], _sources(), flags, machine=platform.machine()
    )
    return _typed(load(obtain(recipe, path, missing)))


@cache
def _precompiled_library(target: str) -> tuple[ctypes.CDLL, KernelBinary]:
    """Kernels that lie beside the sources, launched through the driver.

    Raises:
        ValueError: no binary serves the architecture.
        BuildError: the launcher cannot be compiled.
    """
    binary, code = binary_for(target)
    library = launcher_library(loader.compiler(), target)
    library.kept_code = code  # type: ignore[attr-defined]  # the driver reads it when a context first needs it
    library.fluxshard_open(code)
    return library, binary


def launcher_library(compiler: str | None, target: str) -> ctypes.CDLL:
    """launch.cu for a processor alone, which finds its kernels in a binary (driver.h); opened with none.

    Args:
        compiler: for C++; None where there is none, and a library of an earlier build serves. target: the
            architecture that it will launch on: each has a library of its own, since it holds one binary.

    Raises:
        BuildError: the compiler failed, or there is none and no library.
    """
    files = [SOURCES / "launch.cu", SOURCES / "shim" / "fibers.cpp"]
    recipe = BuildRecipe(
        "cuda-launcher", files, _sources(), (*DRIVER_FLAGS, "-ldl"), (SOURCES,), platform.machine() + target
    )
    library = _typed(load(obtain(recipe, compiler, "no C++ compiler found: install g++ or set CXX")))
    library.fluxshard_open.argtypes, library.fluxshard_open.restype = (ctypes.c_char_p,), None
    return library


@cache
def shim_library(compiler: str) -> ctypes.CDLL:
    """The same sources built for the CPU, with the shim in place of CUDA: slow, and meant for tests.

    Raises:
        BuildError: the compiler failed; the message has its first lines.
    """
    files = [SOURCES / "launch.cu", SOURCES / "shim" / "fibers.cpp"]
    recipe = BuildRecipe("cuda-shim", files, _sources(), SHIM_FLAGS, (SOURCES,), platform.machine())
    return _typed(load(obtain(recipe, compiler, "no C++ compiler found: install g++ or set CXX")))


@cache
def racecheck_library(compiler: str) -> ctypes.CDLL:
    """As `shim_library`, with every access to memory checked for races (shim/races.cpp).

    Raises:
        BuildError: the compiler failed, as others than GCC will; the message has its first lines.
    """
    flags, files = racecheck_flags(compiler), [SOURCES / "launch.cu"]
    recipe = BuildRecipe("cuda-racecheck", files, _sources(), flags, (SOURCES,), platform.machine())
    return _typed(load(obtain(recipe, compiler, "no C++ compiler found: install g++ or set CXX")))


def racecheck_flags(compiler: str) -> tuple[str, ...]:
    """How to compile kernels so that every access is checked.

    Raises:
        BuildError: as `racecheck_library`.
    """
    files = [SOURCES / "shim" / name for name in ("fibers.cpp", "races.cpp")]
    recipe = BuildRecipe("cuda-emulator", files, _sources(), SHIM_FLAGS, (SOURCES,), platform.machine())
    emulator = obtain(recipe, compiler, "no C++ compiler found: install g++ or set CXX")
    # Only the kernels are instrumented, and what they call is ours: the sanitizer's own library stays out.
    linked = ("-nodefaultlibs", "-Wl,--no-as-needed", f"-Wl,{emulator}", "-lc", "-lm")
    return (*linked, "-fsanitize=thread", "--param", "tsan-distinguish-volatile=1", *SHIM_FLAGS)


def _sources() -> list[Path]:
    patterns = ("*.cu", "*.cuh", "*.h", "shim/*.h", "shim/*.cpp")
    return [path for pattern in patterns for path in SOURCES.glob(pattern)]


def _typed(library: ctypes.CDLL) -> ctypes.CDLL:
    for name, parameters in _SIGNATURES.items():
        function = getattr(library, f"fluxshard_{name}")
        function.argtypes, function.restype = parameters, _int
    library.fluxshard_error.argtypes, library.fluxshard_error.restype = (_int,), ctypes.c_char_p
    return library
