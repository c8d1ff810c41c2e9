"""Blocks coded against what both ends have: residuals of a motion-compensated prediction, or blocks alone.

Per block, whichever differs less in grey is taken for the prediction: the shared image at the block's vector,
to half a pixel, or mid-grey. What is left is transformed (8×8 DCT of luma and colours at full resolution),
quantised with one step for all frequencies, and coded by an adaptive arithmetic coder. JPEG's tables follow
what eyes miss; a network has none of that, and at equal bytes one step for all leaves less squared error.

Bytes: one that says whether there is a prediction, then the coder's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.codecs.prediction import Prediction
from kernels.codecs.residual.coefficients import CHOICES, fresh_contexts, read_levels, write_levels
from kernels.codecs.residual.interpolation import activity, best_half, interpolate, to_grey, window
from kernels.codecs.residual.range_coder import (
    STATE,
    read_symbol,
    start_reading,
    start_writing,
    stop_writing,
    write_symbol,
)
from kernels.codecs.residual.transform import FRACTION, ZIGZAG, forward, inverse, quantise

_ALONE, _PREDICTED = 0, 1
_GREY = 128  # what a block alone is predicted from
_ALONE_CHOICE = 9  # beside the nine half steps
_FIRST = 10  # context of the first block's choice
_ROUND_RESIDUAL, _ROUND_ALONE = (
    0.33,
    0.4,
)  # of a step: less than half, as small levels cost more than they are worth


@dataclass(frozen=True, slots=True)
class ResidualBlocks:
    """A block codec that may be given a prediction; see :class:`~kernels.codecs.block_codecs.BlockCodec`."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """`quality` is 1 to 98 and sets the step as JPEG's sets that of its lowest frequency."""

        quality: int = 85

        def __post_init__(self) -> None:
            if not 1 <= self.quality <= 98:
                raise ValueError(f"quality: expected 1 to 98, found {self.quality!r}")

    options: Options
    name: ClassVar[str] = "residual"
    code: ClassVar[int] = 255
    predicts: ClassVar[bool] = True
    typical_block_bytes: ClassVar[float] = 45.0

    @property
    def quality(self) -> int:
        """The quality of the options."""
        return self.options.quality

    def encode(self, blocks: NDArray[np.uint8], prediction: Prediction | None = None) -> bytes:
        """The bytes of (k, b, b, 3) or (k, b, b) uint8 blocks; against `prediction` if there is one."""
        rows = _rows(blocks)
        reference, places = _opened(prediction, blocks.shape[1])
        steps = _steps(self.quality)
        most = 3 * blocks.size + 64  # a level is two symbols and at most 20 bits
        tokens, raw, out = np.empty(most, np.int32), np.empty(most, np.uint8), np.empty(3 * most, np.uint8)
        distribution, counts = fresh_contexts()
        roundings = _roundings(steps)
        size = _encode(rows, reference, places, steps, roundings, tokens, raw, out, distribution, counts)
        return bytes([_ALONE if prediction is None else _PREDICTED]) + out[:size].tobytes()

    def decode(
        self, data: bytes, count: int, block_px: int, channels: int, prediction: Prediction | None = None
    ) -> NDArray[np.uint8]:
        """The blocks again, from the same bytes and an equal prediction.

        Raises:
            ValueError: bytes that are not those of so many blocks, or a prediction that is missing.
        """
        if not data or data[0] > _PREDICTED:
            raise ValueError("block message has residuals that do not begin as they should")
        if data[0] == _PREDICTED and prediction is None:
            raise ValueError("block message has residuals, which need the image that they were coded against")
        rows = np.empty((count, block_px, block_px * channels), np.uint8)
        reference, places = _opened(prediction if data[0] else None, block_px)
        distribution, counts = fresh_contexts()
        stream = np.frombuffer(data[1:], np.uint8)
        if not _decode(stream, rows, reference, places, _steps(self.quality), distribution, counts):
            raise ValueError(f"block message has residuals that are not those of {count} blocks")
        return rows.reshape(count, block_px, block_px, 3) if channels == 3 else rows


