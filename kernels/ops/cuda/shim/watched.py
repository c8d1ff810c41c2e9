"""The shim with every access to memory watched: a race fails the launch that has it.

Slower than the shim by a factor of ten or so, and for GCC only.
"""

from __future__ import annotations

import ctypes

from kernels.ops.cpu.loader import BuildError, compiler
from kernels.ops.cuda import refuses
from kernels.ops.cuda.build import watched_library
from kernels.ops.cuda.operations import Operations
from kernels.ops.cuda.search import Searcher

__all__ = [
    "convolve",
    "gather",
    "pack_convolution",
    "pointwise",
    "pool",
    "prepare",
    "prune",
    "refuses",
    "remap",
    "scatter",
    "search_motion",
    "set_order",
    "unavailable",
    "upsample",
]


def _library(_: int = 0) -> ctypes.CDLL:
    path = compiler()
    if path is None:
        raise BuildError("no C++ compiler found: install g++ or set CXX")
    return watched_library(path)


_operations = Operations("cpu", _library)
_searcher = Searcher(_operations)

convolve = _operations.convolve
gather = _operations.gather
pack_convolution = _operations.pack_convolution
pointwise = _operations.pointwise
pool = _operations.pool
prune = _operations.prune
remap = _operations.remap
scatter = _operations.scatter
upsample = _operations.upsample
prepare = _searcher.prepare
search_motion = _searcher.search_motion


def set_order(seed: int) -> None:
    """As the shim's."""
    _library().fluxshard_shim_order(ctypes.c_int(seed))


def unavailable(device: str) -> str | None:
    """Why it cannot run here: another device than "cpu", no compiler, or one that cannot watch."""
    if device != "cpu":
        return f"runs on cpu tensors only (got {device})"
    try:
        _library()
    except (BuildError, OSError) as error:
        return str(error)
    return None
