"""Homographies against maps that are known, and images moved along them against plain indexing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.motion.homography import (
    fit_homography,
    map_points,
    sample_image,
    sample_labels,
    translation,
)
from tests.strategies.images import texture

GRID = np.stack(np.meshgrid(np.arange(20) * 16 + 7.5, np.arange(15) * 16 + 7.5), axis=-1).reshape(-1, 2)
CAMERA = st.tuples(
    st.floats(-0.1, 0.1), st.floats(0.85, 1.2), st.floats(-20, 20), st.floats(-20, 20), st.floats(-1e-4, 1e-4)
)


def camera(turn, zoom, dx, dy, tilt):
    return np.array(
        [
            [zoom * np.cos(turn), -np.sin(turn), dx],
            [np.sin(turn), zoom * np.cos(turn), dy],
            [tilt, -tilt, 1.0],
        ]
    )


@given(motion=CAMERA, seed=st.integers(0, 5))
def test_whole_vectors_of_which_two_in_five_are_wrong_give_the_map_back(motion, seed):
    """Rounding puts each vector off by up to half a pixel; the fit averages that away."""
    matrix, rng = camera(*motion), np.random.default_rng(seed)
    targets = np.rint(map_points(matrix, GRID) - GRID) + GRID
    wrong = rng.random(len(GRID)) < 0.4
    targets[wrong] += rng.uniform(5, 30, (np.count_nonzero(wrong), 2)) * rng.choice([-1, 1], 2)
    fit = fit_homography(GRID, targets, rng)
    assert fit is not None
    assert np.abs(map_points(fit.matrix, GRID) - map_points(matrix, GRID)).max() < 1.0
    assert fit.inliers[~wrong].mean() > 0.98
    assert fit.inliers[wrong].mean() < 0.1


def test_four_exact_pairs_determine_it():
    matrix = camera(0.05, 1.1, 3.0, -2.0, 5e-5)
    corners = np.array([[0.0, 0.0], [300.0, 0.0], [300.0, 200.0], [0.0, 200.0]])
    fit = fit_homography(corners, map_points(matrix, corners), np.random.default_rng(0))
    assert fit is not None
    assert fit.matrix == pytest.approx(matrix, abs=1e-9)


@pytest.mark.parametrize("points", [GRID[:3], GRID[:20]], ids=["three points", "a line"])
def test_what_determines_no_map_gives_none(points):
    assert fit_homography(points, points, np.random.default_rng(0)) is None


def test_the_same_state_of_the_generator_gives_the_same_map():
    targets = GRID + np.random.default_rng(1).integers(-9, 9, GRID.shape)
    first, second = (fit_homography(GRID, targets, np.random.default_rng(7)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.matrix.tobytes() == second.matrix.tobytes()


@given(dx=st.integers(-40, 40), dy=st.integers(-40, 40))
def test_a_whole_translation_copies_pixels(dx, dy):
    image = texture(32, 48, np.random.default_rng(2), 1.0, True)
    y, x = np.mgrid[0:32, 0:48]
    expected = image[np.clip(y + dy, 0, 31), np.clip(x + dx, 0, 47)]
    out, inside = sample_image(image, translation(dx, dy))
    assert np.array_equal(out, expected)
    assert np.array_equal(inside, (y + dy >= 0) & (y + dy < 32) & (x + dx >= 0) & (x + dx < 48))
    assert np.array_equal(sample_labels(image[..., 0], translation(dx, dy)), expected[..., 0])


def test_between_pixels_it_is_bilinear():
    image = np.zeros((4, 4, 1), np.uint8)
    image[1, 1:3, 0] = 100, 200
    out, _ = sample_image(image, translation(0.25, 0.5))
    assert out[1, 1, 0] == round(0.5 * (0.75 * 100 + 0.25 * 200) + 1e-9)
    assert sample_labels(image[..., 0], translation(0.25, 0.0))[1, 1] == 100
    assert sample_labels(image[..., 0], translation(0.75, 0.0))[1, 1] == 200


@given(motion=CAMERA)
def test_there_and_back_is_where_it_began(motion):
    matrix = camera(*motion)
    back = map_points(np.linalg.inv(matrix), map_points(matrix, GRID))
    assert back == pytest.approx(GRID, abs=1e-6)


def test_points_behind_the_camera_go_nowhere():
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-0.01, 0.0, 1.0]])
    assert np.isnan(map_points(matrix, np.array([[150.0, 10.0]]))).all()
