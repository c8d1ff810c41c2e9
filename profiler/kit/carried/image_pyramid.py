"""`kernels.motion.image_pyramid` without numba: by the C++ search."""

from __future__ import annotations

from kernels.motion.compiled_search import build_pyramid
from kernels.motion.search_input import QUARTER, ImagePyramid

__all__ = ["QUARTER", "ImagePyramid", "build_pyramid"]
