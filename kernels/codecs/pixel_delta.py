"""Pixel deltas against an accumulated reference: how the sparse input of a delta network would cross a link.

A pixel is active iff max over channels of |x − reference| > ε (Parger et al., CVPR 2022: the input is
sparsified against a buffer). The reference takes on the new value at active
pixels only, so that changes too small to be sent add up until they are: no pixel of the reference is ever
further than ε from the frame. With a dilation of n the largest difference within n×n pixels decides,
which closes holes and sends more.

Wire format, little-endian; every byte counts as traffic:

    0   2s       magic "PD"
    2   u8       version, 1
    3   u8       bit 0: the reference starts from zero; bit 1: mask deflated; bit 2: values deflated
    4   u16 u16  height, width in pixels
    8   u32      bytes of the mask; the values are the rest
    12  u32      CRC-32 of the whole message, with this field zero
    16           mask: a bit a pixel in raster order, first pixel in the highest bit
                 values: x − reference modulo 256 at active pixels, all of one colour after the other
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.motion.byte_rows import flat_bytes
from kernels.motion.field import block_grid

_MAGIC, _VERSION = b"PD", 1
_HEADER = struct.Struct("<2sBBHHII")
_FROM_ZERO, _MASK_DEFLATED, _VALUES_DEFLATED = 1, 2, 4


@dataclass(frozen=True, slots=True, eq=False)
class PixelDelta:
    """What one frame costs: the message, and what it makes a sparse network compute.

    `active_fraction` is the share of pixels sent; `blocks` (k,) int32 the flat indices of the blocks with
    at least one of them, in raster order: k is what a block-wise latency model takes.
    """

    data: bytes
    active_fraction: float
    blocks: NDArray[np.int32]


def changed_pixels(
    image: NDArray[np.uint8], reference: NDArray[np.uint8] | None, threshold: float, dilation_px: int = 1
) -> NDArray[np.bool_]:
    """Which pixels, (H, W), differ from the reference by more than `threshold`; all where there is none.

    Args:
        image: (H, W, 3) uint8.
        reference: the same shape, or None.
        threshold: ε in [0, 1], on intensities in [0, 1].
        dilation_px: side of the window whose largest difference decides, odd; 1: the pixel alone.

    Raises:
        TypeError, ValueError: another type or shape of the image, or another size than the reference's.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise TypeError(f"image must be a numpy array of uint8 (got {kind})")
    if image.ndim != 3 or image.shape[2] != 3 or not 0 < min(image.shape[:2]) <= max(image.shape[:2]) < 65536:
        raise ValueError(f"image must have the shape (H, W, 3), 1 to 65535 px a side (got {image.shape})")
    mask = np.ones(image.shape[:2], np.bool_)
    if reference is None:
        return mask
    if reference.shape != image.shape:
        raise ValueError(f"image must keep the shape {reference.shape} (got {image.shape})")
    level = int(threshold * 255 + 1e-9)  # |x − reference| is an integer: > ε·255 iff > its floor
    _active(flat_bytes(image), reference.reshape(-1), level, mask.reshape(-1))
    return _dilated(mask, dilation_px) if dilation_px > 1 else mask


def touched_blocks(mask: NDArray[np.bool_], block_px: int) -> NDArray[np.int32]:
    """Flat indices of the blocks with at least one pixel of a mask, in raster order.

    Raises:
        ValueError: the mask's sides are no multiples of `block_px`.
    """
    rows, columns = block_grid(mask.shape[0], mask.shape[1], block_px)
    touched = mask.reshape(rows, block_px, columns, block_px).any(axis=(1, 3))
    return np.flatnonzero(touched).astype(np.int32)


class PixelDeltaSender:
    """The edge's end: keeps the reference that the receiver has once every message has arrived.

    Args:
        threshold: ε in [0, 1], on intensities in [0, 1]; 0 sends every change.
        dilation_px: side n of the window whose largest difference decides, odd; 1: the pixel alone.
        block_px: side of the blocks that are counted.
        deflate: whether values are deflated (where that is shorter), or sent as they are: on real video it
            saves about a tenth and takes longer than all the rest.
    """

    def __init__(
        self, threshold: float = 0.05, dilation_px: int = 1, block_px: int = 16, deflate: bool = False
    ) -> None:
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold must be in [0, 1] (got {threshold!r})")
        if dilation_px < 1 or dilation_px % 2 == 0:
            raise ValueError(f"dilation_px must be odd and >= 1 px (got {dilation_px!r})")
        self.threshold = threshold
        self.dilation_px = dilation_px
        self.block_px = block_px
        self.deflate = deflate
        self.reference: NDArray[np.uint8] | None = None

    def reset(self) -> None:
        """Forget the reference: the next message carries the whole frame."""
        self.reference = None

    def encode(self, image: NDArray[np.uint8]) -> PixelDelta:
        """The message that brings the receiver's reference up to `image`, (H, W, 3) uint8.

        Raises:
            TypeError, ValueError: another type or shape, or another size than the frames before.
        """
        mask = changed_pixels(image, self.reference, self.threshold, self.dilation_px)
        blocks = touched_blocks(mask, self.block_px)
        height, width = mask.shape
        whole = self.reference is None
        if self.reference is None:
            self.reference = np.zeros(image.shape, np.uint8)
        pixels, reference = flat_bytes(image), self.reference.reshape(-1)
        values = np.empty((3, int(np.count_nonzero(mask))), np.uint8)
        _take(pixels, reference, mask.reshape(-1), values)

        flags = _FROM_ZERO * whole
        mask_bytes, value_bytes = np.packbits(mask).tobytes(), values.tobytes()
        if len(deflated := zlib.compress(mask_bytes, 6)) < len(mask_bytes):
            mask_bytes, flags = deflated, flags | _MASK_DEFLATED
        if self.deflate and len(deflated := zlib.compress(value_bytes, 1)) < len(value_bytes):
            value_bytes, flags = deflated, flags | _VALUES_DEFLATED
        fields = (_MAGIC, _VERSION, flags, height, width, len(mask_bytes))
        body = mask_bytes + value_bytes
        data = _HEADER.pack(*fields, zlib.crc32(body, zlib.crc32(_HEADER.pack(*fields, 0)))) + body
        return PixelDelta(data, float(mask.mean()), blocks)


