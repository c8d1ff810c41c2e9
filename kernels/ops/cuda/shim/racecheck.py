"""The emulated GPU with a race detector: every access to memory is checked, and a race fails its launch.

Slower than the shim by a factor of ten or so, and for GCC only.
"""

from __future__ import annotations

from kernels.ops.cuda.build import racecheck_library
from kernels.ops.cuda.shim.emulator import EmulatedGpu

RACECHECK = EmulatedGpu(racecheck_library)
