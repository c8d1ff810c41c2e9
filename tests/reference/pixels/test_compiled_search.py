"""The C++ search finds what numba's finds, to the last vector and bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.motion import compiled_search, image_pyramid, search
from profiler.kit.carried import block_pixels as by_numpy

pytestmark = pytest.mark.skipif(
    compiled_search.unavailable() is not None, reason=str(compiled_search.unavailable())
)


@given(
    size=st.tuples(st.integers(16, 90), st.integers(16, 90)),
    block_px=st.sampled_from([8, 16, 24, 32]),
    colour=st.booleans(),
    levels=st.sampled_from([2, 4, 256]),  # few levels make many ties
    radius_px=st.integers(0, 24),
    predicted=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_vectors_and_differences_are_the_same(
    size: tuple[int, int],
    block_px: int,
    colour: bool,
    levels: int,
    radius_px: int,
    predicted: bool,
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    height, width = size
    block_px = min(block_px, min(size) // 8 * 8)
    world = generator.integers(0, levels, (height + 40, width + 40, 3), dtype=np.uint8)
    world = world if colour else np.ascontiguousarray(world[..., 0])
    down, across = generator.integers(0, 40, 2)
    frame = world[20 : 20 + height, 20 : 20 + width]
    reference = world[down : down + height, across : across + width]
    grid = -(-height // block_px), -(-width // block_px)
    centres = generator.integers(-60, 60, (*grid, 2)).astype(np.int16) if predicted else None
    wanted = search.search_motion(frame, reference, block_px, radius_px, centres)
    found = compiled_search.search_motion(frame, reference, block_px, radius_px, centres)
    assert np.array_equal(found.vectors, wanted.vectors)
    assert np.array_equal(found.difference, wanted.difference)


@given(height=st.integers(8, 70), width=st.integers(8, 70), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_the_levels_of_an_image_are_the_same(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    wanted, found = image_pyramid.build_pyramid(image), compiled_search.build_pyramid(image)
    assert np.array_equal(found.grey, wanted.grey)
    assert np.array_equal(found.quarter, wanted.quarter)
    assert found.shape == wanted.shape


def test_bad_arguments_are_refused_alike() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    cases = [
        (image.astype(np.float32), image, 16, 16),
        (image, image[:16], 16, 16),
        (image, image, 12, 16),
        (image, image, 64, 16),
        (image, image, 16, -1),
        (image[:4], image[:4], 16, 16),
    ]
    for case in cases:
        messages = []
        for module in (search, compiled_search):
            with pytest.raises((TypeError, ValueError)) as error:
                module.search_motion(*case)
            messages.append((type(error.value), str(error.value)))
        assert messages[0] == messages[1]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_numpy_gathers_and_pastes_the_same_blocks(data: st.DataObject) -> None:
    from kernels.codecs import block_pixels

    rows, columns = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    shape = (16 * rows, 16 * columns, *data.draw(st.sampled_from([(), (3,)])))
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    indices = np.array(
        data.draw(st.permutations(range(rows * columns)))[: data.draw(st.integers(0, 25))], int
    )
    blocks = by_numpy.gather_blocks(image, indices)
    assert np.array_equal(blocks, block_pixels.gather_blocks(image, indices))
    assert blocks.flags.c_contiguous
    pasted = [
        module.paste_blocks(np.zeros(shape, np.uint8), indices, blocks) for module in (by_numpy, block_pixels)
    ]
    assert np.array_equal(*pasted)
