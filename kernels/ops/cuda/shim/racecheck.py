"""The shim with every access to memory watched: a race fails the launch that has it.

Slower than the shim by a factor of ten or so, and for GCC only.
"""

from __future__ import annotations

from kernels.ops.cuda.build import racecheck_library
from kernels.ops.cuda.shim.emulator import EmulatedGpu

RACECHECK = EmulatedGpu(racecheck_library)
