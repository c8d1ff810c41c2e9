"""Motion search in C++, for places without numba: the face and the results of `kernels.motion.search`.

`compiled_search.cpp` is built at first use, as the executor's C++ operations are (`kernels.ops.libraries`).
The measuring kit carries this module in the place of the one that numba compiles.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kernels.motion.field import MotionField
from kernels.motion.search_input import QUARTER, ImagePyramid, check_image, check_search
from kernels.ops.cpu import loader
from kernels.ops.libraries import BuildError, BuildRecipe, load, obtain

SOURCE = Path(__file__).with_suffix(".cpp")


@cache
def search_library() -> ctypes.CDLL:
    """The library, built if it is not yet in the cache.

    Raises:
        BuildError: no compiler and no library, a compiler that failed, or a cache that cannot be used.
    """
    asked = os.environ.get("CXX")
    missing = f"no C++ compiler found (tried {asked or ', '.join(loader.COMPILERS)}): install g++ or set CXX"
    path = loader.compiler()
    if path is None and asked:
        raise BuildError(missing)
    recipe = BuildRecipe("search", [SOURCE], [SOURCE], loader.FLAGS, machine=loader.processor())
    loaded = load(obtain(recipe, path, missing))
    pointer, whole = ctypes.c_void_p, ctypes.c_int
    loaded.fluxshard_levels.argtypes = (pointer, whole, whole, whole, pointer, pointer)
    loaded.fluxshard_search.argtypes = (*(pointer,) * 6, *(whole,) * 5, *(pointer,) * 3)
    loaded.fluxshard_levels.restype = loaded.fluxshard_search.restype = None
    return loaded


def unavailable() -> str | None:
    """Why the search cannot run here: no compiler, or a failed build."""
    try:
        search_library()
    except BuildError as error:
        return str(error)
    return None


def build_pyramid(image: NDArray[np.uint8], name: str = "image") -> ImagePyramid:
    """`kernels.motion.image_pyramid.build_pyramid`, bit for bit; the same arguments and errors.

    Raises:
        TypeError, ValueError: as there.
        BuildError: there is no library.
    """
    height, width = check_image(image, name)
    pixels = np.ascontiguousarray(image)
    grey = np.empty((height, width), np.uint8) if image.ndim == 3 else pixels
    quarter = np.empty((height // QUARTER, width // QUARTER), np.uint8)
    channels = 3 if image.ndim == 3 else 1
    search_library().fluxshard_levels(
        pixels.ctypes.data, height, width, channels, grey.ctypes.data, quarter.ctypes.data
    )
    return ImagePyramid(pixels, grey, quarter)


def search_motion(
    frame: NDArray[np.uint8] | ImagePyramid,
    reference: NDArray[np.uint8] | ImagePyramid,
    block_px: int = 16,
    radius_px: int = 16,
    predicted: NDArray[np.int16] | None = None,
) -> MotionField:
    """`kernels.motion.search.search_motion` on the processor, bit for bit; the same arguments and errors.

    Raises:
        TypeError, ValueError: as there.
        BuildError: there is no library.
    """
    frame = frame if isinstance(frame, ImagePyramid) else build_pyramid(frame, "frame")
    reference = reference if isinstance(reference, ImagePyramid) else build_pyramid(reference, "reference")
    rows, columns, centres = check_search(frame, reference, block_px, radius_px, predicted)
    height, width = frame.shape[:2]
    vectors = np.empty((rows, columns, 2), np.int16)
    difference = np.empty((rows, columns), np.float32)
    search_library().fluxshard_search(
        frame.pixels.ctypes.data,
        reference.pixels.ctypes.data,
        frame.grey.ctypes.data,
        reference.grey.ctypes.data,
        frame.quarter.ctypes.data,
        reference.quarter.ctypes.data,
        height,
        width,
        3 if frame.pixels.ndim == 3 else 1,
        block_px,
        radius_px,
        None if centres is None else centres.ctypes.data,
        vectors.ctypes.data,
        difference.ctypes.data,
    )
    return MotionField(vectors, difference)
