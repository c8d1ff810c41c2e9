"""The CUDA kernels run by the processor, thread by thread: for tests, on tensors of the CPU.

The same device code, launchers and Python as `kernels.ops.cuda`, compiled by a C++ compiler with `shim.h`.
Thousands of times slower than a GPU. It shows wrong indices, borders, alignment and barriers, and in another
order of threads and blocks (`set_order`) races; `shim.watched` names each race by itself. It says nothing of
speed or of memory order between blocks.
"""

from __future__ import annotations

from kernels.ops.cuda import refuses
from kernels.ops.cuda.build import shim_library
from kernels.ops.cuda.shim.machine import Machine

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


_machine = Machine(shim_library)

convolve = _machine.convolve
gather = _machine.gather
pack_convolution = _machine.pack_convolution
pointwise = _machine.pointwise
pool = _machine.pool
prune = _machine.prune
remap = _machine.remap
scatter = _machine.scatter
upsample = _machine.upsample
prepare = _machine.searcher.prepare
search_motion = _machine.searcher.search_motion
set_order = _machine.set_order
unavailable = _machine.unavailable
