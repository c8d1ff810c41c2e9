"""The message that carries blocks: motion vectors, which blocks, and their pixels, really encoded.

Wire format, little-endian; every byte of it counts as traffic:

    offset  type     field
    0       2s       magic "FB"
    2       u8       version, 1
    3       u8       codec: 0 raw, 1 png, 2 jpeg, 3 jpeg_420, 255 another
    4       u8       the codec's quality; 0 where it has none
    5       u8       block side, in units of 8 px
    6       u8       channels: 1 or 3
    7       u8       coding: bits 0-1 vectors (0 none, 1 all zero, 2 int8, 3 int16), bit 2 vectors deflated,
                     bit 3 bitmap deflated
    8       u16 u16  rows, columns of blocks
    12      u32 u32  bytes of the vectors, bytes of the bitmap; the pixels are the rest
    20      u32      CRC-32 of the whole message, with this field zero
    24               vectors, bitmap, pixels

Vectors: all dx, then all dy, each value less its left neighbour's. Bitmap: a bit a block, raster order, first
block in the highest bit. Deflated where that is shorter. Pixels: the blocks in raster order, as the codec of
:mod:`kernels.codecs.block_codecs` writes them.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.block_codecs import (
    OTHER_CODE,
    BlockCodec,
    PredictedBlockCodec,
    block_codec,
    codec_of_header,
)
from kernels.codecs.block_pixels import gather_blocks, paste_blocks
from kernels.codecs.prediction import Prediction
from kernels.motion.field import block_grid, check_vectors

_MAGIC, _VERSION = b"FB", 1
_HEADER = struct.Struct("<2sBBBBBBHHIII")
_NO_VECTORS, _ZERO_VECTORS, _INT8_VECTORS, _INT16_VECTORS = range(4)
_VECTORS_DEFLATED, _BITMAP_DEFLATED = 4, 8


@dataclass(frozen=True, slots=True, eq=False)
class DecodedBlocks:
    """What a message says: see `decode_blocks`.

    `vectors` is (rows, columns, 2) int16 or None if none were sent; `indices` (k,) int32 flat block indices
    in ascending order, the order of delivery; `pixels` (k, b, b, 3) uint8, or (k, b, b) for grey images.
    """

    rows: int
    columns: int
    block_px: int
    vectors: NDArray[np.int16] | None
    indices: NDArray[np.int32]
    pixels: NDArray[np.uint8]


def encode_blocks(
    image: NDArray[np.uint8],
    indices: NDArray[np.integer],
    vectors: NDArray[np.int16] | None = None,
    codec: BlockCodec | None = None,
    block_px: int = 16,
    reference: NDArray[np.uint8] | None = None,
) -> bytes:
    """Encode blocks of an image, with the vectors of all blocks if given. k = 0 blocks is a message, too.

    Args:
        image: (H, W) or (H, W, 3) uint8, H and W multiples of `block_px`.
        indices: (k,) flat block indices, each once, in any order: they are delivered in raster order.
        vectors: (H/b, W/b, 2) integers; None: none are sent.
        codec: writes the pixels; None: a JPEG atlas of quality 85. It is not asked where k = 0.
        block_px: side of a block, a multiple of 8, at most 248.
        reference: the image that the receiver will decode with, like `image`; None: none. Codecs that code
            blocks against a prediction take it from there, along the vectors; others do not look at it.

    Raises:
        TypeError, ValueError: an argument that is none of the above, by name.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(
            f"image must be a numpy array of uint8 (got {getattr(image, 'dtype', type(image).__name__)})"
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"image must have the shape (H, W) or (H, W, 3) (got {image.shape})")
    rows, columns = block_grid(image.shape[0], image.shape[1], block_px, multiple_px=8)
    if block_px > 248:
        raise ValueError(f"block_px must be at most 248 px (got {block_px})")
    codec = block_codec("jpeg") if codec is None else codec
    for field in ("code", "quality"):
        if not 0 <= getattr(codec, field) <= 255:
            raise ValueError(f"codec must have a {field} in 0 to 255 (got {getattr(codec, field)!r})")
    indices = np.asarray(indices)
    if indices.ndim != 1 or (indices.size and not np.issubdtype(indices.dtype, np.integer)):
        raise ValueError(f"indices must be a flat array of integers (got {indices.dtype} {indices.shape})")
    if indices.size and (indices.min() < 0 or indices.max() >= rows * columns):
        raise ValueError(
            f"indices must be in 0 to {rows * columns - 1} (got {indices.min()} to {indices.max()})"
        )
    present = np.zeros(rows * columns, np.bool_)
    present[indices.astype(np.intp)] = True
    delivered = np.flatnonzero(present)
    if delivered.size != indices.size:
        raise ValueError(f"indices must name each block once (got {indices.size - delivered.size} repeated)")

    coding, vector_bytes = _encode_vectors(vectors, (rows, columns))
    bitmap, deflated = _shorter(np.packbits(present).tobytes())
    coding |= _BITMAP_DEFLATED * deflated
    pixel_bytes = b""
    if delivered.size:
        blocks = gather_blocks(image, delivered, block_px)
        if isinstance(codec, PredictedBlockCodec) and reference is not None:
            pixel_bytes = codec.encode(blocks, _prediction(reference, image.shape, vectors, delivered))
        else:
            pixel_bytes = codec.encode(blocks)
    channels = 1 if image.ndim == 2 else 3
    fields = (
        _MAGIC,
        _VERSION,
        codec.code,
        codec.quality,
        block_px // 8,
        channels,
        coding,
        rows,
        columns,
        len(vector_bytes),
        len(bitmap),
    )
    body = vector_bytes + bitmap + pixel_bytes
    checksum = zlib.crc32(body, zlib.crc32(_HEADER.pack(*fields, 0)))
    return _HEADER.pack(*fields, checksum) + body


