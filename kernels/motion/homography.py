"""Homographies: one projective map for a whole frame, fitted to block vectors, and images moved along it.

A homography sends (x, y) to ((h₁₁x + h₁₂y + h₁₃)/w, (h₂₁x + h₂₂y + h₂₃)/w), w = h₃₁x + h₃₂y + h₃₃: what a
camera's rotation, or a plane's motion, does to an image. Pixel (i, j) stands at x = j, y = i.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.motion.byte_rows import flat_bytes

Matrix: TypeAlias = NDArray[np.floating]
_REFITS = 2
_SINGULAR = 1e-6  # of a sample's determinant, coordinates in units of half the spread


class HomographyFit(NamedTuple):
    """`matrix` is (3, 3) with h₃₃ = 1; `inliers` (n,) says which pairs it explains."""

    matrix: Matrix
    inliers: NDArray[np.bool_]


def fit_homography(
    points: NDArray[np.floating],
    targets: NDArray[np.floating],
    rng: np.random.Generator,
    tolerance_px: float = 1.5,
    samples: int = 128,
) -> HomographyFit | None:
    """The homography that sends most points to their targets (RANSAC: Fischler and Bolles, 1981).

    Each sample of four pairs gives one map, by the linear equations

        x·h₁₁ + y·h₁₂ + h₁₃ − x·x′·h₃₁ − y·x′·h₃₂ = x′   (and the like for y′),

    the one with the most inliers is fitted again to all of these by least squares.

    Args:
        points, targets: (n, 2) x, y in pixels.
        rng: draws the samples; the same state gives the same map.
        tolerance_px: how far from its target a point may come to lie.
        samples: how many are tried; with half the pairs wrong, one in 16 has none of these.

    Returns:
        None where there are fewer than four pairs, or all samples lie on lines.
    """
    points, targets = np.asarray(points, np.float64), np.asarray(targets, np.float64)
    if points.ndim != 2 or points.shape[1:] != (2,) or targets.shape != points.shape:
        raise ValueError(f"points and targets must be (n, 2) each (got {points.shape} and {targets.shape})")
    if len(points) < 4:
        return None
    centre = points.mean(axis=0)
    scale = max(float(np.abs(points - centre).max()), 1e-9)
    start, end = (points - centre) / scale, (targets - centre) / scale
    tolerance = tolerance_px / scale
    chosen = rng.random((samples, len(points))).argpartition(3, axis=1)[:, :4]
    maps = _maps_of(start[chosen], end[chosen])
    if not len(maps):
        return None
    inliers = _explained(maps, start, end, tolerance)
    best = int(inliers.sum(axis=1).argmax())
    found, explained = maps[best], inliers[best]
    for _ in range(_REFITS):
        rows, values = _equations(start[explained], end[explained])
        solution, _, rank, _ = np.linalg.lstsq(rows, values, rcond=None)
        if rank < 8:
            break
        again = np.append(solution, 1.0).reshape(1, 3, 3)
        renewed = _explained(again, start, end, tolerance)[0]
        if renewed.sum() < explained.sum():
            break
        found, explained = again[0], renewed
    to_unit = np.array([[1 / scale, 0, -centre[0] / scale], [0, 1 / scale, -centre[1] / scale], [0, 0, 1]])
    matrix = np.linalg.inv(to_unit) @ found @ to_unit
    return HomographyFit(matrix / matrix[2, 2], explained)


def map_points(matrix: Matrix, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Where (…, 2) points go. Those that the map sends to infinity, or behind it, come out as NaN."""
    x, y = points[..., 0], points[..., 1]
    weight = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    weight = np.where(weight > 0, weight, np.nan)
    moved = [(row[0] * x + row[1] * y + row[2]) / weight for row in matrix[:2]]
    return np.stack(moved, axis=-1)


def translation(dx_px: float, dy_px: float) -> Matrix:
    """The map that adds (dx, dy)."""
    return np.array([[1.0, 0.0, dx_px], [0.0, 1.0, dy_px], [0.0, 0.0, 1.0]])


