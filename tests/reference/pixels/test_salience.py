"""Salient blocks and their thresholds against a pixel-by-pixel definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.motion.classification import active_blocks
from kernels.motion.field import MotionField
from kernels.motion.salience import block_thresholds, salient_blocks

BLOCK_PX = 8


def by_definition(foreground: np.ndarray, vectors: np.ndarray, reach: int) -> list[list[bool]]:
    height, width = foreground.shape
    rows, columns = vectors.shape[:2]
    overlaps = np.zeros((rows, columns), bool)
    for row, column in np.ndindex(rows, columns):
        dx, dy = vectors[row, column]
        for y, x in np.ndindex(BLOCK_PX, BLOCK_PX):
            there = row * BLOCK_PX + y + dy, column * BLOCK_PX + x + dx
            if 0 <= there[0] < height and 0 <= there[1] < width and foreground[there]:
                overlaps[row, column] = True
    return [
        [
            bool(overlaps[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].any())
            for x in range(columns)
        ]
        for y in range(rows)
    ]


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.002, 0.05, 1.0]),
    reach=st.integers(0, 3),
    seed=st.integers(0, 2**31),
)
def test_a_block_is_salient_by_what_was_where_its_vector_points(
    height: int, width: int, share: float, reach: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    foreground = random.random((height, width)) < share
    grid = -(-height // BLOCK_PX), -(-width // BLOCK_PX)
    vectors = random.integers(-20, 21, (*grid, 2)).astype(np.int16)
    made = salient_blocks(foreground, vectors, BLOCK_PX, reach)
    assert made.tolist() == by_definition(foreground, vectors, reach)


def test_blocks_change_from_their_own_threshold_on() -> None:
    salient = np.array([[True, False], [False, True]])
    difference = np.array([[0.01, 0.02], [0.03, 0.005]], np.float32)
    field = MotionField(np.zeros((2, 2, 2), np.int16), difference)
    thresholds = block_thresholds(salient, near=0.01, elsewhere=0.025)
    assert thresholds.tolist() == [
        [np.float32(0.01), np.float32(0.025)],
        [np.float32(0.025), np.float32(0.01)],
    ]
    assert active_blocks(field, thresholds).tolist() == [2, 0]
    assert active_blocks(field, block_thresholds(salient, 0.0, 1.0)).tolist() == [0, 3]
    assert (
        active_blocks(field, block_thresholds(salient, 0.02, 0.02)).tolist()
        == active_blocks(field, 0.02).tolist()
    )


def test_what_does_not_fit_is_refused() -> None:
    vectors = np.zeros((2, 2, 2), np.int16)
    with pytest.raises(TypeError, match="foreground must be a bool array"):
        salient_blocks(np.zeros((16, 16)), vectors, BLOCK_PX)
    with pytest.raises(ValueError, match="vectors must have the shape"):
        salient_blocks(np.zeros((16, 24), bool), vectors, BLOCK_PX)
    with pytest.raises(ValueError, match="reach_blocks must be an integer >= 0"):
        salient_blocks(np.zeros((16, 16), bool), vectors, BLOCK_PX, -1)
    with pytest.raises(ValueError, match=r"near must be in \[0, 1\] \(got 2\)"):
        block_thresholds(np.zeros((2, 2), bool), 2, 0.5)
    field = MotionField(vectors, np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match=r"threshold must have the shape \(2, 2\)"):
        active_blocks(field, np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\] \(got 0.0 to 2.0\)"):
        active_blocks(field, np.array([[0, 0], [0, 2]], np.float32))
