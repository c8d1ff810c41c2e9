"""What is computed with a margin: as many blocks as a dilation of those that are given has."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sim.components.blocks.margin import computed_count, computed_counts, margin_reach
from sim.world.frame import FrameGeometry

BLOCK_PX = 16


@st.composite
def ordered_blocks(draw: st.DrawFn) -> tuple[FrameGeometry, list[int], list[int]]:
    """A small grid, some of its blocks in any order, and others (which may be among them)."""
    rows, columns = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    blocks = st.lists(st.integers(0, rows * columns - 1), unique=True)
    return FrameGeometry(rows * BLOCK_PX, columns * BLOCK_PX, BLOCK_PX), draw(blocks), draw(blocks)


def dilated(geometry: FrameGeometry, blocks: list[int], reach: int) -> int:
    """How many blocks lie within `reach` of one of these in either direction, place by place."""
    places = [divmod(block, geometry.columns) for block in blocks]
    return sum(
        any(abs(row - at) <= reach and abs(column - there) <= reach for at, there in places)
        for row in range(geometry.rows)
        for column in range(geometry.columns)
    )


@given(ordered_blocks(), st.integers(0, 8))
def test_the_first_k_blocks_and_the_others_are_dilated(
    drawn: tuple[FrameGeometry, list[int], list[int]], reach: int
) -> None:
    geometry, blocks, others = drawn
    counts = computed_counts(geometry, np.array(blocks, np.int32), reach, np.array(others, np.int32))
    assert counts.tolist() == [
        dilated(geometry, [*blocks[:k], *others], reach) for k in range(len(blocks) + 1)
    ]


@given(ordered_blocks(), st.integers(0, 8))
def test_a_set_is_dilated_whatever_its_order(
    drawn: tuple[FrameGeometry, list[int], list[int]], reach: int
) -> None:
    geometry, blocks, _ = drawn
    assert computed_count(geometry, np.array(blocks, np.int32), reach) == dilated(geometry, blocks, reach)


def test_a_margin_reaches_into_every_block_that_it_touches() -> None:
    assert [margin_reach(px, BLOCK_PX) for px in (0, 1, 16, 17, 32)] == [0, 1, 1, 2, 2]
