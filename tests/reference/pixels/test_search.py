"""Motion search against an exhaustive search and against the definition of the difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.motion.field import predict_vectors
from kernels.motion.image_pyramid import build_pyramid
from kernels.motion.search import block_difference, search_motion
from tests.strategies.images import images, texture, vector_fields


def definition(frame, reference, vectors, block_px):
    """D as the contract words it, block by block."""
    difference = np.empty(vectors.shape[:2], np.float64)
    for row, column in np.ndindex(difference.shape):
        # The last ones end at the image's edge.
        y = min(row * block_px, frame.shape[0] - block_px)
        x = min(column * block_px, frame.shape[1] - block_px)
        dx, dy = vectors[row, column]
        block = frame[y : y + block_px, x : x + block_px] / 255
        place = reference[y + dy : y + dy + block_px, x + dx : x + dx + block_px] / 255
        difference[row, column] = np.abs(block - place).mean()
    return difference


def exhaustive(frame, reference, block_px, radius_px):
    """The smallest difference of every place within the radius, as grey images."""
    height, width = frame.shape
    best = np.full((height // block_px, width // block_px), np.inf)
    for dy in range(-radius_px, radius_px + 1):
        for dx in range(-radius_px, radius_px + 1):
            moved = np.full(frame.shape, np.nan)
            rows = slice(max(0, -dy), min(height, height - dy))
            columns = slice(max(0, -dx), min(width, width - dx))
            moved[rows, columns] = reference[
                rows.start + dy : rows.stop + dy, columns.start + dx : columns.stop + dx
            ]
            error = np.abs(frame - moved).reshape(best.shape[0], block_px, best.shape[1], block_px)
            best = np.fmin(best, error.mean(axis=(1, 3)) / 255)
    return best


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([8, 16, 24, 32]), st.sampled_from([0, 1, 5, 16]), st.booleans())
def test_vectors_stay_inside_and_the_difference_is_the_definition(data, block_px, radius_px, colour):
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    short = st.just(0) | st.integers(0, block_px - 1)  # pixels less than whole blocks
    height = max(rows * block_px - data.draw(short), block_px)
    width = max(columns * block_px - data.draw(short), block_px)
    frame, reference = data.draw(images(height, width, colour, count=2))
    predicted = data.draw(st.none() | vector_fields(rows, columns, 40))

    vectors, difference = search_motion(frame, reference, block_px, radius_px, predicted)

    assert vectors.dtype == np.int16
    assert difference.dtype == np.float32
    assert vectors.shape == (rows, columns, 2)
    y, x = np.mgrid[:rows, :columns] * block_px
    y, x = np.minimum(y, height - block_px), np.minimum(x, width - block_px)
    assert (x + vectors[..., 0]).min() >= 0
    assert (y + vectors[..., 1]).min() >= 0
    assert (x + vectors[..., 0]).max() <= width - block_px
    assert (y + vectors[..., 1]).max() <= height - block_px
    np.testing.assert_allclose(difference, definition(frame, reference, vectors, block_px), atol=1e-7)
    np.testing.assert_array_equal(difference, block_difference(frame, reference, vectors, block_px))

    zero = np.zeros_like(vectors)
    assert (difference <= block_difference(frame, reference, zero, block_px)).all()
    centre = zero if predicted is None else predicted
    assert (difference <= block_difference(frame, reference, centre, block_px)).all()
    if predicted is None:
        assert np.abs(vectors).max() <= radius_px


@settings(max_examples=40, deadline=None)
@given(
    st.integers(-16, 16),
    st.integers(-16, 16),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 1.0, 3.0]),  # white noise loses nearly everything in the quarter image
    st.booleans(),
)
def test_a_translation_within_the_radius_is_found_exactly(dx, dy, seed, blur_px, colour):
    scene = texture(128 + 32, 160 + 32, np.random.default_rng(seed), blur_px, colour)
    reference = scene[16:-16, 16:-16]
    frame = scene[16 + dy : 144 + dy, 16 + dx : 176 + dx]  # frame(p) = reference(p + (dx, dy))

    vectors, difference = search_motion(np.ascontiguousarray(frame), np.ascontiguousarray(reference))

    assert (vectors[1:-1, 1:-1] == (dx, dy)).all()
    assert not difference[1:-1, 1:-1].any()


def test_nearly_as_good_as_every_place_of_the_window():
    generator = np.random.default_rng(5)
    scene = texture(224, 224, generator, 2.0, colour=False)
    reference = scene[32:192, 32:192]
    frame = scene[27:187, 41:201].copy()
    frame[48:112, 48:112] = scene[100:164, 60:124]  # an object that moves on its own
    frame = np.clip(frame + np.rint(generator.normal(0, 2, frame.shape)), 0, 255).astype(np.uint8)

    field = search_motion(frame, np.ascontiguousarray(reference))

    best = exhaustive(frame.astype(float), reference.astype(float), 16, 16)
    assert (field.difference >= best - 1e-6).all()
    assert (field.difference <= best + 1e-6).mean() > 0.9
    assert field.difference.mean() < 1.05 * best.mean()


@pytest.mark.parametrize(("height", "width"), [(270, 480), (101, 150), (16, 19)])
def test_a_frame_of_any_size_is_covered(height, width):
    """A pan of a scene is found in every block that was in view before, those at the edges included."""
    world = texture(height + 40, width + 40, np.random.default_rng(4), 3.0, False)
    reference, frame = world[20 : 20 + height, 20 : 20 + width], world[16 : 16 + height, 27 : 27 + width]
    field = search_motion(np.ascontiguousarray(frame), np.ascontiguousarray(reference))
    assert field.vectors.shape == (-(-height // 16), -(-width // 16), 2)
    y = np.minimum(np.arange(field.vectors.shape[0]) * 16, height - 16)
    x = np.minimum(np.arange(field.vectors.shape[1]) * 16, width - 16)
    seen = (y[:, None] >= 4) & (x[None, :] + 7 <= width - 16)
    assert (field.vectors[seen] == (7, -4)).all()
    assert (field.difference[seen] == 0).all()


def test_a_flat_image_has_zero_vectors():
    flat = np.full((64, 96, 3), 77, np.uint8)
    vectors, difference = search_motion(flat, flat + np.uint8(3))
    assert not vectors.any()
    np.testing.assert_allclose(difference, 3 / 255, rtol=1e-6)


def test_prepared_images_give_the_same_field():
    frame = texture(64, 64, np.random.default_rng(1), 1.0, colour=True)
    reference = np.roll(frame, 3, axis=1)
    plain = search_motion(frame, reference)
    prepared = search_motion(build_pyramid(frame), build_pyramid(reference))
    np.testing.assert_array_equal(plain.vectors, prepared.vectors)
    np.testing.assert_array_equal(plain.difference, prepared.difference)


def test_arrays_that_are_not_contiguous_give_the_same_field():
    scene = texture(64, 80, np.random.default_rng(2), 1.0, colour=True)
    turned = search_motion(scene[::-1, 8:72], scene[::-1, 10:74])
    copied = search_motion(scene[::-1, 8:72].copy(), scene[::-1, 10:74].copy())
    np.testing.assert_array_equal(turned.vectors, copied.vectors)


def test_a_prediction_reaches_beyond_the_radius():
    scene = texture(96, 256, np.random.default_rng(3), 2.0, colour=False)
    frame, reference = scene[:, 60:220].copy(), scene[:, :160].copy()  # 60 px apart
    lost = search_motion(frame, reference)
    found = search_motion(frame, reference, predicted=np.full((6, 10, 2), (55, 0), np.int16))
    assert not (lost.vectors[..., 0] == 60).any()
    assert (found.vectors[1:-1, :6] == (60, 0)).all()


def test_predicted_vectors_follow_a_pan_of_many_frames():
    scene = texture(128, 400, np.random.default_rng(4), 2.0, colour=False)
    reference, predicted = build_pyramid(scene[:, :192]), None
    for age in range(1, 9):
        frame = scene[:, 11 * age : 11 * age + 192]
        field = search_motion(frame, reference, predicted=predicted)
        inside = (192 - 11 * age) // 16
        assert (field.vectors[:, :inside] == (11 * age, 0)).mean() > 0.95
        predicted = predict_vectors(field.vectors, age)


def test_predicted_vectors_move_with_the_object():
    previous = np.zeros((4, 8, 2), np.int16)
    previous[1, 3:7] = (-32, 0)  # two frames, a block to the right in each
    predicted = predict_vectors(previous, age_frames=2)
    assert (
        predicted[1].tolist() == [[0, 0]] * 3 + [[-48, 0]] * 5
    )  # it enters block 7; block 3 has no better guess
    assert not predicted[[0, 2, 3]].any()
    two_ahead = predict_vectors(previous, age_frames=2, ahead_frames=2)
    assert two_ahead[1, 5:].tolist() == [[-64, 0]] * 3
    np.testing.assert_array_equal(predict_vectors(previous), previous)


@pytest.mark.parametrize("size_px", [64, 128])
def test_the_same_images_always_give_the_same_bytes(size_px):
    frame, reference = (texture(size_px, size_px, np.random.default_rng(i), 0.0, True) for i in (1, 2))
    fields = [search_motion(frame, reference) for _ in range(5)]
    assert len({f.vectors.tobytes() + f.difference.tobytes() for f in fields}) == 1
