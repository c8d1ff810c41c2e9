"""The message that carries blocks: motion vectors, which blocks, and their pixels, really encoded.

Wire format, little-endian; every byte of it counts as traffic:

    offset  type     field
    0       2s       magic "FB"
    2       u8       version, 1
    3       u8       codec: 0 raw, 1 png, 2 jpeg
    4       u8       quality (jpeg; else 0)
    5       u8       block side, in units of 8 px
    6       u8       channels: 1 or 3
    7       u8       coding: bits 0-1 vectors (0 none, 1 all zero, 2 int8, 3 int16), bit 2 vectors deflated,
                     bit 3 bitmap deflated
    8       u16 u16  rows, columns of blocks
    12      u32 u32  bytes of the vectors, bytes of the bitmap; the pixels are the rest
    20      u32      CRC-32 of the whole message, with this field zero
    24               vectors, bitmap, pixels

Vectors: all dx, then all dy, each value less its left neighbour's. Bitmap: a bit a block, raster order, first
block in the highest bit. Deflated where that is shorter. Pixels: the blocks in raster order, raw, or as one
image of blocks side by side (an atlas); of a JPEG only the scan is sent, since its headers follow from its
quality and size.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from PIL import Image

from kernels.motion.byte_rows import copy_row, flat_bytes
from kernels.motion.field import block_grid, check_vectors
from kernels.motion.warp import warp_image

BlockCodec = Literal["raw", "png", "jpeg"]

_MAGIC, _VERSION = b"FB", 1
_HEADER = struct.Struct("<2sBBBBBBHHIII")
_CODECS: tuple[BlockCodec, ...] = ("raw", "png", "jpeg")
_NO_VECTORS, _ZERO_VECTORS, _INT8_VECTORS, _INT16_VECTORS = range(4)
_VECTORS_DEFLATED, _BITMAP_DEFLATED = 4, 8
_ATLAS_COLUMNS = range(8, 17)
_SCAN_START = b"\xff\xda"


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
    codec: BlockCodec = "jpeg",
    quality: int = 85,
    block_px: int = 16,
) -> bytes:
    """Encode blocks of an image, with the vectors of all blocks if given. k = 0 blocks is a message, too.

    Args:
        image: (H, W) or (H, W, 3) uint8, H and W multiples of `block_px`.
        indices: (k,) flat block indices, each once, in any order: they are delivered in raster order.
        vectors: (H/b, W/b, 2) integers; None: none are sent.
        codec: `raw` and `png` are lossless; `jpeg` keeps the full resolution of the colours (4:4:4).
        quality: of the JPEG, 1 to 95.
        block_px: side of a block, a multiple of 8, at most 248.

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
    if codec not in _CODECS:
        raise ValueError(f"codec must be one of {', '.join(_CODECS)} (got {codec!r})")
    if not 1 <= quality <= 95:
        raise ValueError(f"quality must be in 1 to 95 (got {quality!r})")
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
    pixel_bytes = _encode_pixels(image, delivered, codec, quality, block_px)
    channels = 1 if image.ndim == 2 else 3
    fields = (
        _MAGIC,
        _VERSION,
        _CODECS.index(codec),
        quality if codec == "jpeg" else 0,
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


def decode_blocks(data: bytes) -> DecodedBlocks:
    """Read a message of `encode_blocks`.

    Raises:
        ValueError: not such a message, or a damaged one: says what is wrong with it.
    """
    if len(data) < _HEADER.size:
        raise ValueError(f"block message must have at least {_HEADER.size} bytes (got {len(data)})")
    *fields, checksum = _HEADER.unpack_from(data)
    magic, version, codec, quality, eighths, channels, coding, rows, columns, vector_size, bitmap_size = (
        fields
    )
    if magic != _MAGIC or version != _VERSION:
        raise ValueError(f"block message must begin with {_MAGIC!r}, version {_VERSION} (got {data[:3]!r})")
    body = memoryview(data)[_HEADER.size :]
    if zlib.crc32(body, zlib.crc32(_HEADER.pack(*fields, 0))) != checksum:
        raise ValueError("block message is damaged or cut short: its checksum does not match")
    if (
        codec >= len(_CODECS)
        or channels not in (1, 3)
        or not eighths
        or vector_size + bitmap_size > len(body)
    ):
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
    shape = (len(indices), block_px, block_px, 3) if channels == 3 else (len(indices), block_px, block_px)
    pixels = _decode_pixels(body[vector_size + bitmap_size :], shape, _CODECS[codec], quality)
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
    image = reference.copy() if decoded.vectors is None else warp_image(reference, decoded.vectors, size)
    return paste_blocks(image, decoded.indices, decoded.pixels)


def gather_blocks(
    image: NDArray[np.uint8], indices: NDArray[np.integer], block_px: int = 16
) -> NDArray[np.uint8]:
    """The blocks at flat `indices`, as a (k, b, b) or (k, b, b, 3) array."""
    blocks = np.empty((len(indices), block_px, block_px, *image.shape[2:]), np.uint8)
    _gather(
        flat_bytes(image),
        image.shape[1] // block_px,
        block_px * (image.shape[2] if image.ndim == 3 else 1),
        block_px,
        np.ascontiguousarray(indices, np.int64),
        blocks.reshape(-1),
        1,
    )
    return blocks


def paste_blocks(
    image: NDArray[np.uint8], indices: NDArray[np.integer], blocks: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Write (k, b, b[, 3]) `blocks` at flat `indices` of a contiguous image, in place; returns the image."""
    block_px = blocks.shape[1]
    _paste(
        image.reshape(-1),
        image.shape[1] // block_px,
        block_px * (image.shape[2] if image.ndim == 3 else 1),
        block_px,
        np.ascontiguousarray(indices, np.int64),
        flat_bytes(blocks),
    )
    return image


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


def _atlas_columns(count: int) -> int:
    """How many blocks stand side by side: what leaves the fewest places empty."""
    if count <= _ATLAS_COLUMNS[-1]:
        return count
    return min(_ATLAS_COLUMNS, key=lambda columns: (-count % columns, -columns))


def _encode_pixels(
    image: NDArray[np.uint8], indices: NDArray[np.intp], codec: BlockCodec, quality: int, block_px: int
) -> bytes:
    if not len(indices):
        return b""
    if codec == "raw":
        return gather_blocks(image, indices, block_px).tobytes()
    columns = _atlas_columns(len(indices))
    rows = -(-len(indices) // columns)
    atlas = np.full((rows * block_px, columns * block_px, *image.shape[2:]), 128, np.uint8)
    _gather(
        flat_bytes(image),
        image.shape[1] // block_px,
        block_px * (image.shape[2] if image.ndim == 3 else 1),
        block_px,
        indices.astype(np.int64),
        atlas.reshape(-1),
        columns,
    )
    buffer = io.BytesIO()
    if codec == "png":
        Image.fromarray(atlas).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
    Image.fromarray(atlas).save(buffer, "JPEG", quality=quality, subsampling=0)
    data = buffer.getvalue()
    return data[len(_jpeg_headers(quality, image.ndim == 3, *atlas.shape[:2])) :]


def _decode_pixels(
    data: memoryview, shape: tuple[int, ...], codec: BlockCodec, quality: int
) -> NDArray[np.uint8]:
    count, block_px = shape[:2]
    if not count:
        if len(data):
            raise ValueError(f"block message must have no pixels for 0 blocks (got {len(data)} bytes)")
        return np.empty(shape, np.uint8)
    if codec == "raw":
        if len(data) != np.prod(shape):
            raise ValueError(f"block message must have {np.prod(shape)} bytes of pixels (got {len(data)})")
        return np.frombuffer(data, np.uint8).reshape(shape).copy()
    columns = _atlas_columns(count)
    rows = -(-count // columns)
    size = (rows * block_px, columns * block_px)
    headers = _jpeg_headers(quality, len(shape) == 4, *size) if codec == "jpeg" else b""
    try:
        atlas = np.array(Image.open(io.BytesIO(headers + data), formats=[codec.upper()]))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"block message has a {codec} atlas that does not decode: {error}") from None
    if atlas.shape != (*size, *shape[3:]):
        raise ValueError(f"block message must have an atlas of {size} px (got {atlas.shape})")
    blocks = atlas.reshape(rows, block_px, columns, block_px, -1).swapaxes(1, 2)
    return blocks.reshape(rows * columns, *shape[1:])[:count]


@lru_cache(maxsize=256)
def _jpeg_headers(quality: int, colour: bool, height: int, width: int) -> bytes:
    """All that precedes the scan of a JPEG of this quality and size."""
    buffer = io.BytesIO()
    Image.new("RGB" if colour else "L", (8, 8)).save(buffer, "JPEG", quality=quality, subsampling=0)
    headers = buffer.getvalue()
    headers = headers[: headers.index(_SCAN_START)]
    frame = headers.index(b"\xff\xc0") + 5  # past the marker, its length and the precision
    return headers[:frame] + struct.pack(">HH", height, width) + headers[frame + 4 :]


@njit(cache=True, nogil=True)
def _gather(image, blocks_across, run, block, indices, out, out_across):  # type: ignore[no-untyped-def]
    stride, out_stride = blocks_across * run, out_across * run
    for k in range(indices.size):
        source = (indices[k] // blocks_across) * block * stride + (indices[k] % blocks_across) * run
        target = (k // out_across) * block * out_stride + (k % out_across) * run
        for i in range(block):
            copy_row(out, target + i * out_stride, image, source + i * stride, run)


@njit(cache=True, nogil=True)
def _paste(image, blocks_across, run, block, indices, blocks):  # type: ignore[no-untyped-def]
    stride = blocks_across * run
    for k in range(indices.size):
        target = (indices[k] // blocks_across) * block * stride + (indices[k] % blocks_across) * run
        for i in range(block):
            copy_row(image, target + i * stride, blocks, (k * block + i) * run, run)
