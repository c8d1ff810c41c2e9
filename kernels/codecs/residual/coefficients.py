"""The levels of an 8×8 as symbols: where the last one is, then runs of zeros and levels, from high to low.

Contexts: what has been coded is kept apart by how the block is predicted, by channel, by frequency, and by
what came before in the 8×8, as video codecs do.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.codecs.residual.range_coder import read_bits, read_symbol, write_bits, write_symbol

CHOICES = 0  # 11: how a block is predicted, by how the one before was
_ENDS = 11  # predicted 2 × channel 3 × neighbours 3
_RUNS = _ENDS + 18  # predicted 2 × luma or colour 2 × frequency 6
_LEVELS = _RUNS + 24  # predicted 2 × luma or colour 2 × at zero frequency 2 × levels before 4
CONTEXTS = _LEVELS + 32

_END_BASE = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 14, 22, 38], np.int64)  # first end of each symbol
_END_BITS = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5], np.int64)
_BAND = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3] + [4] * 13 + [5] * 36, np.int64)
_LEVEL_ESCAPE = 15


def fresh_contexts() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Distributions and counts before anything has been coded: symbols ever less likely."""
    symbols = np.arange(1, 17)
    halving = np.rint(32768 * (1 - 0.6**symbols)).astype(np.int32)
    distribution = np.repeat(halving[None], CONTEXTS, 0)
    distribution[:_ENDS] = (32768 * symbols // 16).astype(np.int32)
    distribution[_ENDS:_LEVELS] = np.rint(32768 * (1 - 0.8**symbols)).astype(np.int32)
    return distribution, np.zeros(CONTEXTS, np.int32)


@njit(cache=True, nogil=True)
def write_levels(  # type: ignore[no-untyped-def]
    state, tokens, raw, levels, end, predicted, channel, neighbours
):
    """Code 64 levels in zigzag order; returns whether there is one that is not 0.

    Args:
        end: no level is there or later. predicted: 1 for a residual, 0 for a block by itself.
        neighbours: how many of the 8×8s left and above have levels, 0 to 2.
    """
    while end > 0 and levels[end - 1] == 0:
        end -= 1
    symbol = 12
    while _END_BASE[symbol] > end:
        symbol -= 1
    write_symbol(state, tokens, _ENDS + 9 * predicted + 3 * channel + neighbours, symbol)
    if _END_BITS[symbol]:
        write_bits(state, raw, end - _END_BASE[symbol], _END_BITS[symbol])
    if end == 0:
        return 0
    colour = np.int64(channel > 0)
    kind, before = 2 * predicted + colour, np.int64(0)
    at = end - 1
    while True:
        level = np.int64(levels[at])
        size = abs(level)
        context = _LEVELS + 8 * kind + 4 * np.int64(at == 0) + before
        write_symbol(state, tokens, context, min(size - 1, _LEVEL_ESCAPE))
        if size > _LEVEL_ESCAPE:
            _write_large(state, raw, size - _LEVEL_ESCAPE)
        write_bits(state, raw, np.int64(level < 0), 1)
        before = min(np.int64(3), max(before, np.int64(1)) if size == 1 else before + 2)
        if at == 0:
            return 1
        run = np.int64(0)
        while run < at and levels[at - 1 - run] == 0:
            run += 1
        context = _RUNS + 6 * kind + _BAND[at]
        write_symbol(state, tokens, context, min(run, np.int64(15)))
        if run >= 15:
            write_bits(state, raw, run - 15, 6)
        if run == at:
            return 1
        at -= run + 1


@njit(cache=True, nogil=True)
def read_levels(  # type: ignore[no-untyped-def]
    state, data, distribution, counts, levels, predicted, channel, neighbours
):
    """Read what `write_levels` wrote into 64 zeros; -1 for a stream that it cannot have written."""
    symbol = read_symbol(state, data, distribution, counts, _ENDS + 9 * predicted + 3 * channel + neighbours)
    if symbol > 12:
        return -1
    end = _END_BASE[symbol]
    if _END_BITS[symbol]:
        end += read_bits(state, data, _END_BITS[symbol])
    if end > 64:
        return -1
    if end == 0:
        return 0
    colour = np.int64(channel > 0)
    kind, before = 2 * predicted + colour, np.int64(0)
    at = end - 1
    while True:
        context = _LEVELS + 8 * kind + 4 * np.int64(at == 0) + before
        size = np.int64(read_symbol(state, data, distribution, counts, context)) + 1
        if size > _LEVEL_ESCAPE:
            size = _LEVEL_ESCAPE + _read_large(state, data)
        levels[at] = -size if read_bits(state, data, 1) else size
        before = min(np.int64(3), max(before, np.int64(1)) if size == 1 else before + 2)
        if at == 0:
            return 1
        context = _RUNS + 6 * kind + _BAND[at]
        run = np.int64(read_symbol(state, data, distribution, counts, context))
        if run == 15:
            run += read_bits(state, data, 6)
        if run > at:
            return -1
        if run == at:
            return 1
        at -= run + 1


@njit(cache=True, nogil=True)
def _write_large(state, raw, value):  # type: ignore[no-untyped-def]
    """value >= 1, below 2^15: how many bits it has, then those after the first (Elias gamma)."""
    bits = 0
    while value >> (bits + 1):
        bits += 1
    write_bits(state, raw, bits, 4)
    if bits:
        write_bits(state, raw, value - (1 << bits), bits)


@njit(cache=True, nogil=True)
def _read_large(state, data):  # type: ignore[no-untyped-def]
    bits = read_bits(state, data, 4)
    return (1 << bits) + (read_bits(state, data, bits) if bits else 0)
