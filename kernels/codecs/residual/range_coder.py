"""An adaptive arithmetic coder of small alphabets: a range coder with carry, and frequencies that follow.

Every context has a cumulative distribution over 16 symbols, out of 2^15. Coding a symbol narrows the range to
its share (G. N. N. Martin, "Range encoding", 1979) and moves the distribution towards it by 2^-rate, fast at
first and slower later, on both sides alike. Nothing is carried from one message to the next. Bits that are as
likely one as zero (signs) are not worth the arithmetic: they are packed apart and written from the end of the
message backwards, so that neither part needs a length.

The functions work on arrays, so that they can be called from compiled loops. A state is int64 [code,
range (16 bits), bits that wait below the top 16, symbols noted or bytes read, raw bits, how many, raw bytes].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

SYMBOLS = 16
STATE = 7
_TOTAL = 1 << 15
_LEAST = 8  # of 2^15: no symbol's share falls much below it
_TARGETS = np.where(np.arange(SYMBOLS) >= np.arange(SYMBOLS)[:, None], _TOTAL, 0).astype(np.int32)


def _make_leading_zeros() -> Any:
    """An intrinsic for an int64: one instruction, which Numba has no function for."""

    @intrinsic
    def leading_zeros(typing: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

        return types.int64(types.int64), generate

    return leading_zeros


_leading_zeros = _make_leading_zeros()


@njit(cache=True, nogil=True)
def start_writing(state):  # type: ignore[no-untyped-def]
    state[:] = 0


@njit(cache=True, nogil=True, inline="always")
def _cumulative(value, symbol):  # type: ignore[no-untyped-def]
    return np.int64(value - (value >> 8) + _LEAST * (symbol + 1))


@njit(cache=True, nogil=True, inline="always")
def _follow(distribution, counts, context, symbol):  # type: ignore[no-untyped-def]
    count = counts[context]
    rate = np.int32(2 + (count > 0) + (count > 3) + (count > 12) + (count > 40))
    counts[context] = count + 1
    for i in range(SYMBOLS):  # indices rather than views of rows, whose references would be counted
        value = distribution[context, i]
        distribution[context, i] = value + (np.int32(_TARGETS[symbol, i] - value) >> rate)


@njit(cache=True, nogil=True, inline="always")
def write_symbol(state, tokens, context, symbol):  # type: ignore[no-untyped-def]
    """Note a symbol; the arithmetic comes at the end, in a loop that keeps its state in registers."""
    tokens[state[3]] = np.int32(context * SYMBOLS + symbol)
    state[3] += 1


@njit(cache=True, nogil=True, inline="always")
def write_bits(state, raw, value, bits):  # type: ignore[no-untyped-def]
    """Up to 16 bits that are as likely one as zero."""
    packed, waiting = state[4] | (value << state[5]), state[5] + bits
    while waiting >= 8:
        raw[state[6]] = packed & 0xFF
        state[6] += 1
        packed >>= 8
        waiting -= 8
    state[4], state[5] = packed, waiting


@njit(cache=True, nogil=True)
def stop_writing(state, tokens, distribution, counts, raw, out):  # type: ignore[no-untyped-def]
    """Code what was noted, the packed bits behind it; returns how many bytes of `out` are the message."""
    low, width, waiting, count = np.int64(0), np.int64(1 << 15), np.int64(0), np.int64(0)
    symbols = state[3]
    words = np.empty(symbols + 4, np.int32)  # 16 bits each, and a carry into the word before above them
    for k in range(symbols):
        context, symbol = tokens[k] >> 4, tokens[k] & 15
        below = np.int64(0)
        if symbol > 0:
            below = (width * _cumulative(distribution[context, symbol - 1], symbol - 1)) >> 15
        above = (width * _cumulative(distribution[context, symbol], symbol)) >> 15
        low, width = low + below, above - below
        shift = _leading_zeros(width) - 48
        low <<= shift
        width <<= shift
        waiting += shift
        if waiting >= 24:
            words[count] = low >> waiting
            count += 1
            low &= (1 << waiting) - 1
            waiting -= 16
        _follow(distribution, counts, context, symbol)
    low <<= (-waiting) & 15
    waiting += (-waiting) & 15
    while waiting >= 0:
        words[count] = low >> waiting
        low &= (1 << waiting) - 1
        waiting -= 16
        count += 1
    carry = np.int64(0)
    for k in range(count - 1, -1, -1):
        word = np.int64(words[k]) + carry
        carry = word >> 16
        out[2 * k], out[2 * k + 1] = (word >> 8) & 0xFF, word & 0xFF
    size = 2 * count
    while state[5] > 0:
        raw[state[6]] = state[4] & 0xFF
        state[4] >>= 8
        state[5] -= 8
        state[6] += 1
    for k in range(state[6] - 1, -1, -1):
        out[size] = raw[k]
        size += 1
    return size


@njit(cache=True, nogil=True)
def start_reading(state, data):  # type: ignore[no-untyped-def]
    state[:] = 0
    state[1], state[2] = 1 << 15, -16
    for _ in range(3):
        _refill(state, data)


@njit(cache=True, nogil=True)
def _refill(state, data):  # type: ignore[no-untyped-def]
    at = state[3]
    first = np.int64(data[at]) if at < data.size else np.int64(0)
    second = np.int64(data[at + 1]) if at + 1 < data.size else np.int64(0)
    state[0] = (state[0] << 16) | (first << 8) | second
    state[2] += 16
    state[3] = at + 2


@njit(cache=True, nogil=True)
def read_symbol(state, data, distribution, counts, context):  # type: ignore[no-untyped-def]
    width, waiting = state[1], state[2]
    value = state[0] >> waiting
    below, symbol = np.int64(0), 0
    above = (width * _cumulative(distribution[context, 0], 0)) >> 15
    while value >= above and symbol < SYMBOLS - 1:
        below = above
        symbol += 1
        above = (width * _cumulative(distribution[context, symbol], symbol)) >> 15
    state[0] -= below << waiting
    width = above - below
    shift = _leading_zeros(width) - 48
    state[1] = width << shift
    state[2] = waiting - shift
    if state[2] < 16:
        _refill(state, data)
    _follow(distribution, counts, context, symbol)
    return symbol


@njit(cache=True, nogil=True)
def read_bits(state, data, bits):  # type: ignore[no-untyped-def]
    while state[5] < bits:
        state[6] += 1
        byte = np.int64(data[data.size - state[6]]) if state[6] <= data.size else np.int64(0)
        state[4] |= byte << state[5]
        state[5] += 8
    value = state[4] & ((1 << bits) - 1)
    state[4] >>= bits
    state[5] -= bits
    return value
