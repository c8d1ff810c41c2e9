"""Compiled drawing of a scene: a sheared panorama, cut-outs over it, exposure and noise, exact motion.

All coordinates are pixels. The frame's pixel in row i, column j looks at the point (j − cx, i − cy)·zoom of
the picture plane, (cx, cy) being the frame's centre and `zoom` the plane's pixels in one of the frame.
Colours are interpolated bilinearly in steps of 1/256 px, so whole positions copy pixels unchanged.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def draw_background(
    frame: NDArray[np.uint8],
    panorama: NDArray[np.uint8],
    period_px: NDArray[np.int64],
    row_shift_px: NDArray[np.float64],
    top_px: float,
    zoom: float,
) -> None:
    """Draw the panorama, a (rows, columns, 3) array whose row v repeats after period_px[v] columns.

    Row v is shifted by row_shift_px[v]; `top_px` is the row of the panorama at the frame's centre.
    """
    height, width = frame.shape[:2]
    rows = panorama.shape[0]
    columns = int(width * zoom) + 3
    step = np.uint64(zoom * 4294967296.0)
    blended = np.empty(columns * 3, dtype=np.uint32)
    for i in range(height):
        v = min(max(top_px + (i - height // 2) * zoom, 0.0), rows - 1.001)
        r = int(v)
        wy = np.uint32((v - r) * 256.0)
        u = (row_shift_px[r] - (width // 2) * zoom) % period_px[r]
        first = int(u)
        start = u - first
        upper = panorama[r, first : first + columns].reshape(-1)
        lower = panorama[r + 1, first : first + columns].reshape(-1)
        out = frame[i].reshape(-1)
        if zoom == 1.0 and start == 0.0 and wy == 0:
            out[:] = upper[: width * 3]
            continue
        for k in range(columns * 3):
            blended[k] = upper[k] * (np.uint32(256) - wy) + lower[k] * wy
        if zoom == 1.0:
            wx = np.uint32(start * 256.0)
            for k in range(width * 3):
                mixed = blended[k] * (np.uint32(256) - wx) + blended[k + 3] * wx
                out[k] = np.uint8((mixed + np.uint32(32768)) >> np.uint32(16))
        else:
            # Positions count in 2^-32 px; unsigned indices spare the check for negative ones.
            x = np.uint64(start * 4294967296.0)
            for j in range(width):
                wx = np.uint32((x >> np.uint64(24)) & np.uint64(255))
                c = (x >> np.uint64(32)) * np.uint64(3)
                o = np.uint64(3 * j)
                for _ in range(3):
                    mixed = blended[c] * (np.uint32(256) - wx) + blended[c + np.uint64(3)] * wx
                    out[o] = np.uint8((mixed + np.uint32(32768)) >> np.uint32(16))
                    c += np.uint64(1)
                    o += np.uint64(1)
                x += step


@njit(cache=True, nogil=True)
def draw_sprite(
    frame: NDArray[np.uint8],
    ids: NDArray[np.uint8],
    sprite: NDArray[np.uint8],
    left_px: float,
    top_px: float,
    zoom: float,
    identity: int,
    colour: bool,
) -> None:
    """Draw one (h, w, 4) cut-out at (left, top) of the picture plane, with its id where it is mostly opaque.

    The outermost pixels of a cut-out are transparent, which makes its border soft at sub-pixel positions.
    Without `colour` only `ids` is written.
    """
    height, width = ids.shape
    h, w = sprite.shape[:2]
    first_row = max(0, int(np.ceil(top_px / zoom)) + height // 2)
    last_row = min(height, int(np.ceil((top_px + h - 1) / zoom)) + height // 2)
    first_column = max(0, int(np.ceil(left_px / zoom)) + width // 2)
    last_column = min(width, int(np.ceil((left_px + w - 1) / zoom)) + width // 2)
    if first_row >= last_row or first_column >= last_column:
        return
    start = max((first_column - width // 2) * zoom - left_px, 0.0)
    first = min(int(start), w - 2)
    columns = min(int(start - first + (last_column - first_column) * zoom) + 2, w - first)
    step = np.uint64(zoom * 4294967296.0)
    furthest = np.uint64(columns - 2)
    blended = np.empty(columns * 4, dtype=np.uint32)
    for i in range(first_row, last_row):
        b = (i - height // 2) * zoom - top_px
        r = min(max(int(b), 0), h - 2)
        wy = np.uint32(min(max((b - r) * 256.0, 0.0), 256.0))
        upper = sprite[r, first : first + columns].reshape(-1)
        lower = sprite[r + 1, first : first + columns].reshape(-1)
        for k in range(columns * 4):
            blended[k] = upper[k] * (np.uint32(256) - wy) + lower[k] * wy
        out = frame[i].reshape(-1)
        x = np.uint64((start - first) * 4294967296.0)
        for j in range(first_column, last_column):
            wx = np.uint32((x >> np.uint64(24)) & np.uint64(255))
            c = min(x >> np.uint64(32), furthest) * np.uint64(4)
            x += step
            opacity = blended[c + np.uint64(3)] * (np.uint32(256) - wx) + blended[c + np.uint64(7)] * wx
            opacity = np.uint32((opacity + np.uint32(32768)) >> np.uint32(16))
            if opacity == 0:
                continue
            if opacity >= 128:
                ids[i, j] = identity
            if not colour:
                continue
            o = np.uint64(3 * j)
            clear = np.uint32(255) - opacity
            for _ in range(3):
                mixed = blended[c] * (np.uint32(256) - wx) + blended[c + np.uint64(4)] * wx
                mixed = np.uint32((mixed + np.uint32(32768)) >> np.uint32(16))
                if clear != 0:
                    mixed = (mixed * opacity + np.uint32(out[o]) * clear + np.uint32(127)) // np.uint32(255)
                out[o] = np.uint8(mixed)
                c += np.uint64(1)
                o += np.uint64(1)


@njit(cache=True, nogil=True)
def expose(frame: NDArray[np.uint8], gain: float, noise: NDArray[np.int8], starts: NDArray[np.int64]) -> None:
    """Scale the frame by `gain` and add noise; row i takes its noise from noise[starts[i]:]."""
    height, width = frame.shape[:2]
    factor = np.int32(np.rint(gain * 256.0))
    for i in range(height):
        row = frame[i].reshape(-1)
        grains = noise[starts[i] : starts[i] + width * 3]
        for k in range(width * 3):
            value = ((np.int32(row[k]) * factor + np.int32(128)) >> np.int32(8)) + np.int32(grains[k])
            row[k] = np.uint8(min(max(value, np.int32(0)), np.int32(255)))


@njit(cache=True, nogil=True)
def displacements(
    ids: NDArray[np.uint8],
    row_shift_px: NDArray[np.float64],
    reference_shift_px: NDArray[np.float64],
    camera: NDArray[np.float64],
    reference_camera: NDArray[np.float64],
    sprite_corners: NDArray[np.float64],
    reference_sprite_corners: NDArray[np.float64],
) -> NDArray[np.float32]:
    """(H, W, 2) displacement (dx, dy) in px of every pixel: where it is in the reference minus where it is.

    `camera` is (panorama row at the centre, zoom), `sprite_corners` is (objects, 2) with (left, top) of each.
    """
    height, width = ids.shape
    moved = np.empty((height, width, 2), dtype=np.float32)
    top, zoom = camera
    reference_top, reference_zoom = reference_camera
    for i in range(height):
        y = (i - height // 2) * zoom
        v = min(max(top + y, 0.0), row_shift_px.size - 1.001)
        shift = row_shift_px[int(v)] - reference_shift_px[int(v)]
        for j in range(width):
            x = (j - width // 2) * zoom
            k = ids[i, j]
            if k == 0:
                dx, dy = shift, top - reference_top
            else:
                dx = reference_sprite_corners[k - 1, 0] - sprite_corners[k - 1, 0]
                dy = reference_sprite_corners[k - 1, 1] - sprite_corners[k - 1, 1]
            moved[i, j, 0] = (x + dx) / reference_zoom + width // 2 - j
            moved[i, j, 1] = (y + dy) / reference_zoom + height // 2 - i
    return moved
