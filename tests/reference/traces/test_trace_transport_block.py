"""The transport-block rule against values of 3GPP TS 36.213, Table 7.1.7.2.1-1."""

from __future__ import annotations

import numpy as np
import pytest

from traces.bandwidth.formats.transport_block import _table, transport_block_bits, transport_block_index

# By number of blocks: the sizes of the indices 0 to 26.
COLUMNS = {
    1: """
        16 24 32 40 56 72 328 104 120 136 144 176 208 224 256 280 328 336 376 408 440 488 520 552 584 616
        712
    """,
    6: """
        152 208 256 328 408 504 600 712 808 936 1032 1192 1352 1544 1736 1800 1928 2152 2344 2600 2792 2984
        3240 3496 3624 3752 4392
    """,
    15: """
        392 520 648 872 1064 1320 1544 1800 2088 2344 2664 2984 3368 3880 4264 4584 4968 5352 5992 6456 6968
        7480 7992 8504 9144 9528 11064
    """,
    25: """
        680 904 1096 1416 1800 2216 2600 3112 3496 4008 4392 4968 5736 6456 7224 7736 7992 9144 9912 10680
        11448 12576 13536 14112 15264 15840 18336
    """,
    50: """
        1384 1800 2216 2856 3624 4392 5160 6200 6968 7992 8760 9912 11448 12960 14112 15264 16416 18336
        19848 21384 22920 25456 27376 28336 30576 31704 36696
    """,
    100: """
        2792 3624 4584 5736 7224 8760 10296 12216 14112 15840 17568 19848 22920 25456 28336 30576 32856
        36696 39232 43816 46888 51024 55056 57336 61664 63776 75376
    """,
}
# By index: the sizes of 1 to 110 blocks.
ROWS = {
    9: """
        136 296 456 616 776 936 1096 1256 1416 1544 1736 1864 2024 2216 2344 2536 2664 2856 2984 3112 3368
        3496 3624 3752 4008 4136 4264 4392 4584 4776 4968 5160 5160 5352 5544 5736 5736 5992 6200 6200 6456
        6712 6712 6968 6968 7224 7480 7480 7736 7992 7992 8248 8248 8504 8760 8760 9144 9144 9144 9528 9528
        9912 9912 10296 10296 10296 10680 10680 11064 11064 11064 11448 11448 11832 11832 11832 12216 12216
        12576 12576 12960 12960 12960 13536 13536 13536 13536 14112 14112 14112 14112 14688 14688 14688
        15264 15264 15264 15264 15840 15840 15840 16416 16416 16416 16416 16992 16992 16992 16992 17568
    """,
    20: """
        440 904 1384 1864 2344 2792 3240 3752 4136 4584 5160 5544 5992 6456 6968 7480 7992 8248 8760 9144
        9912 10296 10680 11064 11448 12216 12576 12960 13536 14112 14688 14688 15264 15840 16416 16992 16992
        17568 18336 18336 19080 19848 19848 20616 20616 21384 22152 22152 22920 22920 23688 24496 24496
        25456 25456 26416 26416 27376 27376 28336 28336 29296 29296 29296 30576 30576 31704 31704 31704
        32856 32856 34008 34008 34008 35160 35160 35160 36696 36696 36696 37888 37888 39232 39232 39232
        40576 40576 40576 42368 42368 42368 42368 43816 43816 43816 45352 45352 45352 46888 46888 46888
        46888 48936 48936 48936 48936 48936 51024 51024 51024
    """,
    26: """
        712 1480 2216 2984 3752 4392 5160 5992 6712 7480 8248 8760 9528 10296 11064 11832 12576 13536 14112
        14688 15264 16416 16992 17568 18336 19080 19848 20616 21384 22152 22920 23688 24496 25456 25456
        26416 27376 28336 29296 29296 30576 30576 31704 32856 32856 34008 35160 35160 36696 36696 37888
        37888 39232 40576 40576 40576 42368 42368 43816 43816 45352 45352 46888 46888 48936 48936 48936
        51024 51024 52752 52752 52752 55056 55056 55056 55056 57336 57336 57336 59256 59256 59256 61664
        61664 61664 63776 63776 63776 66592 66592 66592 68808 68808 68808 71112 71112 71112 73712 73712
        75376 75376 75376 75376 75376 75376 75376 75376 75376 75376 75376
    """,
}


def _standard() -> dict[tuple[int, int], int]:
    values = {}
    for blocks, text in COLUMNS.items():
        values |= {(index, blocks): int(bits) for index, bits in enumerate(text.split())}
    for index, text in ROWS.items():
        values |= {(index, blocks): int(bits) for blocks, bits in enumerate(text.split(), start=1)}
    return values


def test_the_error_against_the_standard_is_what_the_docstring_says() -> None:
    standard = _standard()
    rule = np.array([_table()[index, blocks] for index, blocks in standard])
    bits = np.array(list(standard.values()))
    blocks = np.array([blocks for _, blocks in standard])
    errors = np.abs(rule / bits - 1)
    assert len(standard) == 474
    assert (rule == bits).sum() == 458
    assert errors.mean() == pytest.approx(0.0028, abs=5e-5)
    assert errors[blocks >= 2].max() == pytest.approx(0.0526, abs=5e-5)
    assert rule.sum() / bits.sum() - 1 == pytest.approx(0.0006, abs=5e-5)
    assert ((rule != bits) & (blocks == 1)).sum() == 6


def test_sizes_grow_with_width_and_with_scheme() -> None:
    table = _table()[:27].copy()
    table[6, 1] = 88  # the standard's own exception breaks the order
    assert (np.diff(table[:, 1:], axis=1) >= 0).all()
    assert (np.diff(table[:, 1:], axis=0) >= 0).all()


@pytest.mark.parametrize(
    ("mcs", "uplink_index", "downlink_index"),
    [
        (0, 0, 0),
        (9, 9, 9),
        (10, 10, 9),
        (11, 10, 10),
        (16, 15, 15),
        (17, 16, 15),
        (20, 19, 18),
        (21, 19, 19),
        (28, 26, 26),
    ],
)
def test_schemes_map_to_indices(mcs: int, uplink_index: int, downlink_index: int) -> None:
    assert transport_block_index(mcs, uplink=True) == uplink_index
    assert transport_block_index(mcs, uplink=False) == downlink_index


def test_retransmissions_and_empty_grants_carry_nothing_new() -> None:
    assert transport_block_bits([29, 30, 31, 5], [50, 50, 50, 0]).tolist() == [0, 0, 0, 0]
