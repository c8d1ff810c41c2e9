"""Builds the C++ sources beside this file at first use, and loads them through ctypes.

The library has a plain C interface and knows nothing of torch or Python: building takes seconds, and the same
source serves every version of both. It is cached under `~/.cache/fluxshard` (or `FLUXSHARD_CACHE`) in a file
named by hashes of the sources, the compiler's version, the flags and this machine's processor.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
from functools import cache
from pathlib import Path

from conf.search_path import cache_folder
from kernels.ops.libraries import BuildError, BuildRecipe, load, obtain

__all__ = ["BuildError", "cache_folder", "compiler", "library", "processor"]

SOURCES = Path(__file__).parent
# Not -ffast-math: a NaN must stay one, and sums must keep their order.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-shared")
COMPILERS = ("g++", "clang++", "c++")


def compiler() -> str | None:
    """The C++ compiler to use: `CXX` if set, else the first of g++, clang++ and c++ that is installed."""
    candidates = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    return next((found for name in candidates if (found := shutil.which(name))), None)


def processor() -> str:
    """What -march=native depends on: the machine's name and, on Linux, its processor's flags."""
    description = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return description
    wanted = ("model name", "flags", "Features", "CPU part")
    return description + "".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


@cache
def library() -> ctypes.CDLL:
    """The library, built if it is not yet in the cache.

    Raises:
        BuildError: no compiler and no library, a compiler that failed, or a cache that cannot be used.
    """
    asked = os.environ.get("CXX")
    tried = f"CXX={asked}" if asked else ", ".join(COMPILERS)
    missing = f"no C++ compiler found (tried {tried}): install g++ or set CXX"
    path = compiler()
    if path is None and asked:
        raise BuildError(missing)
    files = sorted(SOURCES.rglob("*.cpp"))
    sources = (*files, *SOURCES.rglob("*.h"))
    recipe = BuildRecipe("cpu", files, sources, FLAGS, machine=processor(), apart=True)
    loaded = load(obtain(recipe, path, missing))
    for name in _FUNCTIONS:
        getattr(loaded, name).restype = None
    return loaded


_FUNCTIONS = (
    "fluxshard_convolve",
    "fluxshard_program_in",
    "fluxshard_active_cells",
    "fluxshard_grow",
    "fluxshard_follow",
    "fluxshard_collect",
    "fluxshard_collect_map",
    "fluxshard_bring",
    "fluxshard_gather",
    "fluxshard_interleave",
    "fluxshard_scatter",
    "fluxshard_move",
    "fluxshard_move_bilinear",
    "fluxshard_prune",
    "fluxshard_certify",
    "fluxshard_truncate",
    "fluxshard_truncate_blocks",
    "fluxshard_truncate_enter",
    "fluxshard_truncate_put",
    "fluxshard_pointwise",
    "fluxshard_pool",
    "fluxshard_upsample_nearest",
    "fluxshard_upsample_bilinear",
)
