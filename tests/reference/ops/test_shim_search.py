"""The motion search's kernels, emulated on the CPU, find the vectors of `kernels.motion.search`, ties too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kernels.motion.search import search_motion
from kernels.ops.cuda import shim

pytestmark = pytest.mark.skipif(shim.unavailable("cpu") is not None, reason=str(shim.unavailable("cpu")))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int]:
    """A frame, a reference it was moved from in two halves, with new content, and the side of a block."""
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    block_px = draw(st.sampled_from([8, 16, 24]))
    over = st.sampled_from([0, 0, 1, 4, 7])  # pixels more than whole blocks
    height, width = (
        block_px * draw(st.integers(1, 4)) + draw(over),
        block_px * draw(st.integers(1, 5)) + draw(over),
    )
    shape = (-(-height // 4) * 4 + 64, -(-width // 4) * 4 + 64, draw(st.sampled_from([1, 3])))
    # Few grey levels in coarse patches, or a pattern that repeats: many places match as well, which shows
    # the order of ties.
    coarse = generator.integers(0, draw(st.sampled_from([3, 200])), (shape[0] // 4, shape[1] // 4, shape[2]))
    period = draw(st.sampled_from([None, 2, 3]))
    if period is not None:
        coarse = np.resize(coarse[:period, :period], (period, period, shape[2]))
        coarse = np.tile(coarse, (shape[0] // 4 // period + 1, shape[1] // 4 // period + 1, 1))
        coarse = coarse[: shape[0] // 4, : shape[1] // 4]
    world = np.repeat(np.repeat(coarse, 4, 0), 4, 1).astype(np.uint8)
    reference = world[32 : 32 + height, 32 : 32 + width]
    frame = np.empty_like(reference)
    half = width // 2
    for columns in (slice(0, half), slice(half, width)):
        dx, dy = generator.integers(-20, 21, 2)
        moved = world[32 + dy : 32 + dy + height, 32 + dx : 32 + dx + width]
        frame[:, columns] = moved[:, columns]
    frame[: height // 3, : width // 3] = generator.integers(0, 256, frame[: height // 3, : width // 3].shape)
    if shape[2] == 1:
        return frame[..., 0].copy(), reference[..., 0].copy(), block_px
    return frame.copy(), reference.copy(), block_px


@settings(max_examples=40, deadline=None)
@given(pair=pairs(), radius_px=st.sampled_from([0, 3, 16]), data=st.data())
def test_the_same_vectors_and_differences(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8], int], radius_px: int, data: st.DataObject
) -> None:
    frame, reference, block_px = pair
    grid = (-(-frame.shape[0] // block_px), -(-frame.shape[1] // block_px), 2)
    predicted = None
    if data.draw(st.booleans()):
        seed = data.draw(st.integers(0, 2**31))
        predicted = np.random.default_rng(seed).integers(-40, 41, grid).astype(np.int16)
    wanted = search_motion(frame, reference, block_px, radius_px, predicted)
    vectors, difference = shim.search_motion(
        torch.from_numpy(frame),
        torch.from_numpy(reference),
        block_px,
        radius_px,
        None if predicted is None else torch.from_numpy(predicted),
    )
    np.testing.assert_array_equal(vectors.numpy(), wanted.vectors)
    np.testing.assert_array_equal(difference.numpy(), wanted.difference)


def test_no_race_within_a_block() -> None:
    generator = torch.Generator().manual_seed(0)
    reference = torch.randint(0, 4, (48, 64, 3), generator=generator, dtype=torch.uint8) * 60
    frame = reference.roll((3, -5), (0, 1)).contiguous()
    results = []
    for seed in (0, -1, 9):
        shim.set_order(seed)
        results.append(shim.search_motion(frame, reference, 16, 8))
    shim.set_order(0)
    for vectors, difference in results[1:]:
        assert torch.equal(vectors, results[0][0])
        assert torch.equal(difference, results[0][1])
    assert results[0][0][1, 1].tolist() == [5, -3]
