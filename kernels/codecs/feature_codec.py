"""Feature maps as bytes: what crosses the link where a network is cut.

Affine quantisation to 8 bits or fewer between a map's smallest and largest value, then bit planes (a bit
shuffle) and LZ4, which costs an edge device little (Laskaridis et al., MobiCom 2020). High planes of
activations are mostly zeros, which is what LZ4 finds.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_BITS = 8
_HEAD = struct.Struct("<BB")  # maps, bits a value
_MAP = struct.Struct("<HHHffI")  # channels, height, width; smallest value, step; bytes of its planes
Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FeatureCodec:
    """(C, H, W) float32 maps to bytes and back.

    q = round((x − low) / step) with step = (high − low) / (2^bits − 1); x ≈ low + step·q, off by at most
    step / 2. Wire: u8 maps, u8 bits; for each map u16 C, u16 H, u16 W, f32 low, f32 step, u32 bytes, and the
    bit planes, the lowest first, as one LZ4 block.

    Args:
        bits: of a value, 1 to 8.

    Raises:
        ValueError: another number.
    """

    bits: int = MOST_BITS

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MOST_BITS:
            raise ValueError(f"bits must be from 1 to {MOST_BITS} (got {self.bits})")

    def encode(self, maps: Sequence[Features]) -> bytes:
        """Maps in the order in which :meth:`decode` gives them back.

        Raises:
            ValueError: a map that is not (C, H, W), of more than 65535 along an axis, or not finite.
        """
        parts = [_HEAD.pack(len(maps), self.bits)]
        for values in maps:
            low, step, levels = quantise(values, self.bits)
            packed = _lz4().compress(bit_planes(levels.ravel(), self.bits), asbytes=True)
            parts += [_MAP.pack(*values.shape, low, step, len(packed)), packed]
        return b"".join(parts)

    def decode(self, data: bytes) -> list[Features]:
        """The maps as they arrive.

        Raises:
            ValueError: the data was cut off, or is of another number of bits.
        """
        if len(data) < _HEAD.size or _HEAD.unpack_from(data)[1] != self.bits:
            raise ValueError(f"features must be a message of {self.bits} bits a value (got another)")
        count, _ = _HEAD.unpack_from(data)
        maps: list[Features] = []
        at = _HEAD.size
        for _ in range(count):
            if len(data) < at + _MAP.size:
                raise ValueError(f"features must be {count} maps (got {len(maps)} whole ones)")
            channels, height, width, low, step, size = _MAP.unpack_from(data, at)
            at += _MAP.size
            if len(data) < at + size:
                raise ValueError(f"features must be {count} maps (got {len(maps)} whole ones)")
            elements = channels * height * width
            planes = _lz4().decompress(
                data[at : at + size], decompressed_size=self.bits * -(-elements // 8), asbytes=True
            )
            levels = from_bit_planes(planes, elements, self.bits)
            maps.append(dequantise(low, step, levels).reshape(channels, height, width))
            at += size
        return maps


def quantise(values: Features, bits: int) -> tuple[float, float, NDArray[np.uint8]]:
    """A map's smallest value, step and levels; step 0 and levels 0 where all values are equal.

    Raises:
        ValueError: not (C, H, W), too long along an axis, or not finite.
    """
    if values.ndim != 3 or max(values.shape) > 0xFFFF or not values.size:
        raise ValueError(f"features must be (channels, height, width) of at most 65535 (got {values.shape})")
    low, high = np.float32(values.min()), np.float32(values.max())
    step = np.float32((high - low) / np.float32(2**bits - 1))
    if not np.isfinite(step):
        raise ValueError("features must be finite (got nan or inf)")
    if step == 0.0:
        return float(low), 0.0, np.zeros(values.shape, np.uint8)
    levels = np.rint((values - low) / step).clip(0, 2**bits - 1).astype(np.uint8)
    return float(low), float(step), levels


def dequantise(low: float, step: float, levels: NDArray[np.uint8]) -> Features:
    """What levels stand for."""
    return np.float32(low) + np.float32(step) * levels.astype(np.float32)


def bit_planes(levels: NDArray[np.uint8], bits: int) -> bytes:
    """The lowest `bits` bits of (n,) levels as planes of ⌈n/8⌉ bytes each, the lowest bit's first."""
    return b"".join(np.packbits((levels >> bit) & 1).tobytes() for bit in range(bits))


def from_bit_planes(planes: bytes, count: int, bits: int) -> NDArray[np.uint8]:
    """The (count,) levels that :func:`bit_planes` was given."""
    rows = np.frombuffer(planes, np.uint8).reshape(bits, -1)
    levels = np.zeros(count, np.uint8)
    for bit in range(bits):
        levels |= np.unpackbits(rows[bit], count=count) << bit
    return levels


def named(maps: Mapping[str, Features]) -> tuple[tuple[str, ...], list[Features]]:
    """Names and maps of a mapping, in the order in which both sides send and read them."""
    names = tuple(sorted(maps))
    return names, [maps[name] for name in names]


def _lz4() -> Any:
    import pyarrow as pa

    return pa.Codec("lz4_raw")
