"""The CUDA kernels emulated on the CPU, thread by thread: for tests, on tensors of the CPU.

The same device code, launchers and Python as `kernels.ops.cuda`, compiled by a C++ compiler with `shim.h`.
Thousands of times slower than a GPU. It shows wrong indices, borders, alignment and barriers, and in another
order of threads and blocks (`set_order`) races; `shim.racecheck` reports each race by itself. It says nothing
of speed or of memory order between blocks.
"""

from __future__ import annotations

from kernels.ops.cuda import refuses
from kernels.ops.cuda.build import shim_library
from kernels.ops.cuda.shim.emulator import EmulatedGpu

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


_gpu = EmulatedGpu(shim_library)

convolve = _gpu.convolve
gather = _gpu.gather
pack_convolution = _gpu.pack_convolution
pointwise = _gpu.pointwise
pool = _gpu.pool
prune = _gpu.prune
remap = _gpu.remap
scatter = _gpu.scatter
upsample = _gpu.upsample
prepare = _gpu.searcher.prepare
search_motion = _gpu.searcher.search_motion
set_order = _gpu.set_order
unavailable = _gpu.unavailable