def sample_image(image: NDArray[np.uint8], matrix: Matrix) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """out(p) = image(matrix · p), bilinear; and where that lies inside the image.

    A place outside takes the nearest pixel inside. Whole coordinates are not interpolated, so a translation
    by whole pixels copies.

    Args:
        image: (H, W, C) uint8.
        matrix: from places of the result to places of the image.
    """
    height, width, channels = image.shape
    out = np.empty((height, width, channels), np.uint8)
    inside = np.empty((height, width), np.bool_)
    _bilinear(flat_bytes(image), height, width, channels, _checked(matrix), out.reshape(-1), inside)
    return out, inside


def sample_labels(labels: NDArray[np.uint8], matrix: Matrix) -> NDArray[np.uint8]:
    """out(p) = the label, of (H, W), nearest to matrix · p; a place outside takes the nearest inside."""
    out = np.empty_like(labels, order="C")
    _nearest(np.ascontiguousarray(labels), _checked(matrix), out)
    return out


def _checked(matrix: Matrix) -> Matrix:
    if np.shape(matrix) != (3, 3) or not np.isfinite(matrix).all():
        raise ValueError(f"matrix must be (3, 3) and finite (got {matrix!r})")
    return np.ascontiguousarray(matrix, np.float64)


def _equations(
    start: NDArray[np.float64], end: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The linear equations of (…, n, 2) pairs: (…, 2n, 8) and (…, 2n)."""
    x, y, to_x, to_y = start[..., 0], start[..., 1], end[..., 0], end[..., 1]
    one, none = np.ones_like(x), np.zeros_like(x)
    across = np.stack([x, y, one, none, none, none, -x * to_x, -y * to_x], axis=-1)
    down = np.stack([none, none, none, x, y, one, -x * to_y, -y * to_y], axis=-1)
    return np.concatenate([across, down], axis=-2), np.concatenate([to_x, to_y], axis=-1)


def _maps_of(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """The maps (m, 3, 3) of (s, 4, 2) samples that determine one."""
    rows, values = _equations(start, end)
    sound = np.abs(np.linalg.det(rows)) > _SINGULAR
    solutions = np.linalg.solve(rows[sound], values[sound][..., None])[..., 0]
    return np.concatenate([solutions, np.ones((len(solutions), 1))], axis=1).reshape(-1, 3, 3)


def _explained(
    maps: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    """Which pairs (n) each of m maps explains, (m, n)."""
    x, y = start[:, 0], start[:, 1]
    terms = maps[:, :, 0, None] * x + maps[:, :, 1, None] * y + maps[:, :, 2, None]
    weight = np.where(terms[:, 2] > 0.1, terms[:, 2], np.inf)  # in front of the camera, and not far off
    apart = np.hypot(terms[:, 0] / weight - end[:, 0], terms[:, 1] / weight - end[:, 1])
    return (apart <= tolerance) & np.isfinite(weight)


@njit(cache=True, nogil=True)
def _bilinear(image, height, width, channels, matrix, out, inside):  # type: ignore[no-untyped-def]
    for i in range(height):
        for j in range(width):
            weight = matrix[2, 0] * j + matrix[2, 1] * i + matrix[2, 2]
            x = (matrix[0, 0] * j + matrix[0, 1] * i + matrix[0, 2]) / weight
            y = (matrix[1, 0] * j + matrix[1, 1] * i + matrix[1, 2]) / weight
            inside[i, j] = weight > 0 and -0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5
            x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
            left, top = int(x), int(y)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            across, down = x - left, y - top
            for channel in range(channels):
                upper = (1.0 - across) * image[(top * width + left) * channels + channel] + across * image[
                    (top * width + right) * channels + channel
                ]
                lower = (1.0 - across) * image[(bottom * width + left) * channels + channel] + across * image[
                    (bottom * width + right) * channels + channel
                ]
                out[(i * width + j) * channels + channel] = np.uint8(
                    (1.0 - down) * upper + down * lower + 0.5
                )


@njit(cache=True, nogil=True)
def _nearest(labels, matrix, out):  # type: ignore[no-untyped-def]
    height, width = labels.shape
    for i in range(height):
        for j in range(width):
            weight = matrix[2, 0] * j + matrix[2, 1] * i + matrix[2, 2]
            x = (matrix[0, 0] * j + matrix[0, 1] * i + matrix[0, 2]) / weight
            y = (matrix[1, 0] * j + matrix[1, 1] * i + matrix[1, 2]) / weight
            x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
            out[i, j] = labels[int(y + 0.5), int(x + 0.5)]