def decode_blocks(
    data: bytes, codec: BlockCodec | None = None, reference: NDArray[np.uint8] | None = None
) -> DecodedBlocks:
    """Read a message of `encode_blocks`.

    Args:
        data: the message.
        codec: what it was encoded with; None will do for raw, png and jpeg, whose headers say all.
        reference: the image that it was encoded against, if it was.

    Raises:
        ValueError: not such a message, a damaged one, or one of another codec: says what is wrong with it.
    """
    if len(data) < _HEADER.size:
        raise ValueError(f"block message must have at least {_HEADER.size} bytes (got {len(data)})")
    *fields, checksum = _HEADER.unpack_from(data)
    magic, version, code, quality, eighths, channels, coding, rows, columns, vector_size, bitmap_size = fields
    if magic != _MAGIC or version != _VERSION:
        raise ValueError(f"block message must begin with {_MAGIC!r}, version {_VERSION} (got {data[:3]!r})")
    body = memoryview(data)[_HEADER.size :]
    if zlib.crc32(body, zlib.crc32(_HEADER.pack(*fields, 0))) != checksum:
        raise ValueError("block message is damaged or cut short: its checksum does not match")
    if channels not in (1, 3) or not eighths or vector_size + bitmap_size > len(body):
        raise ValueError(f"block message has an inconsistent header: {fields}")
    block_px = 8 * eighths
    vectors = _decode_vectors(body[:vector_size], coding, (rows, columns))
    bitmap = body[vector_size : vector_size + bitmap_size]
    bits = _inflate(bitmap, -(-rows * columns // 8), "bitmap") if coding & _BITMAP_DEFLATED else bytes(bitmap)
    if len(bits) != -(-rows * columns // 8):
        raise ValueError(f"block message must have a bitmap of {rows * columns} bits (got {8 * len(bits)})")
    indices = np.flatnonzero(np.unpackbits(np.frombuffer(bits, np.uint8), count=rows * columns)).astype(
        np.int32
    )
    pixel_bytes = bytes(body[vector_size + bitmap_size :])
    shape = (len(indices), block_px, block_px, 3) if channels == 3 else (len(indices), block_px, block_px)
    decoder = _codec_for(code, quality, codec)
    prediction = None
    if isinstance(decoder, PredictedBlockCodec) and reference is not None:
        size = (rows * block_px, columns * block_px, *shape[3:])
        prediction = _prediction(reference, size, vectors, indices)
    pixels = _decode_pixels(pixel_bytes, shape, decoder, prediction)
    return DecodedBlocks(rows, columns, block_px, vectors, indices, pixels)


def overhead_bytes(data: bytes) -> int:
    """The bytes of a message that do not grow with its blocks: header, vectors and bitmap."""
    *_, vector_size, bitmap_size, _ = _HEADER.unpack_from(data)
    return _HEADER.size + int(vector_size) + int(bitmap_size)


def apply_blocks(reference: NDArray[np.uint8], decoded: DecodedBlocks) -> NDArray[np.uint8]:
    """Move `reference` along the vectors, then paste the decoded blocks.

    The server assembles its image so, and the edge its proxy: the same messages in the same order give the
    same bytes on both. `reference` is left as it is.

    Raises:
        ValueError: the message is for an image of another size.
    """
    size = decoded.block_px
    expected = (decoded.rows * size, decoded.columns * size, *decoded.pixels.shape[3:])
    if reference.shape != expected:
        raise ValueError(f"reference must have the message's shape {expected} (got {reference.shape})")
    from kernels.motion.warp import warp_image  # of all here, only this needs numba

    image = reference.copy() if decoded.vectors is None else warp_image(reference, decoded.vectors, size)
    return paste_blocks(image, decoded.indices, decoded.pixels)


def _shorter(plain: bytes) -> tuple[bytes, bool]:
    deflated = zlib.compress(plain, 6)
    return (deflated, True) if len(deflated) < len(plain) else (plain, False)


def _inflate(data: memoryview, size: int, name: str) -> bytes:
    """`size` bytes, or a ValueError; never unpacks more than one byte past it."""
    try:
        return zlib.decompressobj().decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"block message has a {name} that does not inflate: {error}") from None


def _encode_vectors(vectors: NDArray[np.int16] | None, grid: tuple[int, int]) -> tuple[int, bytes]:
    if vectors is None:
        return _NO_VECTORS, b""
    planes = np.moveaxis(check_vectors(vectors, grid, "vectors"), -1, 0)
    if not planes.any():
        return _ZERO_VECTORS, b""
    # The width follows from the vectors; the steps between neighbours wrap around in it, and back again.
    narrow = planes.min() >= -128 and planes.max() <= 127
    steps = np.array(planes, np.int8 if narrow else "<i2")
    steps[..., 1:] -= steps[..., :-1].copy()
    data, deflated = _shorter(steps.tobytes())
    return (_INT8_VECTORS if narrow else _INT16_VECTORS) | _VECTORS_DEFLATED * deflated, data


def _decode_vectors(data: memoryview, coding: int, grid: tuple[int, int]) -> NDArray[np.int16] | None:
    kind = coding & 3
    if kind == _NO_VECTORS:
        return None
    if kind == _ZERO_VECTORS:
        return np.zeros((*grid, 2), np.int16)
    dtype = np.dtype(np.int8 if kind == _INT8_VECTORS else "<i2")
    size = 2 * grid[0] * grid[1] * dtype.itemsize
    plain = _inflate(data, size, "vector field") if coding & _VECTORS_DEFLATED else bytes(data)
    if len(plain) != size:
        raise ValueError(f"block message must have {size} bytes of vectors (got {len(plain)})")
    steps = np.frombuffer(plain, dtype).reshape(2, *grid)
    planes = np.cumsum(steps, axis=2, dtype=dtype)
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1), np.int16)


