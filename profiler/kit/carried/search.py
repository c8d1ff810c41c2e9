"""`kernels.motion.search` without numba: the C++ search, which finds the same."""

from __future__ import annotations

from kernels.motion.compiled_search import search_motion

__all__ = ["search_motion"]