class PixelDeltaReceiver:
    """The server's end: the same reference, from the messages alone."""

    def __init__(self) -> None:
        self.reference: NDArray[np.uint8] | None = None

    def apply(self, data: bytes) -> NDArray[np.uint8]:
        """Take a message in; returns the reference, which the next message changes in place.

        Raises:
            ValueError: not such a message, a damaged one, or one for a reference that is not here.
        """
        if len(data) < _HEADER.size:
            raise ValueError(f"delta message must have at least {_HEADER.size} bytes (got {len(data)})")
        *fields, checksum = _HEADER.unpack_from(data)
        magic, version, flags, height, width, mask_size = fields
        if magic != _MAGIC or version != _VERSION:
            raise ValueError(
                f"delta message must begin with {_MAGIC!r}, version {_VERSION} (got {data[:3]!r})"
            )
        body = memoryview(data)[_HEADER.size :]
        if zlib.crc32(body, zlib.crc32(_HEADER.pack(*fields, 0))) != checksum or mask_size > len(body):
            raise ValueError("delta message is damaged or cut short: its checksum does not match")
        packed = _unpack(body[:mask_size], -(-height * width // 8), flags & _MASK_DEFLATED, "mask")
        mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=height * width).astype(np.bool_)
        count = int(np.count_nonzero(mask))
        plain = _unpack(body[mask_size:], 3 * count, flags & _VALUES_DEFLATED, "values")
        if flags & _FROM_ZERO:
            self.reference = np.zeros((height, width, 3), np.uint8)
        elif self.reference is None or self.reference.shape != (height, width, 3):
            have = None if self.reference is None else self.reference.shape
            raise ValueError(f"delta message needs a reference of {(height, width, 3)} (got {have})")
        reference = self.reference.reshape(-1, 3)
        reference[mask] += np.frombuffer(plain, np.uint8).reshape(3, count).T
        return self.reference


def _unpack(data: memoryview, size: int, deflated: int, name: str) -> bytes:
    try:
        plain = zlib.decompressobj().decompress(data, size + 1) if deflated else bytes(data)
    except zlib.error as error:
        raise ValueError(f"delta message has a {name} that does not inflate: {error}") from None
    if len(plain) != size:
        raise ValueError(f"delta message must have {size} bytes of {name} (got {len(plain)})")
    return plain


def _dilated(mask: NDArray[np.bool_], side_px: int) -> NDArray[np.bool_]:
    """Whether any pixel of the window around is set: the maximum of |x − reference| over it exceeds ε."""
    result = mask
    for axis in (0, 1):
        counts = np.cumsum(result, axis=axis, dtype=np.int32)
        pad = [(0, 0), (0, 0)]
        pad[axis] = (side_px // 2 + 1, 0)
        before = np.pad(counts, pad)
        pad[axis] = (0, side_px // 2)
        after = np.pad(counts, pad, mode="edge")
        length = mask.shape[axis]
        low = np.take(before, range(length), axis=axis)
        high = np.take(after, range(side_px // 2, side_px // 2 + length), axis=axis)
        result = high > low
    return result


@njit(cache=True, nogil=True)
def _active(image, reference, level, mask):  # type: ignore[no-untyped-def]
    for i in range(mask.size):
        largest = np.uint8(0)
        for channel in range(3):
            a, b = image[3 * i + channel], reference[3 * i + channel]
            largest = max(largest, max(a, b) - min(a, b))
        mask[i] = largest > level


@njit(cache=True, nogil=True)
def _take(image, reference, mask, values):  # type: ignore[no-untyped-def]
    """Write x − reference of active pixels to `values`, and x into the reference."""
    k = 0
    for i in range(mask.size):
        if mask[i]:
            for channel in range(3):
                at = 3 * i + channel
                values[channel, k] = np.uint8(image[at] - reference[at])
                reference[at] = image[at]
            k += 1