def _steps(quality: int) -> NDArray[np.int32]:
    """Steps of luma and colours: JPEG's 16 of the lowest frequency, scaled as libjpeg scales its tables."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    step = max(1, (16 * scale + 50) // 100)
    return np.array([step, step, step], np.int32)


def _roundings(steps: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.array([np.rint(FRACTION * steps * r) for r in (_ROUND_ALONE, _ROUND_RESIDUAL)], np.int32)


def _rows(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(k, H, W[, C]) as (k, H, W·C)."""
    return np.ascontiguousarray(images).reshape(*images.shape[:2], -1)


def _opened(prediction: Prediction | None, block_px: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The reference's rows and the places of the predicted blocks; none of either without a prediction."""
    if prediction is None:
        return np.empty((0, 0), np.uint8), np.empty((0, 2), np.int64)
    return _rows(prediction.reference[None])[0], prediction.places(block_px)


@njit(cache=True, nogil=True)
def _encode(blocks, reference, places, steps, roundings, tokens, raw, out, distribution, counts):  # type: ignore[no-untyped-def]
    count, block = blocks.shape[:2]
    channels = blocks.shape[2] // block
    across = block // 8
    state = np.empty(STATE, np.int64)
    around = np.empty((block + 2, (block + 2) * channels), np.uint8)
    planes = np.empty((4, (block + 2) ** 2), np.uint8)
    grey = np.empty(block * block, np.uint8)
    predicted = np.empty((block, block * channels), np.uint8)
    tiles = np.empty((channels, 8, 8), np.int32)
    scratch, coefficients = np.empty((8, 8), np.int32), np.empty((8, 8), np.int32)
    flat = coefficients.reshape(64)
    levels = np.empty(64, np.int32)
    coded = np.zeros((channels, across + 1, across + 1), np.int64)
    base = np.zeros(channels, np.int32)
    start_writing(state)
    before = _FIRST
    for k in range(count):
        choice = _ALONE_CHOICE
        if places.shape[0]:
            for i in range(block):
                to_grey(blocks[k, i], channels, grey[i * block : (i + 1) * block])
            window(reference, places[k, 0], places[k, 1], block, channels, around)
            half, difference = best_half(around, grey, planes, block, channels)
            if difference <= activity(grey):
                choice = half
                interpolate(around, half // 3 - 1, half % 3 - 1, block, channels, predicted)
            write_symbol(state, tokens, CHOICES + before, choice)
            before = choice
        kind = np.int64(choice != _ALONE_CHOICE)
        if not kind:
            predicted[:] = _GREY
        for row in range(across):
            for column in range(across):
                _difference_tile(blocks[k], predicted, 8 * row, 8 * column, channels, tiles)
                for c in range(channels):
                    forward(tiles[c], scratch, coefficients)
                    step, rounding = steps[c], roundings[kind, c]
                    reciprocal = np.int32((1 << 16) // (8 * step) + 1)
                    any_level = np.int32(0)
                    for i in range(64):
                        flat[i] = quantise(flat[i], reciprocal, rounding)
                        any_level |= flat[i]
                    end = np.int64(0)
                    if any_level:
                        end = np.int64(64)
                        for i in range(64):
                            levels[i] = flat[ZIGZAG[i]]
                    if not kind:
                        if not end:
                            levels[:] = 0
                        level = levels[0]
                        levels[0] = level - base[c]
                        base[c] = level
                        end = np.int64(64)
                    neighbours = coded[c, row, column + 1] + coded[c, row + 1, column]
                    some = write_levels(state, tokens, raw, levels, end, kind, np.int64(c), neighbours)
                    coded[c, row + 1, column + 1] = some
    return stop_writing(state, tokens, distribution, counts, raw, out)


@njit(cache=True, nogil=True)
def _decode(stream, blocks, reference, places, steps, distribution, counts):  # type: ignore[no-untyped-def]
    count, block = blocks.shape[:2]
    channels = blocks.shape[2] // block
    across = block // 8
    state = np.empty(STATE, np.int64)
    around = np.empty((block + 2, (block + 2) * channels), np.uint8)
    predicted = np.empty((block, block * channels), np.uint8)
    tiles = np.zeros((channels, 8, 8), np.int32)
    scratch, coefficients = np.empty((8, 8), np.int32), np.empty((8, 8), np.int32)
    flat = coefficients.reshape(64)
    levels = np.empty(64, np.int32)
    coded = np.zeros((channels, across + 1, across + 1), np.int64)
    base = np.zeros(channels, np.int32)
    start_reading(state, stream)
    before = _FIRST
    for k in range(count):
        choice = _ALONE_CHOICE
        if places.shape[0]:
            choice = read_symbol(state, stream, distribution, counts, CHOICES + before)
            if choice > _ALONE_CHOICE:
                return False
            before = choice
        kind = np.int64(choice != _ALONE_CHOICE)
        if kind:
            window(reference, places[k, 0], places[k, 1], block, channels, around)
            interpolate(around, choice // 3 - 1, choice % 3 - 1, block, channels, predicted)
        else:
            predicted[:] = _GREY
        for row in range(across):
            for column in range(across):
                for c in range(channels):
                    levels[:] = 0
                    neighbours = coded[c, row, column + 1] + coded[c, row + 1, column]
                    some = read_levels(
                        state, stream, distribution, counts, levels, kind, np.int64(c), neighbours
                    )
                    if some < 0:
                        return False
                    coded[c, row + 1, column + 1] = some
                    if not kind:
                        base[c] += levels[0]
                        levels[0] = base[c]
                        some = some or base[c] != 0
                    if some:
                        for i in range(64):
                            flat[ZIGZAG[i]] = levels[i] * steps[c]
                        inverse(coefficients, scratch, tiles[c])
                    else:
                        tiles[c, :, :] = 0
                _add_tile(predicted, 8 * row, 8 * column, channels, tiles, blocks[k])
    return True


@njit(cache=True, nogil=True)
def _difference_tile(pixels, predicted, top, left, channels, tiles):  # type: ignore[no-untyped-def]
    """An 8×8 of what is left after prediction, as luma and colours in quarters."""
    for i in range(8):
        ours, theirs = pixels[top + i], predicted[top + i]
        if channels == 1:
            for j in range(8):
                tiles[0, i, j] = np.int32(np.int32(ours[left + j]) - np.int32(theirs[left + j])) << 2
            continue
        for j in range(8):
            k = 3 * (left + j)
            red = np.int32(np.int32(ours[k]) - np.int32(theirs[k]))
            green = np.int32(np.int32(ours[k + 1]) - np.int32(theirs[k + 1]))
            blue = np.int32(np.int32(ours[k + 2]) - np.int32(theirs[k + 2]))
            tiles[0, i, j] = np.int32(19595 * red + 38470 * green + 7471 * blue + 8192) >> np.int32(14)
            tiles[1, i, j] = np.int32(-11058 * red - 21710 * green + 32768 * blue + 8192) >> np.int32(14)
            tiles[2, i, j] = np.int32(32768 * red - 27439 * green - 5329 * blue + 8192) >> np.int32(14)


@njit(cache=True, nogil=True)
def _add_tile(predicted, top, left, channels, tiles, pixels):  # type: ignore[no-untyped-def]
    for i in range(8):
        ours, theirs = pixels[top + i], predicted[top + i]
        if channels == 1:
            for j in range(8):
                ours[left + j] = _byte(theirs[left + j], np.int32(tiles[0, i, j]), np.int32(4))
            continue
        for j in range(8):
            k = 3 * (left + j)
            luma = np.int32(tiles[0, i, j] << 12)
            blue, red = np.int32(tiles[1, i, j]), np.int32(tiles[2, i, j])
            ours[k] = _byte(theirs[k], np.int32(luma + 5743 * red), np.int32(16))
            ours[k + 1] = _byte(theirs[k + 1], np.int32(luma - 1410 * blue - 2925 * red), np.int32(16))
            ours[k + 2] = _byte(theirs[k + 2], np.int32(luma + 7258 * blue), np.int32(16))


@njit(cache=True, nogil=True, inline="always")
def _byte(predicted, residual, bits):  # type: ignore[no-untyped-def]
    value = np.int32(
        np.int32(predicted) + (np.int32(residual + (np.int32(1) << (bits - np.int32(1)))) >> bits)
    )
    return np.uint8(min(max(value, np.int32(0)), np.int32(255)))
