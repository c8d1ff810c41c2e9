"""A scene's ground truth, against its own pixels."""

from __future__ import annotations

import numpy as np
import pytest

from traces.video.scenes.scene import PRESETS, Scene


def warped(scene: Scene, index: int, reference: int):
    """The reference moved along the vectors, and where each pixel's surface is visible in both frames."""
    vectors = scene.vectors(index, reference).astype(np.int64)
    y, x = np.mgrid[0 : scene.height_px, 0 : scene.width_px]
    to_y, to_x = y + vectors[..., 1], x + vectors[..., 0]
    inside = (to_y >= 0) & (to_y < scene.height_px) & (to_x >= 0) & (to_x < scene.width_px)
    to_y, to_x = np.where(inside, to_y, 0), np.where(inside, to_x, 0)
    same = inside & (scene.mask(reference)[to_y, to_x] == scene.mask(index))
    return scene.image(reference)[to_y, to_x], same


@pytest.fixture(scope="module", params=sorted(PRESETS))
def exact_scene(request) -> Scene:
    return Scene(request.param, 7, 60, 320, noise_sigma=0.0, whole_px=True, exposure=False)


@pytest.mark.parametrize(("index", "reference"), [(1, 0), (40, 39), (40, 30), (59, 20), (10, 45)])
def test_the_reference_moved_along_the_vectors_is_the_frame_to_the_last_bit(exact_scene, index, reference):
    moved, visible = warped(exact_scene, index, reference)
    assert visible.mean() > 0.1
    assert np.array_equal(moved[visible], exact_scene.image(index)[visible])


def test_a_frame_against_itself_does_not_move(exact_scene):
    assert not exact_scene.vectors(5, 5).any()


def test_objects_cover_each_other_and_move_against_the_street(exact_scene):
    ids = np.unique(np.concatenate([exact_scene.mask(i).ravel() for i in range(0, 60, 6)]))
    assert ids.size > 3
    index = next(i for i in range(20, 60) if np.unique(exact_scene.mask(i)).size > 2)
    vectors, mask = exact_scene.vectors(index, index - 20), exact_scene.mask(index)
    motions = {tuple(np.median(vectors[mask == k], axis=0)) for k in np.unique(mask)}
    assert len(motions) > 1


def test_sub_pixel_vectors_are_the_rounded_displacement_and_fit_better_than_their_neighbours():
    scene = Scene("walk", 1, 60, 320, noise_sigma=0.0, exposure=False)
    moved, visible = warped(scene, 30, 29)
    exact = scene.displacement(30, 29)
    assert np.array_equal(scene.vectors(30, 29), np.rint(exact).astype(np.int16))
    assert np.any(np.abs(exact - np.rint(exact)) > 0.1)
    frame = scene.image(30).astype(int)
    error = np.abs(moved.astype(int) - frame)[visible].mean()
    shifted = np.abs(np.roll(moved, 2, axis=1).astype(int) - frame)[visible].mean()
    assert error < 0.5 * shifted


def test_noise_has_the_deviation_that_was_asked_for():
    quiet = Scene("calm", 2, 3, 320, noise_sigma=0.0).image(1).astype(int)
    noisy = Scene("calm", 2, 3, 320, noise_sigma=3.0).image(1).astype(int)
    inner = (quiet > 20) & (quiet < 235)  # clipping takes the tails elsewhere
    noise = (noisy - quiet)[inner]
    # Rounding adds 1/12 to the variance; n > 10^5 samples pin the deviation to about 0.5 %.
    assert noise.size > 100_000
    assert np.std(noise) == pytest.approx(np.sqrt(9 + 1 / 12), rel=0.01)
    assert abs(noise.mean()) < 0.05


def test_presets_differ_in_motion_in_the_order_of_their_names():
    def median_px(preset: str) -> float:
        scene = Scene(preset, 5, 120, 320)
        steps = [np.linalg.norm(scene.displacement(i, i - 1), axis=2) for i in range(30, 120, 15)]
        return float(np.median(steps)) * 640 / scene.height_px

    calm, walk, drive = map(median_px, ("calm", "walk", "drive"))
    assert calm < 1.5
    assert 3 < walk < 12
    assert walk < drive < 25


def test_the_default_moves_as_the_real_sequences_do():
    scene = Scene()
    steps = [np.median(np.linalg.norm(scene.displacement(i, i - 1), axis=2)) for i in range(10, 300, 10)]
    assert 3 <= np.median(steps) <= 12
