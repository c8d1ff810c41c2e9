"""Results as they cross the downlink: class maps in run lengths, all others in fixed binary.

Wire format, little-endian; every byte counts as traffic:

    offset  type     field
    0       2s       magic "FR"
    2       u8       version, 1
    3       u8       kind: 0 class map, 1 boxes, 2 pose, 3 keypoints, 4 labels; bit 7: the body is deflated
    4       u16 u16  height, width of the frame in pixels
    8       u32      number of runs, boxes, keypoints or labels
    12      u32      CRC-32 of the whole message, with this field zero
    16               body, deflated where that is shorter

Class map: runs of equal pixels in raster order, first the class of each (u8), then the length of each, seven
bits a byte, lowest first, the high bit set on all but the last. Boxes: x1, y1, x2, y2 in pixels (float32) of
each, then the class of each (u16). One pose: x, y, score (float32) of each keypoint, in their order.
Keypoints of any number of objects: the same, then the kind of each (u16). Labels of the whole frame: the
score (float32) of each, then its class (u16).

A mask could be coded smaller, by contexts and arithmetic coding; run lengths with deflate are what a serving
system would really send (COCO's masks are run lengths, too), and equal results have equal bytes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MAGIC, _VERSION = b"FR", 1
_HEADER = struct.Struct("<2sBBHHII")
_KINDS = ("classes", "boxes", "points", "keypoints", "labels")
_DEFLATED = 128
_NUMBERS = {"boxes": 4, "points": 3, "keypoints": 3, "labels": 1}  # float32, of each
_WITH_CLASS = ("boxes", "keypoints", "labels")


@dataclass(frozen=True, slots=True, eq=False)
class DecodedResult:
    """What a message says; of `classes`, `boxes`, `points` and `scores` those that its kind has, else None.

    `kind` is "classes", "boxes", "points" (one pose), "keypoints" or "labels". `classes` is (H, W) uint8 of
    a class map, else (n,) int64; `boxes` (n, 4) float32; `points` (n, 3) float32; `scores` (n,) float32.
    """

    kind: str
    height_px: int
    width_px: int
    classes: NDArray[np.uint8] | NDArray[np.int64] | None = None
    boxes: NDArray[np.float32] | None = None
    points: NDArray[np.float32] | None = None
    scores: NDArray[np.float32] | None = None


def encode_classes(classes: NDArray[np.uint8]) -> bytes:
    """A class map, (H, W) uint8.

    Raises:
        ValueError: another type or shape.
    """
    if getattr(classes, "dtype", None) != np.uint8 or classes.ndim != 2:
        found = f"{getattr(classes, 'dtype', type(classes).__name__)} {np.shape(classes)}"
        raise ValueError(f"classes must be uint8 of (H, W) (got {found})")
    flat = classes.reshape(-1)
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate(([0], starts, [flat.size])) if flat.size else np.zeros(1, np.int64)
    body = flat[bounds[:-1]].tobytes() + _varints(np.diff(bounds))
    return _message(0, classes.shape[0], classes.shape[1], len(bounds) - 1, body)


def encode_boxes(
    boxes: NDArray[np.floating], classes: NDArray[np.integer], height_px: int, width_px: int
) -> bytes:
    """Boxes, (n, 4) in pixels, with their classes, (n,) from 0 to 65535.

    Raises:
        ValueError: shapes do not fit, or a class is out of range.
    """
    if np.shape(boxes) != (len(classes), 4):
        raise ValueError(f"boxes must be ({len(classes)}, 4), as many as classes (got {np.shape(boxes)})")
    return _message(1, height_px, width_px, len(classes), _numbers(boxes) + _classes(classes))


def encode_points(points: NDArray[np.floating], height_px: int, width_px: int) -> bytes:
    """Keypoints of one pose, (n, 3): x, y, score.

    Raises:
        ValueError: another shape.
    """
    if np.ndim(points) != 2 or np.shape(points)[1] != 3:
        raise ValueError(f"points must be (n, 3) (got {np.shape(points)})")
    return _message(2, height_px, width_px, len(points), _numbers(points))


def encode_keypoints(
    points: NDArray[np.floating], kinds: NDArray[np.integer], height_px: int, width_px: int
) -> bytes:
    """Keypoints of any number of objects, (n, 3): x, y, score; with their kinds, (n,) from 0 to 65535.

    Raises:
        ValueError: shapes do not fit, or a kind is out of range.
    """
    if np.shape(points) != (len(kinds), 3):
        raise ValueError(f"points must be ({len(kinds)}, 3), as many as kinds (got {np.shape(points)})")
    return _message(3, height_px, width_px, len(kinds), _numbers(points) + _classes(kinds))


def encode_labels(
    classes: NDArray[np.integer], scores: NDArray[np.floating], height_px: int, width_px: int
) -> bytes:
    """What a whole frame is said to show, (n,) classes from 0 to 65535 with their scores, (n,).

    Raises:
        ValueError: shapes do not fit, or a class is out of range.
    """
    if np.shape(scores) != (len(classes),):
        raise ValueError(f"scores must be ({len(classes)},), as many as classes (got {np.shape(scores)})")
    return _message(4, height_px, width_px, len(classes), _numbers(scores) + _classes(classes))


def decode_result(data: bytes) -> DecodedResult:
    """Read a message of one of the above.

    Raises:
        ValueError: not such a message, or a damaged one.
    """
    if len(data) < _HEADER.size:
        raise ValueError(f"result message must have at least {_HEADER.size} bytes (got {len(data)})")
    *fields, checksum = _HEADER.unpack_from(data)
    magic, version, kind, height, width, count = fields
    if magic != _MAGIC or version != _VERSION or kind & ~_DEFLATED >= len(_KINDS):
        raise ValueError(f"result message must begin with {_MAGIC!r}, version {_VERSION} (got {data[:4]!r})")
    body = data[_HEADER.size :]
    if zlib.crc32(body, zlib.crc32(_HEADER.pack(*fields, 0))) != checksum:
        raise ValueError("result message is damaged or cut short: its checksum does not match")
    if kind & _DEFLATED:
        try:
            body = zlib.decompress(body)
        except zlib.error as error:
            raise ValueError(f"result message has a body that does not inflate: {error}") from None
    name = _KINDS[kind & ~_DEFLATED]
    if name == "classes":
        return DecodedResult(name, height, width, _class_map(body, count, height, width))
    width_of = _NUMBERS[name]
    expected = count * (4 * width_of + (2 if name in _WITH_CLASS else 0))
    if len(body) != expected:
        raise ValueError(f"result message must have {expected} bytes of {name} (got {len(body)})")
    numbers = np.frombuffer(body, "<f4", width_of * count).reshape(count, width_of).astype(np.float32)
    if name == "points":
        return DecodedResult(name, height, width, points=numbers)
    classes = np.frombuffer(body, "<u2", count, 4 * width_of * count).astype(np.int64)
    if name == "boxes":
        return DecodedResult(name, height, width, classes, boxes=numbers)
    if name == "keypoints":
        return DecodedResult(name, height, width, classes, points=numbers)
    return DecodedResult(name, height, width, classes, scores=numbers[:, 0])


def _numbers(values: NDArray[np.floating]) -> bytes:
    return np.asarray(values, "<f4").tobytes()


def _classes(classes: NDArray[np.integer]) -> bytes:
    if len(classes) and not 0 <= int(np.min(classes)) <= int(np.max(classes)) <= 65535:
        raise ValueError(
            f"classes must be in 0 to 65535 (got {int(np.min(classes))} to {int(np.max(classes))})"
        )
    return np.asarray(classes, "<u2").tobytes()


def _message(kind: int, height: int, width: int, count: int, body: bytes) -> bytes:
    if not 0 <= min(height, width) <= max(height, width) < 65536:
        raise ValueError(f"frame must have 0 to 65535 px a side (got {height}x{width})")
    if len(deflated := zlib.compress(body, 6)) < len(body):
        body, kind = deflated, kind | _DEFLATED
    fields = (_MAGIC, _VERSION, kind, height, width, count)
    return _HEADER.pack(*fields, zlib.crc32(body, zlib.crc32(_HEADER.pack(*fields, 0)))) + body


def _class_map(body: bytes, count: int, height: int, width: int) -> NDArray[np.uint8]:
    if len(body) < count:
        raise ValueError(f"result message must have {count} classes of runs (got {len(body)})")
    lengths = _lengths(np.frombuffer(body, np.uint8, offset=count))
    if len(lengths) != count or int(lengths.sum()) != height * width:
        raise ValueError(
            f"result message must have {count} runs of {height * width} px together "
            f"(got {len(lengths)} of {int(lengths.sum())})"
        )
    return np.repeat(np.frombuffer(body, np.uint8, count), lengths).reshape(height, width)


def _varints(lengths: NDArray[np.int64]) -> bytes:
    """Each length in groups of seven bits, the lowest first."""
    groups = np.ones(len(lengths), np.int64)
    for bits in (7, 14, 21, 28):
        groups += lengths >= 1 << bits
    ends = np.cumsum(groups)
    out = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    for group in range(int(groups.max(initial=0))):
        held = groups > group
        more = np.where(groups[held] > group + 1, 128, 0)
        out[(ends - groups)[held] + group] = (lengths[held] >> 7 * group & 127) | more
    return out.tobytes()


def _lengths(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What `_varints` wrote."""
    last = np.flatnonzero(data < 128)
    if data.size and (not last.size or last[-1] != data.size - 1):
        raise ValueError("result message must end its last run (got one cut short)")
    if not last.size:
        return np.zeros(0, np.int64)
    first = np.concatenate(([0], last[:-1] + 1))
    place = np.arange(data.size) - np.repeat(first, last - first + 1)
    if place.max() > 4:
        raise ValueError("result message must have runs of at most 5 bytes (got a longer one)")
    return np.add.reduceat((data & 127).astype(np.int64) << 7 * place, first)
