"""Moving images and block values, and the miss classifier, against a pixel-by-pixel account."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.motion.classification import active_blocks
from kernels.motion.field import MotionField
from kernels.motion.warp import warp_blocks_map, warp_image
from tests.strategies.images import images, vector_fields


def places(vectors, block_px):
    """Upper left pixel that each block comes from, inside the image."""
    rows, columns = vectors.shape[:2]
    for row, column in np.ndindex(rows, columns):
        x = min(max(column * block_px + int(vectors[row, column, 0]), 0), (columns - 1) * block_px)
        y = min(max(row * block_px + int(vectors[row, column, 1]), 0), (rows - 1) * block_px)
        yield row, column, y, x


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([5, 8, 16, 20]), st.booleans())
def test_each_block_is_the_place_that_its_vector_points_to(data, block_px, colour):
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    (image,) = data.draw(images(rows * block_px, columns * block_px, colour, count=1))
    vectors = data.draw(vector_fields(rows, columns, 60))
    out = np.full_like(image, 99)

    warped = warp_image(image, vectors, block_px, out)

    assert warped is out
    for row, column, y, x in places(vectors, block_px):
        block = warped[row * block_px : (row + 1) * block_px, column * block_px : (column + 1) * block_px]
        np.testing.assert_array_equal(block, image[y : y + block_px, x : x + block_px])
    np.testing.assert_array_equal(warp_image(image, vectors, block_px), out)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([8, 16]), st.sampled_from([np.bool_, np.int32]))
def test_a_moved_block_has_the_largest_value_of_those_it_overlaps(data, block_px, dtype):
    rows, columns = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    values = generator.integers(0, 2 if dtype is np.bool_ else 100, (rows, columns)).astype(dtype)
    vectors = data.draw(vector_fields(rows, columns, 40))
    pixels = values.repeat(block_px, axis=0).repeat(block_px, axis=1)

    moved = warp_blocks_map(values, vectors, block_px)

    assert moved.dtype == dtype
    for row, column, y, x in places(vectors, block_px):
        assert moved[row, column] == pixels[y : y + block_px, x : x + block_px].max()


@pytest.mark.parametrize("read_only", [False, True])
def test_sources_are_left_alone(read_only):
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    before = image.copy()
    image.flags.writeable = not read_only
    warped = warp_image(image, np.full((2, 2, 2), 7, np.int16))
    assert not np.shares_memory(warped, image)
    np.testing.assert_array_equal(image, before)


def test_active_blocks_come_largest_difference_first_and_ties_in_raster_order():
    difference = np.array([[0.5, 0.0249, 0.1], [0.025, 0.1, 0.9]], np.float32)
    field = MotionField(np.zeros((2, 3, 2), np.int16), difference)
    assert active_blocks(field, 0.025).tolist() == [5, 0, 2, 4, 3]
    assert active_blocks(field, 0.0).tolist() == [5, 0, 2, 4, 3, 1]
    assert active_blocks(field, 1.0).tolist() == []
    assert active_blocks(field).dtype == np.int32
