"""Motion search: where in a reference each block of a frame was, and how much it still differs.

Block matching on two levels. A coarse search at a quarter of the resolution covers the window around the
predicted vector; its two best places (±2 px), the predicted vector and what the left and the upper neighbour
found (±1 px) are then refined at full resolution, and a pass backwards tries what the right and the lower
neighbour found.
Vectors are chosen on grey, (R + 2G + B) / 4, which is the same for RGB and BGR; the difference that is
reported is over all channels that were given.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.motion.byte_rows import flat_bytes, sad_4x4, sad_8x8, sad_16x16
from kernels.motion.field import MotionField, check_vectors, covering_grid
from kernels.motion.image_pyramid import QUARTER as _COARSE
from kernels.motion.image_pyramid import ImagePyramid, build_pyramid
from kernels.motion.search_input import check_search
from kernels.ops import registry

_FINE_PX = 2  # coarse places are 4 px apart, so ±2 px around them leaves no gap


def search_motion(
    frame: NDArray[np.uint8] | ImagePyramid,
    reference: NDArray[np.uint8] | ImagePyramid,
    block_px: int = 16,
    radius_px: int = 16,
    predicted: NDArray[np.int16] | None = None,
    backend: str | None = None,
) -> MotionField:
    """Find each block of `frame` in `reference`.

    The result is never worse than the zero vector, nor than the predicted one; no vector points outside the
    reference. Without a prediction no component exceeds `radius_px`; with one, a block may also take up a
    neighbour's vector (±1 px) from outside its window, so that a wrong prediction is not a lost block. Ties
    go to the shorter vector, then to the smaller (dy, dx).

    Args:
        frame, reference: uint8, (H, W) or (H, W, 3), the same shape; arrays, or their
            pyramids (`build_pyramid`).
        block_px: side of a block, a multiple of 8, at most H and W.
        radius_px: half the side of the search window, 0 or more.
        predicted: (⌈H/b⌉, ⌈W/b⌉, 2) integer vectors that centre each block's window (`predict_vectors`);
            those that point outside are moved inside. None: zero.
        backend: as the executor's: None is the processor, "cuda" gives the same field and copies the arrays
            there and back; FLUXSHARD_BACKEND overrides it.

    Raises:
        TypeError, ValueError: an argument that is none of the above, by name; a backend that cannot run here.
    """
    if registry.requested(backend)[0] not in (None, "cpu"):
        from kernels.motion import backends  # brings in torch

        if backends.search_device(backend) == "cuda":
            return backends.search_on_gpu(frame, reference, block_px, radius_px, predicted)
    frame = frame if isinstance(frame, ImagePyramid) else build_pyramid(frame, "frame")
    reference = reference if isinstance(reference, ImagePyramid) else build_pyramid(reference, "reference")
    rows, columns, centres = check_search(frame, reference, block_px, radius_px, predicted)
    height, width = frame.shape[:2]
    vectors = np.empty((rows, columns, 2), np.int16)
    difference = np.empty((rows, columns), np.float32)
    _search(
        frame.pixels.reshape(-1),
        reference.pixels.reshape(-1),
        frame.grey.reshape(-1),
        reference.grey.reshape(-1),
        frame.quarter.reshape(-1),
        reference.quarter.reshape(-1),
        width,
        height,
        block_px,
        radius_px,
        np.zeros((rows, columns, 2), np.int16) if centres is None else centres,
        centres is not None,
        vectors,
        difference,
    )
    return MotionField(vectors, difference)


def block_difference(
    frame: NDArray[np.uint8], reference: NDArray[np.uint8], vectors: NDArray[np.int16], block_px: int = 16
) -> NDArray[np.float32]:
    """The difference D of every block along given vectors, clamped so that the block lies inside.

    D = mean |frame(p) − reference(p + v)| / 255 over the block's pixels and channels, as (⌈H/b⌉, ⌈W/b⌉)
    float32; blocks as in `MotionField`.
    """
    if frame.shape != reference.shape:
        raise ValueError(f"reference must have the frame's shape {frame.shape} (got {reference.shape})")
    rows, columns = covering_grid(frame.shape[0], frame.shape[1], block_px)
    difference = np.empty((rows, columns), np.float32)
    _difference_along(
        flat_bytes(frame),
        flat_bytes(reference),
        frame.shape[1],
        frame.shape[0],
        block_px,
        check_vectors(vectors, (rows, columns), "vectors"),
        difference,
    )
    return difference


@njit(cache=True, nogil=True, inline="always")  # a call would count references
def _block_sad(a, offset_a, b, offset_b, stride, rows, width, limit):  # type: ignore[no-untyped-def]
    """Sum over `rows` × `width` bytes (multiples of 8); gives up, with a partial sum, once above `limit`."""
    if rows == 16 and width == 16:
        return sad_16x16(a, offset_a, stride, b, offset_b, stride)
    total = np.int64(0)
    side = 16 if rows % 16 == 0 else 8
    for row in range(0, rows, side):
        at_a, at_b = offset_a + row * stride, offset_b + row * stride
        for i in range(0, width, side):
            if side == 16:
                total += sad_16x16(a, at_a + i, stride, b, at_b + i, stride)
            else:
                total += sad_8x8(a, at_a + i, stride, b, at_b + i, stride)
        if total > limit:
            return total
    return total


@njit(cache=True, nogil=True)
def _coarse_sad(a, offset_a, b, offset_b, stride, side):  # type: ignore[no-untyped-def]
    if side == 4:
        return sad_4x4(a, offset_a, stride, b, offset_b, stride)
    total = np.int64(0)
    for row in range(side):
        for i in range(side):
            total += abs(np.int64(a[offset_a + row * stride + i]) - np.int64(b[offset_b + row * stride + i]))
    return total


@njit(cache=True, nogil=True)
def _before(sad, dx, dy, best_sad, best_dx, best_dy):  # type: ignore[no-untyped-def]
    """Whether a candidate comes before the best: smaller difference, shorter vector, smaller (dy, dx)."""
    if sad != best_sad:
        return sad < best_sad
    length, best_length = dx * dx + dy * dy, best_dx * best_dx + best_dy * best_dy
    if length != best_length:
        return length < best_length
    return dy < best_dy or (dy == best_dy and dx < best_dx)


@njit(cache=True, nogil=True)
def _coarse_places(quarter, reference, x, y, width, height, side, window):  # type: ignore[no-untyped-def]
    """The best two places of the window at a quarter of the resolution, as keys: see `_place`."""
    at, stride, half = y * width + x, width, _COARSE // 2
    # Rounding must not lead outside; it does not where all sizes are multiples of 4.
    low_x, low_y = max((window[0] + half) // _COARSE, -x), max((window[2] + half) // _COARSE, -y)
    high_x = min((window[1] + half) // _COARSE, width - side - x)
    high_y = min((window[3] + half) // _COARSE, height - side - y)
    # Without stores and branches in the loop the block stays in registers: four times as fast.
    first = second = np.int64(1) << 62
    for j in range(low_y, high_y + 1):
        for i in range(low_x, high_x + 1):
            sad = _coarse_sad(quarter, at, reference, at + j * stride + i, stride, side)
            key = (sad << 32) + ((j + 32768) << 16) + (i + 32768)
            first, key = min(first, key), max(first, key)
            second = min(second, key)
    return first, second


@njit(cache=True, nogil=True)
def _place(key):  # type: ignore[no-untyped-def]
    return ((key & 0xFFFF) - 32768) * _COARSE, (((key >> 16) & 0xFFFF) - 32768) * _COARSE


@njit(cache=True, nogil=True)
def _refine(  # type: ignore[no-untyped-def]
    grey, reference, here, width, block, window, around, reach, best
):
    """The best of `best` and the places within `reach` of `around`."""
    low_x, high_x, low_y, high_y = window
    best_sad, best_x, best_y = best
    for dy in range(max(around[1] - reach, low_y), min(around[1] + reach, high_y) + 1):
        for dx in range(max(around[0] - reach, low_x), min(around[0] + reach, high_x) + 1):
            sad = _block_sad(grey, here, reference, here + dy * width + dx, width, block, block, best_sad)
            if _before(sad, dx, dy, best_sad, best_x, best_y):
                best_sad, best_x, best_y = sad, dx, dy
    return best_sad, best_x, best_y


@njit(cache=True, nogil=True)
def _vector(vectors, row, column):  # type: ignore[no-untyped-def]
    return np.int64(vectors[row, column, 0]), np.int64(vectors[row, column, 1])


@njit(cache=True, nogil=True)
def _clamped(vectors, row, column, inside):  # type: ignore[no-untyped-def]
    """A block's vector, moved so that the block lies inside the reference."""
    x, y = _vector(vectors, row, column)
    return min(max(x, inside[0]), inside[1]), min(max(y, inside[2]), inside[3])


