"""Bits that an LTE grant carries: the transport-block size of 3GPP TS 36.213, from its construction rule.

A grant names a modulation and coding scheme (mcs) and a number of physical resource blocks (prb). The
standard tabulates the size for every pair (Table 7.1.7.2.1-1: 27 indices x 110 widths). Here it follows from
how that table was made:

1. mcs -> transport-block index I (Table 8.6.1-1 for the uplink, 7.1.7.1-1 for the downlink);
2. I -> spectral efficiency eta(I), the efficiencies of the channel quality indicators 2 to 15 (Table
   7.2.3-1) with one step between each two: eta(2j) = q(j+2), eta(2j+1) = (q(j+2) + q(j+3)) / 2. The top
   index 26 is an exception; 6.2 bits fits its row best;
3. prb blocks of 120 resource elements carry prb * 120 * eta(I) bits, checksums included;
4. of the sizes that the standard permits, the one whose size with checksums (24 bits, and 24 more a code
   block where there are several; code blocks hold at most 6144 bits) is nearest.

Error against the standard: of 474 values (the columns for 1, 6, 15, 25, 50 and 100 blocks and the rows of
the indices 9, 20 and 26), 458 are exact; the mean absolute error is 0.3 %, their sum is 0.06 % too large,
and the worst error from two blocks up is 5 % (one step of the table). Six of the 27 sizes for a single
block are off by one step of 8 bits or more (24 bits become 16). The tests in
tests/reference/traces/test_trace_transport_block.py hold these figures.

Not covered: several layers (downlink MIMO), 256-QAM tables, and tables of special subframes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from traces.errors import InputError

MAX_PRB = 110
FIRST_RETRANSMISSION_MCS = 29
MAX_MCS = 31

# TS 36.213 Table 7.2.3-1, efficiency (information bits a resource element) of CQI 2 to 15.
_CQI_EFFICIENCY = (
    0.2344, 0.3770, 0.6016, 0.8770, 1.1758, 1.4766, 1.9141,
    2.4063, 2.7305, 3.3223, 3.9023, 4.5234, 5.1152, 5.5547,
)  # fmt: skip
_TOP_EFFICIENCY = 6.2
_RESOURCE_ELEMENTS = 120  # a block pair's 168 less control and reference symbols, as the table assumes
_CHECKSUM_BITS = 24
_CODE_BLOCK_BITS = 6144

# The one entry of the standard that follows no rule: index 6, one block.
_EXCEPTION = (6, 1, 328)

# The 178 sizes of Table 7.1.7.2.1-1, its regular runs as ranges.
_PERMITTED_BITS = (
    16, 24, 32, 40, 56, 72, 88, 104, 120, 136, 144, 152, 176, 208, 224, 256, 280, 288, 296, 328, 336, 344,
    376, 392, 408, 424, 440, 456, 472, 488, 504, 520, 536, 552, 568, 584, 600, 616, 632, 648, 680, 696, 712,
    *range(744, 1417, 32), *range(1480, 1993, 64), 2024, *range(2088, 2857, 64), *range(2984, 4265, 128),
    4392, 4584, 4776, 4968, 5160, 5352, 5544, 5736, 5992, *range(6200, 8761, 256), *range(9144, 12217, 384),
    12576, 12960, *range(13536, 17569, 576), 18336, *range(19080, 23689, 768), 24496, 25456, 26416, 27376,
    28336, 29296, 30576, 31704, 32856, 34008, 35160, 36696, 37888, 39232, 40576, 42368, 43816,
    45352, 46888, 48936, 51024, 52752, 55056, 57336, 59256, 61664, 63776, 66592, 68808, 71112, 73712, 75376,
)  # fmt: skip


def transport_block_bits(mcs: ArrayLike, prb: ArrayLike, *, uplink: bool = True) -> NDArray[np.int64]:
    """Information bits of grants with these schemes and widths (see the module's text for the rule).

    mcs: (n,) or scalar, 0..31. The schemes 29 to 31 mark retransmissions (in the uplink redundancy versions
        1 to 3): their block was counted when it was first sent, so they carry 0 new bits here.
    prb: (n,) or scalar, 0..110; 0 blocks carry nothing.
    uplink: which table maps mcs to the index.

    Raises:
        InputError: an mcs or prb out of its range.
    """
    schemes, widths = np.broadcast_arrays(np.asarray(mcs, dtype=np.int64), np.asarray(prb, dtype=np.int64))
    if schemes.size and (schemes.min() < 0 or schemes.max() > MAX_MCS):
        raise InputError(f"mcs must be in [0, {MAX_MCS}] (got {schemes.min()} to {schemes.max()})")
    if widths.size and (widths.min() < 0 or widths.max() > MAX_PRB):
        raise InputError(f"prb must be in [0, {MAX_PRB}] (got {widths.min()} to {widths.max()})")
    # Index 27 of the table stands for retransmissions, width 0 for no blocks: both hold 0.
    index_of = np.full(MAX_MCS + 1, 27)
    for scheme in range(FIRST_RETRANSMISSION_MCS):
        index_of[scheme] = transport_block_index(scheme, uplink=uplink)
    return np.asarray(_table()[index_of[schemes], widths], dtype=np.int64)


def transport_block_index(mcs: int, *, uplink: bool = True) -> int:
    """The index of the transport-block table for a scheme 0..28.

    Two schemes share an index where the modulation changes: uplink 10/11 and 20/21 (TS 36.213 Table
    8.6.1-1), downlink 9/10 and 16/17 (Table 7.1.7.1-1).
    """
    first, second = (11, 21) if uplink else (10, 17)
    return mcs - (mcs >= first) - (mcs >= second)


@cache
def _table() -> NDArray[np.int64]:
    """(28, 111) bits by index and number of blocks; row 27 and column 0 are 0."""
    permitted = np.array(_PERMITTED_BITS, dtype=np.int64)
    with_first_checksum = permitted + _CHECKSUM_BITS
    code_blocks = -(-with_first_checksum // (_CODE_BLOCK_BITS - _CHECKSUM_BITS))
    several = with_first_checksum > _CODE_BLOCK_BITS
    with_checksums = with_first_checksum + np.where(several, code_blocks * _CHECKSUM_BITS, 0)

    efficiency = np.array([*np.interp(np.arange(26) / 2, np.arange(14), _CQI_EFFICIENCY), _TOP_EFFICIENCY])
    target = efficiency[:, None] * _RESOURCE_ELEMENTS * np.arange(1, MAX_PRB + 1)[None, :]
    nearest = np.abs(target[:, :, None] - with_checksums).argmin(axis=2)

    table = np.zeros((28, MAX_PRB + 1), dtype=np.int64)
    table[:27, 1:] = permitted[nearest]
    index, blocks, bits = _EXCEPTION
    table[index, blocks] = bits
    table.setflags(write=False)
    return table
