"""The image pyramid that a motion search works on: full resolution, grey, a quarter of the resolution."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.motion.byte_rows import flat_bytes
from kernels.motion.search_input import QUARTER, ImagePyramid, check_image

__all__ = ["QUARTER", "ImagePyramid", "build_pyramid"]


def build_pyramid(image: NDArray[np.uint8], name: str = "image") -> ImagePyramid:
    """Compute the grey and quarter-resolution levels of an image.

    A frame that is searched against two references, or becomes the next reference, needs one pyramid.

    Args:
        image: (H, W) or (H, W, 3) uint8, H and W at least 8; copied only if not contiguous or read-only.
        name: what error messages call the image.

    Raises:
        TypeError: not an array of uint8.
        ValueError: another shape.
    """
    height, width = check_image(image, name)
    pixels: NDArray[np.uint8] = flat_bytes(image).reshape(image.shape)
    grey: NDArray[np.uint8]
    if image.ndim == 3:
        grey = np.empty((height, width), np.uint8)
        _to_grey(pixels, grey)
    else:
        grey = pixels
    quarter = np.empty((height // QUARTER, width // QUARTER), np.uint8)
    _to_quarter(grey, quarter)
    return ImagePyramid(pixels, grey, quarter)


@njit(cache=True, nogil=True)
def _to_grey(pixels, grey):  # type: ignore[no-untyped-def]
    flat = pixels.reshape(-1)
    out = grey.reshape(-1)
    for i in range(out.size):
        out[i] = (
            np.uint16(flat[3 * i]) + 2 * np.uint16(flat[3 * i + 1]) + np.uint16(flat[3 * i + 2]) + 2
        ) >> 2


@njit(cache=True, nogil=True)
def _to_quarter(grey, quarter):  # type: ignore[no-untyped-def]
    rows, columns = quarter.shape
    column_sums = np.empty(4 * columns, np.uint16)
    for row in range(rows):
        a, b, c, d = grey[4 * row], grey[4 * row + 1], grey[4 * row + 2], grey[4 * row + 3]
        for i in range(4 * columns):
            column_sums[i] = np.uint16(a[i]) + np.uint16(b[i]) + np.uint16(c[i]) + np.uint16(d[i])
        for i in range(columns):
            total = (
                column_sums[4 * i] + column_sums[4 * i + 1] + column_sums[4 * i + 2] + column_sums[4 * i + 3]
            )
            quarter[row, i] = (total + 8) >> 4
