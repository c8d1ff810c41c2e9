"""Where pixels land: resizing, letterboxes, repetition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies.video import Numbered, sizes_px, source_shapes, texture
from traces.video.sequence import PAD_GREY, FrameCache, RepeatedVideo, Resizer, resize_geometry


@given(source_shapes, sizes_px, sizes_px)
def test_a_letterbox_keeps_the_whole_source_and_its_aspect_ratio(shape, height_px, width_px):
    placed = resize_geometry(*shape, (height_px, width_px), "letterbox")
    assert placed.box == (0, 0, shape[1], shape[0])
    assert placed.scaled_height_px == height_px or placed.scaled_width_px == width_px
    scale = min(height_px / shape[0], width_px / shape[1])
    # Whole pixels: each side is off by at most half of one, and has at least one.
    assert abs(placed.scaled_height_px - max(1, shape[0] * scale)) <= 0.5 + 1e-9
    assert abs(placed.scaled_width_px - max(1, shape[1] * scale)) <= 0.5 + 1e-9


@given(source_shapes, sizes_px, sizes_px)
def test_a_letterbox_pads_evenly(shape, height_px, width_px):
    placed = resize_geometry(*shape, (height_px, width_px), "letterbox")
    below = height_px - placed.top_px - placed.scaled_height_px
    right = width_px - placed.left_px - placed.scaled_width_px
    assert 0 <= below - placed.top_px <= 1
    assert 0 <= right - placed.left_px <= 1


@given(source_shapes, sizes_px, sizes_px)
def test_a_crop_fills_the_target_with_the_middle_of_the_source(shape, height_px, width_px):
    placed = resize_geometry(*shape, (height_px, width_px), "crop")
    left, top, right, bottom = placed.box
    assert 0 <= left < right <= shape[1]
    assert 0 <= top < bottom <= shape[0]
    assert not placed.padded
    assert (left, right) == (0, shape[1]) or (top, bottom) == (0, shape[0])
    assert abs(left - (shape[1] - right)) <= 1
    assert abs(top - (shape[0] - bottom)) <= 1


def test_854x480_in_640_is_640x360_between_two_grey_bars_of_140():
    placed = resize_geometry(480, 854, 640, "letterbox")
    image = Resizer(placed).image(np.full((480, 854, 3), 200, dtype=np.uint8))
    assert (placed.scaled_height_px, placed.top_px) == (360, 140)
    assert (image[:140] == PAD_GREY).all()
    assert (image[140:500] == 200).all()
    assert (image[500:] == PAD_GREY).all()


def test_a_source_of_the_target_size_comes_through_unchanged():
    pixels = texture(3, 64, 64)
    for fit in ("letterbox", "stretch", "crop"):
        assert np.array_equal(Resizer(resize_geometry(64, 64, 64, fit)).image(pixels), pixels)


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((128, 128, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    halved = Resizer(resize_geometry(128, 128, 64, "stretch")).image(stripes)
    assert abs(float(halved[:, 8:-8].mean()) - 127.5) < 3


@given(source_shapes, st.sampled_from(["letterbox", "stretch", "crop"]))
def test_masks_keep_their_ids(shape, fit):
    ids = np.random.default_rng(0).choice(np.array([0, 3, 7], dtype=np.uint8), shape)
    resized = Resizer(resize_geometry(*shape, 96, fit), void=11).mask(ids)
    assert resized.shape == (96, 96)
    assert set(np.unique(resized)) <= {0, 3, 7, 11}


def test_a_mask_and_its_image_keep_their_borders_together():
    ids = np.zeros((90, 160), dtype=np.uint8)
    ids[:, 80:] = 1
    image = np.repeat((ids * 255)[..., None], 3, axis=2)
    for fit in ("letterbox", "stretch", "crop"):
        resizer = Resizer(resize_geometry(90, 160, 64, fit))
        bright, inside = resizer.image(image)[32, :, 0] > 127, resizer.mask(ids)[32] == 1
        assert abs(int(bright.argmax()) - int(inside.argmax())) <= 1


@given(st.integers(1, 12), st.integers(1, 60))
def test_pingpong_plays_every_frame_and_never_jumps(count, length):
    shown = [RepeatedVideo(Numbered(count), length).source_index(i) for i in range(length)]
    assert shown[: min(count, length)] == list(range(min(count, length)))
    steps = {abs(b - a) for a, b in pairwise(shown)}
    assert steps <= ({1} if count > 1 else {0})


def test_pingpong_loop_and_stop_on_four_frames():
    def shown(length, mode):
        video = RepeatedVideo(Numbered(4), length, mode)
        return [int(video.image(i)[0, 0, 0]) for i in range(length)]

    assert shown(10, "pingpong") == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert shown(6, "loop") == [0, 1, 2, 3, 0, 1]
    assert shown(3, "stop") == [0, 1, 2]


def test_repetition_shows_the_source_frames_own_mask_and_vectors():
    video = RepeatedVideo(Numbered(4), 10)
    assert int(video.mask(5)[0, 0]) == 1
    assert int(video.vectors(5, 3)[0, 0, 0]) == 3 - 1


@pytest.mark.parametrize("index", [-1, 4])
def test_a_frame_outside_the_video_is_an_index_error(index):
    with pytest.raises(IndexError, match=rf"frame {index} does not exist; it has frames 0 to 3"):
        RepeatedVideo(Numbered(4), 4).image(index)


@given(st.lists(st.integers(0, 20), max_size=60))
def test_a_cache_stays_in_its_budget_and_returns_what_was_made(wanted):
    cache = FrameCache(budget_bytes=5 * 100)
    for index in wanted:
        assert int(cache.get(index, lambda i: np.full(100, i, dtype=np.uint8))[0]) == index
        assert cache.held_bytes <= 500


def test_a_frame_larger_than_the_budget_is_still_served():
    cache = FrameCache(budget_bytes=10)
    assert cache.get(0, lambda i: np.zeros(100, dtype=np.uint8)).size == 100
