"""A GPU emulated on the CPU: the operations over a build of the kernels with `shim.h`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from kernels.ops.cpu.loader import BuildError, compiler
from kernels.ops.cuda.operations import CudaOperations
from kernels.ops.cuda.search import MotionSearcher


class EmulatedGpu(CudaOperations):
    """The operations of an emulated GPU, on tensors of the CPU.

    Args:
        build: makes the library with a given C++ compiler, once.

    Attributes:
        searcher: the motion search.
    """

    def __init__(self, build: Callable[[str], ctypes.CDLL]) -> None:
        def library(_: int = 0) -> ctypes.CDLL:
            path = compiler()
            if path is None:
                raise BuildError("no C++ compiler found: install g++ or set CXX")
            return build(path)

        super().__init__("cpu", library)
        self.searcher = MotionSearcher(self)

    def set_order(self, seed: int) -> None:
        """The order of threads and blocks: 0 counts up, negative down, positive seeds shuffles."""
        self._library(0).fluxshard_shim_order(ctypes.c_int(seed))

    def unavailable(self, device: str) -> str | None:
        """Why it cannot run here: another device than "cpu", no compiler, or one that cannot build it."""
        if device != "cpu":
            return f"runs on cpu tensors only (got {device})"
        try:
            self._library(0)
        except (BuildError, OSError) as error:
            return str(error)
        return None
