"""A frame depends on the video and its index alone."""

from __future__ import annotations

import numpy as np
import pytest

from tests.strategies.video import write_clip
from traces.video.scenes.scene import Scene
from traces.video.video_file import VideoFile


def test_the_order_of_access_changes_nothing():
    forward, backward = Scene("walk", 4, 20, 160), Scene("walk", 4, 20, 160, cache_bytes=0)
    images = [forward.image(i) for i in range(20)]
    for i in (19, 3, 3, 0, 12):
        assert np.array_equal(backward.image(i), images[i])
        assert np.array_equal(backward.mask(i), forward.mask(i))


def test_a_longer_scene_begins_like_a_shorter_one():
    short, long = Scene("drive", 4, 10, 160), Scene("drive", 4, 500, 160)
    for i in (0, 9):
        assert np.array_equal(short.image(i), long.image(i))
    assert np.array_equal(short.vectors(9, 2), long.vectors(9, 2))


def test_two_seeds_give_two_streets_two_paths_and_two_noises():
    a, b = (Scene("walk", seed, 30, 160, noise_sigma=0.0) for seed in (0, 1))
    assert np.mean(a.image(0) != b.image(0)) > 0.5
    assert not np.array_equal(a.vectors(29, 0), b.vectors(29, 0))


def test_noise_differs_from_frame_to_frame():
    scenes = [Scene("calm", 0, 3, 160, noise_sigma=sigma) for sigma in (0.0, 2.0)]
    first, second = (scenes[1].image(i).astype(int) - scenes[0].image(i) for i in (0, 1))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("shape", [(96, 160), (160, 96)])
def test_a_scene_has_any_shape(shape):
    scene = Scene("walk", 0, 4, shape)
    assert scene.image(3).shape == (*shape, 3)
    assert scene.mask(3).shape == shape
    assert scene.vectors(3, 0).shape == (*shape, 2)


def test_arrays_are_read_only():
    scene = Scene("calm", 0, 2, 160)
    for array in (scene.image(0), scene.mask(0)):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_a_clip_out_of_order_equals_the_clip_in_order(tmp_path, name):
    path = write_clip(tmp_path / name)
    whole, tight = VideoFile(path, 96), VideoFile(path, 96, cache_bytes=3 * 96 * 96 * 3)
    images = [whole.image(i) for i in range(whole.frame_count)]
    assert len({image.tobytes() for image in images}) == 30
    for i in (17, 18, 5, 5, 29, 0, 16, 15, 14, 8, 7):
        assert np.array_equal(tight.image(i), images[i])
    tight.close()
    assert np.array_equal(tight.image(20), images[20])