@njit(cache=True, nogil=True)
def _around(centre, radius, inside):  # type: ignore[no-untyped-def]
    """The vectors within `radius` of the centre that do not point outside: (low x, high x, low y, high y)."""
    low_x, high_x = max(inside[0], centre[0] - radius), min(inside[1], centre[0] + radius)
    low_y, high_y = max(inside[2], centre[1] - radius), min(inside[3], centre[1] + radius)
    return low_x, high_x, low_y, high_y


@njit(cache=True, nogil=True)
def _search(  # type: ignore[no-untyped-def]
    frame,
    reference,
    grey,
    ref_grey,
    quarter,
    ref_quarter,
    width,
    height,
    block,
    radius,
    centres,
    predicted,
    vectors,
    difference,
):
    rows, columns = difference.shape
    channels = frame.size // (width * height)
    quarter_size, side = (width // _COARSE, height // _COARSE), block // _COARSE
    never = np.int64(1) << 60
    zero = np.int64(0)
    sads = np.empty((rows, columns), np.int64)
    for row in range(rows):
        for column in range(columns):
            x0, y0 = min(column * block, width - block), min(row * block, height - block)
            here = y0 * width + x0
            inside = (-x0, width - block - x0, -y0, height - block - y0)
            centre = _clamped(centres, row, column, inside)
            window = _around(centre, radius, inside)
            best = (_block_sad(grey, here, ref_grey, here, width, block, block, never), zero, zero)
            if best[0] > 0:
                best = _refine(grey, ref_grey, here, width, block, window, centre, 1, best)
                reachable = inside if predicted else window
                if column > 0:
                    near = _vector(vectors, row, column - 1)
                    best = _refine(grey, ref_grey, here, width, block, reachable, near, 1, best)
                if row > 0:
                    near = _vector(vectors, row - 1, column)
                    best = _refine(grey, ref_grey, here, width, block, reachable, near, 1, best)
                x, y = x0 // _COARSE, y0 // _COARSE
                for key in _coarse_places(quarter, ref_quarter, x, y, *quarter_size, side, window):
                    near = _place(key)
                    best = _refine(grey, ref_grey, here, width, block, window, near, _FINE_PX, best)
            sads[row, column], vectors[row, column, 0], vectors[row, column, 1] = best

    # Back again, so that a vector found late reaches the blocks before it, too.
    for row in range(rows - 1, -1, -1):
        for column in range(columns - 1, -1, -1):
            x0, y0 = min(column * block, width - block), min(row * block, height - block)
            here = y0 * width + x0
            inside = (-x0, width - block - x0, -y0, height - block - y0)
            centre = _clamped(centres, row, column, inside)
            found = _vector(vectors, row, column)
            best = (sads[row, column], found[0], found[1])
            if best[0] > 0:
                reachable = inside if predicted else _around(centre, radius, inside)
                if column + 1 < columns:
                    near = _vector(vectors, row, column + 1)
                    best = _refine(grey, ref_grey, here, width, block, reachable, near, 0, best)
                if row + 1 < rows:
                    near = _vector(vectors, row + 1, column)
                    best = _refine(grey, ref_grey, here, width, block, reachable, near, 0, best)
            best_sad, best_x, best_y = best

            # Chosen on grey; on all channels it must still beat the zero vector and the prediction.
            if channels > 1:
                best_sad, best_x, best_y = never, zero, zero
                for dx, dy in ((best[1], best[2]), (zero, zero), centre):
                    if best_sad == never or dx != best[1] or dy != best[2]:
                        sad = _block_sad(
                            frame,
                            here * channels,
                            reference,
                            (here + dy * width + dx) * channels,
                            width * channels,
                            block,
                            block * channels,
                            best_sad,
                        )
                        if _before(sad, dx, dy, best_sad, best_x, best_y):
                            best_sad, best_x, best_y = sad, dx, dy
            vectors[row, column, 0], vectors[row, column, 1] = best_x, best_y
            difference[row, column] = best_sad / (255.0 * block * block * channels)


@njit(cache=True, nogil=True)
def _difference_along(frame, reference, width, height, block, vectors, difference):  # type: ignore[no-untyped-def]
    rows, columns = difference.shape
    channels = frame.size // (width * height)
    stride = width * channels
    for row in range(rows):
        for column in range(columns):
            x0, y0 = min(column * block, width - block), min(row * block, height - block)
            x = min(max(x0 + np.int64(vectors[row, column, 0]), 0), width - block)
            y = min(max(y0 + np.int64(vectors[row, column, 1]), 0), height - block)
            here = (y0 * width + x0) * channels
            there = (y * width + x) * channels
            if block % 8 == 0:
                never = np.int64(1) << 60
                total = _block_sad(frame, here, reference, there, stride, block, block * channels, never)
            else:
                total = np.int64(0)
                for i in range(block):
                    for j in range(block * channels):
                        a, b = frame[here + i * stride + j], reference[there + i * stride + j]
                        total += max(a, b) - min(a, b)
            difference[row, column] = total / (255.0 * block * block * channels)
