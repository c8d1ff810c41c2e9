"""What a block is predicted with: the shared image at the block's vector, to half a pixel.

Vectors between whole pixels take the mean of the two or four pixels around. The motion search gives whole
vectors, which features are moved by; the half is the codec's own and goes with the block.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kernels.motion.byte_rows import sad_8x8

ZERO_BIAS = 64  # by how much, in grey levels over a block, half a pixel must be better than none


@njit(cache=True, nogil=True)
def window(image, y, x, block, channels, out):  # type: ignore[no-untyped-def]
    """The block at a place and one pixel around, (b + 2, (b + 2)·C); the image's edge is repeated.

    Args:
        image: (H, W·C).
    """
    height, width = image.shape[0], image.shape[1] // channels
    for i in range(block + 2):
        row = image[min(max(y + i - 1, 0), height - 1)]
        target = out[i]
        if 1 <= x <= width - block - 1:
            start = (x - 1) * channels
            for k in range((block + 2) * channels):
                target[k] = row[start + k]
        else:
            for j in range(block + 2):
                column = min(max(x + j - 1, 0), width - 1)
                for c in range(channels):
                    target[j * channels + c] = row[column * channels + c]


@njit(cache=True, nogil=True)
def interpolate(around, half_y, half_x, block, channels, out):  # type: ignore[no-untyped-def]
    """The block of a window, half a pixel further by -1, 0 or 1 along each axis; (b, b·C)."""
    top, left = 1 - (half_y < 0), (1 - (half_x < 0)) * channels
    for i in range(block):
        upper, lower, target = around[top + i], around[min(top + i + 1, block + 1)], out[i]
        if half_x and half_y:
            for k in range(block * channels):
                a, b = np.int32(upper[left + k]), np.int32(upper[left + channels + k])
                c, d = np.int32(lower[left + k]), np.int32(lower[left + channels + k])
                target[k] = np.int32(a + b + c + d + 2) >> 2
        elif half_x:
            for k in range(block * channels):
                a, b = np.int32(upper[left + k]), np.int32(upper[left + channels + k])
                target[k] = np.int32(a + b + 1) >> 1
        elif half_y:
            for k in range(block * channels):
                target[k] = np.int32(np.int32(upper[left + k]) + np.int32(lower[left + k]) + 1) >> 1
        else:
            for k in range(block * channels):
                target[k] = upper[left + k]


@njit(cache=True, nogil=True)
def best_half(around, grey, planes, block, channels):  # type: ignore[no-untyped-def]
    """The half step with the least difference in grey, as 0 to 8 (3 (y + 1) + x + 1), and that difference.

    Args:
        around: a window. grey: (b·b,) uint8, the block. planes: scratch, (4, (b + 2)²) uint8.
    """
    side = block + 2
    whole, across, down, both = planes[0], planes[1], planes[2], planes[3]
    for i in range(side):
        to_grey(around[i], channels, whole[i * side : (i + 1) * side])
    for k in range(side * side - 1):
        across[k] = np.int32(np.int32(whole[k]) + np.int32(whole[k + 1]) + 1) >> 1
    for k in range(side * side - side):
        down[k] = np.int32(np.int32(whole[k]) + np.int32(whole[k + side]) + 1) >> 1
        both[k] = np.int32(np.int32(across[k]) + np.int32(across[k + side]) + 1) >> 1
    best, chosen = _difference(grey, whole, side + 1, side, block), 4
    for number in range(9):
        half_y, half_x = number // 3 - 1, number % 3 - 1
        if number == 4:
            continue
        plane = both if half_x and half_y else across if half_x else down
        start = (1 - (half_y < 0)) * side + 1 - (half_x < 0)
        difference = _difference(grey, plane, start, side, block) + ZERO_BIAS
        if difference < best:
            best, chosen = difference, number
    return chosen, best


@njit(cache=True, nogil=True, inline="always")
def _difference(grey, plane, start, side, block):  # type: ignore[no-untyped-def]
    total = np.int64(0)
    for i in range(0, block, 8):
        for j in range(0, block, 8):
            total += sad_8x8(grey, i * block + j, block, plane, start + i * side + j, side)
    return total


@njit(cache=True, nogil=True)
def activity(grey):  # type: ignore[no-untyped-def]
    """The difference of a block from its own mean, in grey."""
    total = np.int64(0)
    for k in range(grey.size):
        total += grey[k]
    mean = (total + grey.size // 2) // grey.size
    total = np.int64(0)
    for k in range(grey.size):
        total += abs(np.int64(grey[k]) - mean)
    return total


@njit(cache=True, nogil=True, inline="always")
def to_grey(pixels, channels, grey):  # type: ignore[no-untyped-def]
    """A row of pixels, (n·C,), in grey, (n,): (R + 2G + B) / 4, as the motion search has it."""
    for j in range(grey.size):
        if channels == 3:
            red, green, blue = (
                np.int32(pixels[3 * j]),
                np.int32(pixels[3 * j + 1]),
                np.int32(pixels[3 * j + 2]),
            )
            grey[j] = np.int32(red + 2 * green + blue) >> 2
        else:
            grey[j] = pixels[j]
