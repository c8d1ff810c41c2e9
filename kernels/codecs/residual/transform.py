"""The arithmetic of residual blocks: colours, the 8×8 discrete cosine transform, quantisation; integers only.

A residual (R, G, B differences) becomes luma and two colour differences by the linear part of JPEG's matrix
(ITU-R BT.601, full range), each 8×8 of them the coefficients of an orthonormal DCT-II, as in JPEG:

    X = C x Cᵀ,   C[k, n] = √(2/8) cos((2n + 1) k π / 16),   C[0, n] = √(1/8)

with C in 12 fractional bits. Everything is int32 with fixed shifts, so that the same bytes give the same
pixels on every machine.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

FRACTION = 8  # coefficients before quantisation are in eighths
_BITS = 12


_C1, _C2, _C3, _C4, _C5, _C6, _C7 = (
    int(value) for value in np.rint(np.cos(np.arange(1, 8) * np.pi / 16) / 2.0 * (1 << _BITS))
)


def _zigzag() -> NDArray[np.int64]:
    """Flat places of an 8×8 by rising frequency, diagonal by diagonal, as JPEG orders them."""
    places = [(i, j) for i in range(8) for j in range(8)]
    places.sort(key=lambda p: (p[0] + p[1], p[0] if (p[0] + p[1]) % 2 else p[1]))
    return np.array([8 * j + i for i, j in places], np.int64)  # of the transposed


ZIGZAG = _zigzag()


@njit(cache=True, nogil=True, inline="always")
def _columns_forward(x, shift, out):  # type: ignore[no-untyped-def]
    """out = C x / 2^shift, rounded; in place is allowed. By symmetry, 22 products a column instead of 64."""
    half = np.int32(1 << (shift - 1))
    for j in range(8):
        s0, d0 = np.int32(x[0, j] + x[7, j]), np.int32(x[0, j] - x[7, j])
        s1, d1 = np.int32(x[1, j] + x[6, j]), np.int32(x[1, j] - x[6, j])
        s2, d2 = np.int32(x[2, j] + x[5, j]), np.int32(x[2, j] - x[5, j])
        s3, d3 = np.int32(x[3, j] + x[4, j]), np.int32(x[3, j] - x[4, j])
        a0, a1, a2, a3 = np.int32(s0 + s3), np.int32(s1 + s2), np.int32(s0 - s3), np.int32(s1 - s2)
        out[0, j] = np.int32(_C4 * (a0 + a1) + half) >> shift
        out[4, j] = np.int32(_C4 * (a0 - a1) + half) >> shift
        out[2, j] = np.int32(_C2 * a2 + _C6 * a3 + half) >> shift
        out[6, j] = np.int32(_C6 * a2 - _C2 * a3 + half) >> shift
        out[1, j] = np.int32(_C1 * d0 + _C3 * d1 + _C5 * d2 + _C7 * d3 + half) >> shift
        out[3, j] = np.int32(_C3 * d0 - _C7 * d1 - _C1 * d2 - _C5 * d3 + half) >> shift
        out[5, j] = np.int32(_C5 * d0 - _C1 * d1 + _C7 * d2 + _C3 * d3 + half) >> shift
        out[7, j] = np.int32(_C7 * d0 - _C5 * d1 + _C3 * d2 - _C1 * d3 + half) >> shift


@njit(cache=True, nogil=True, inline="always")
def _columns_inverse(x, shift, out):  # type: ignore[no-untyped-def]
    """out = Cᵀ x / 2^shift, rounded."""
    half = np.int32(1 << (shift - 1))
    for j in range(8):
        a0 = np.int32(_C4 * (x[0, j] + x[4, j]) + half)
        a1 = np.int32(_C4 * (x[0, j] - x[4, j]) + half)
        a2 = np.int32(_C2 * x[2, j] + _C6 * x[6, j])
        a3 = np.int32(_C6 * x[2, j] - _C2 * x[6, j])
        s0, s1, s2, s3 = np.int32(a0 + a2), np.int32(a1 + a3), np.int32(a1 - a3), np.int32(a0 - a2)
        d0 = np.int32(_C1 * x[1, j] + _C3 * x[3, j] + _C5 * x[5, j] + _C7 * x[7, j])
        d1 = np.int32(_C3 * x[1, j] - _C7 * x[3, j] - _C1 * x[5, j] - _C5 * x[7, j])
        d2 = np.int32(_C5 * x[1, j] - _C1 * x[3, j] + _C7 * x[5, j] + _C3 * x[7, j])
        d3 = np.int32(_C7 * x[1, j] - _C5 * x[3, j] + _C3 * x[5, j] - _C1 * x[7, j])
        out[0, j], out[7, j] = np.int32(s0 + d0) >> shift, np.int32(s0 - d0) >> shift
        out[1, j], out[6, j] = np.int32(s1 + d1) >> shift, np.int32(s1 - d1) >> shift
        out[2, j], out[5, j] = np.int32(s2 + d2) >> shift, np.int32(s2 - d2) >> shift
        out[3, j], out[4, j] = np.int32(s3 + d3) >> shift, np.int32(s3 - d3) >> shift


@njit(cache=True, nogil=True, inline="always")
def _transpose(x, out):  # type: ignore[no-untyped-def]
    for i in range(8):
        for j in range(8):
            out[j, i] = x[i, j]


@njit(cache=True, nogil=True)
def forward(plane, scratch, out):  # type: ignore[no-untyped-def]
    """8×8 of a plane in quarters to coefficients in eighths, transposed; `plane` is overwritten."""
    _columns_forward(plane, np.int32(9), scratch)  # 12 + 2 - 9 = 5 fractional bits
    _transpose(scratch, plane)
    _columns_forward(plane, np.int32(14), out)  # 12 + 5 - 14 = 3


@njit(cache=True, nogil=True)
def inverse(coefficients, scratch, out):  # type: ignore[no-untyped-def]
    """8×8 of whole coefficients, transposed, to a plane in sixteenths; `coefficients` is overwritten."""
    _columns_inverse(coefficients, np.int32(10), scratch)  # 2
    _transpose(scratch, coefficients)
    _columns_inverse(coefficients, np.int32(10), out)  # 12 + 2 - 10 = 4


@njit(cache=True, nogil=True, inline="always")
def quantise(value, reciprocal, rounding):  # type: ignore[no-untyped-def]
    """The level of a coefficient in eighths; what is rounded otherwise by the reciprocal costs no exactness.

    Args:
        reciprocal: 2^16 / (8 step), rounded up. rounding: added before division, in eighths.
    """
    level = np.int32(np.int32(abs(value) + rounding) * reciprocal) >> np.int32(16)
    return np.int32(-level) if value < 0 else np.int32(level)
