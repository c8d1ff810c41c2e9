"""`kernels.motion.image_pyramid` without numba: by the C++ search."""

from __future__ import annotations

from kernels.motion.compiled_search import QUARTER, build_pyramid
from kernels.motion.compiled_search import SearchImage as ImagePyramid

__all__ = ["QUARTER", "ImagePyramid", "build_pyramid"]