def _codec_for(code: int, quality: int, given: BlockCodec | None) -> BlockCodec:
    """What decodes a message: the header's own codec, of its own quality, or the one given for another."""
    if given is None:
        return codec_of_header(code, quality)
    if given.code != code:
        raise ValueError(f"block message must be of codec {given.name}, code {given.code} (got code {code})")
    return given if given.code == OTHER_CODE else codec_of_header(code, quality)


def _prediction(
    reference: NDArray[np.uint8],
    shape: tuple[int, ...],
    vectors: NDArray[np.int16] | None,
    indices: NDArray[np.integer],
) -> Prediction:
    if reference.shape != shape or reference.dtype != np.uint8:
        found = f"{reference.dtype} {reference.shape}"
        raise ValueError(f"reference must be uint8 of the message's shape {shape} (got {found})")
    return Prediction(reference, vectors, indices)


def _decode_pixels(
    data: bytes, shape: tuple[int, ...], codec: BlockCodec, prediction: Prediction | None
) -> NDArray[np.uint8]:
    count, block_px = shape[:2]
    if not count:
        if data:
            raise ValueError(f"block message must have no pixels for 0 blocks (got {len(data)} bytes)")
        return np.empty(shape, np.uint8)
    channels = 3 if len(shape) == 4 else 1
    if isinstance(codec, PredictedBlockCodec):
        pixels = codec.decode(data, count, block_px, channels, prediction)
    else:
        pixels = codec.decode(data, count, block_px, channels)
    if getattr(pixels, "shape", None) != shape or pixels.dtype != np.uint8:
        found = f"{getattr(pixels, 'dtype', type(pixels).__name__)} {getattr(pixels, 'shape', '')}".strip()
        raise ValueError(f"codec {codec.name} must decode to uint8 {shape} (got {found})")
    return pixels
