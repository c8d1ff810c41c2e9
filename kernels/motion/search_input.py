"""What a motion search works on, and what that must be: the same for the search in numba and in C++."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.motion.field import check_vectors, covering_grid

QUARTER = 4  # pixels of the image that one pixel of the coarsest level covers, each way


@dataclass(frozen=True, slots=True, eq=False)
class ImagePyramid:
    """An image and its levels, computed once for all searches: see `build_pyramid`.

    Attributes:
        pixels: (H, W) or (H, W, 3), contiguous; shared with the caller, who must not write to it.
        grey: (H, W).
        quarter: (⌊H/4⌋, ⌊W/4⌋), means of 4×4 grey pixels.
    """

    pixels: NDArray[np.uint8]
    grey: NDArray[np.uint8]
    quarter: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `pixels`."""
        return self.pixels.shape


def check_image(image: NDArray[np.uint8], name: str) -> tuple[int, int]:
    """Height and width of an image to be searched in.

    Raises:
        TypeError: not an array of uint8.
        ValueError: another shape than (H, W) or (H, W, 3), or a side below 8 px.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(
            f"{name} must be a numpy array of uint8 (got {getattr(image, 'dtype', type(image).__name__)})"
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"{name} must have the shape (H, W) or (H, W, 3) (got {image.shape})")
    height, width = image.shape[:2]
    if min(height, width) < 8:
        raise ValueError(f"{name} must have a height and a width of at least 8 px (got {height}x{width})")
    return int(height), int(width)


def check_search(
    frame: ImagePyramid,
    reference: ImagePyramid,
    block_px: int,
    radius_px: int,
    predicted: NDArray[np.int16] | None,
) -> tuple[int, int, NDArray[np.int16] | None]:
    """Rows and columns of the blocks to be found, and the vectors that centre their windows; None: zero.

    Raises:
        TypeError, ValueError: an argument that no search takes, by name.
    """
    if frame.shape != reference.shape:
        raise ValueError(f"reference must have the frame's shape {frame.shape} (got {reference.shape})")
    height, width = frame.shape[:2]
    rows, columns = covering_grid(height, width, block_px, multiple_px=8)
    if not isinstance(radius_px, (int, np.integer)) or radius_px < 0:
        raise ValueError(f"radius_px must be an integer >= 0 px (got {radius_px!r})")
    centres = None if predicted is None else check_vectors(predicted, (rows, columns), "predicted")
    return rows, columns, centres
