"""The CUDA kernels run by the processor, thread by thread: for tests, on tensors of the CPU.

The same device code, launchers and Python as `kernels.ops.cuda`, compiled by a C++ compiler with `shim.h`.
Thousands of times slower than a GPU. It shows wrong indices, borders, alignment and barriers, and in another
order of threads and blocks (`set_order`) races; `shim.watched` names each race by itself. It says nothing of
speed or of memory order between blocks.
"""

from __future__ import annotations

import ctypes

from kernels.ops.cpu.loader import BuildError, compiler
from kernels.ops.cuda import refuses
from kernels.ops.cuda.build import shim_library
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
    return shim_library(path)


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
    """The order of threads and blocks: 0 counts up, negative down, positive seeds shuffles."""
    _library().fluxshard_shim_order(ctypes.c_int(seed))


def unavailable(device: str) -> str | None:
    """Why the shim cannot run here: another device than "cpu", no compiler, or a failed build."""
    if device != "cpu":
        return f"runs on cpu tensors only (got {device})"
    try:
        _library()
    except BuildError as error:
        return str(error)
    return None
