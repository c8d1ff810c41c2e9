"""Global motion: one vector for a whole frame, to centre a search that has no prediction.

Block matching reaches some 16 px; a handheld camera that pans moves the image further than that from one
frame to the next. Where no earlier search against the same reference says where to look, this does.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.motion.byte_rows import sad_8x8
from kernels.motion.image_pyramid import ImagePyramid, build_pyramid

_TILE = 8


def estimate_global_motion(
    frame: NDArray[np.uint8] | ImagePyramid, reference: NDArray[np.uint8] | ImagePyramid, reach_px: int = 128
) -> tuple[int, int]:
    """The (dx, dy), in steps of 4 px, from where most of a frame stands to where it stood in the reference.

    The mean difference of the area that both images show, at a sixteenth of the resolution over the whole
    reach, then at a quarter around the best. At least a quarter of the frame must remain in view. Of
    equal places the shorter vector wins, then the smaller (dy, dx).

    Args:
        frame, reference: uint8, (H, W) or (H, W, 3), the same shape; arrays, or their
            pyramids (`build_pyramid`).
        reach_px: how far to look each way.

    Raises:
        TypeError, ValueError: an argument that is none of the above, by name.
    """
    frame = frame if isinstance(frame, ImagePyramid) else build_pyramid(frame, "frame")
    reference = reference if isinstance(reference, ImagePyramid) else build_pyramid(reference, "reference")
    if frame.shape != reference.shape:
        raise ValueError(f"reference must have the frame's shape {frame.shape} (got {reference.shape})")
    if not isinstance(reach_px, (int, np.integer)) or reach_px < 0:
        raise ValueError(f"reach_px must be an integer >= 0 px (got {reach_px!r})")
    rough_frame, rough_reference = _quarter_of(frame.quarter), _quarter_of(reference.quarter)
    x = y = 0
    if min(rough_frame.shape) >= _TILE:
        x, y = _best_shift(rough_frame, rough_reference, 0, 0, int(reach_px) // 16)
    if min(frame.quarter.shape) >= _TILE:
        x, y = _best_shift(frame.quarter, reference.quarter, 4 * x, 4 * y, min(3, int(reach_px) // 4))
    return 4 * int(x), 4 * int(y)


def _quarter_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means of 4×4 pixels; what does not fill a square at the right and the bottom is left out."""
    rows, columns = image.shape[0] // 4, image.shape[1] // 4
    squares = image[: 4 * rows, : 4 * columns].reshape(rows, 4, columns, 4)
    means: NDArray[np.uint8] = ((squares.sum(axis=(1, 3), dtype=np.uint16) + 8) >> 4).astype(np.uint8)
    return means


@njit(cache=True, nogil=True)
def _best_shift(frame, reference, centre_x, centre_y, reach):  # type: ignore[no-untyped-def]
    """The shift within `reach` of the centre with the smallest mean difference over the common tiles."""
    height, width = frame.shape
    a, b = frame.reshape(-1), reference.reshape(-1)
    needed = (height // _TILE) * (width // _TILE) / 4
    best, best_x, best_y = np.inf, 0, 0
    for dy in range(centre_y - reach, centre_y + reach + 1):
        for dx in range(centre_x - reach, centre_x + reach + 1):
            total, tiles = np.int64(0), 0
            for y in range(max(0, -dy), min(height, height - dy) - _TILE + 1, _TILE):
                for x in range(max(0, -dx), min(width, width - dx) - _TILE + 1, _TILE):
                    total += sad_8x8(a, y * width + x, width, b, (y + dy) * width + x + dx, width)
                    tiles += 1
            if tiles == 0 or tiles < needed:
                continue
            mean, length, best_length = total / tiles, dx * dx + dy * dy, best_x * best_x + best_y * best_y
            if mean < best or (mean == best and length < best_length):
                best, best_x, best_y = mean, dx, dy
    return best_x, best_y
