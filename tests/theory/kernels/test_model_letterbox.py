"""A letterbox keeps proportions, centres the image and is undone by its own way back."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.models.predictions.letterbox import GREY, Letterbox

SIZES = st.integers(17, 900)


@given(SIZES, SIZES, st.sampled_from([320, 640]), st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_boxes_come_back(height: int, width: int, side: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    box = Letterbox(height, width, side, side)
    corners = np.sort(random.random((5, 2, 2)), axis=1) * [width, height]
    scaled = corners * [box.inner_width_px / width, box.inner_height_px / height]
    in_input = torch.from_numpy((scaled + np.array([box.left_px, box.top_px])).reshape(5, 4))
    np.testing.assert_allclose(box.boxes_to_image(in_input).numpy(), corners.reshape(5, 4), atol=1e-9)


@given(SIZES, SIZES, st.sampled_from([320, 640]))
@settings(max_examples=60, deadline=None)
def test_image_fits_and_is_centred(height: int, width: int, side: int) -> None:
    box = Letterbox(height, width, side, side)
    assert max(box.inner_height_px, box.inner_width_px) == side
    assert 0 <= side - 2 * box.top_px - box.inner_height_px <= 1
    assert 0 <= side - 2 * box.left_px - box.inner_width_px <= 1


def test_davis_frame_in_640() -> None:
    box = Letterbox(480, 854)
    assert (box.inner_height_px, box.inner_width_px, box.top_px, box.left_px) == (360, 640, 140, 0)


def test_bars_are_grey_and_pixels_in_unit_range() -> None:
    image = np.full((60, 120, 3), 255, np.uint8)
    frame = Letterbox(60, 120, 64, 64).apply(image)
    assert frame.shape == (1, 3, 64, 64)
    assert frame.dtype == torch.float32
    assert torch.equal(frame[:, :, :16], torch.full((1, 3, 16, 64), GREY))
    assert torch.equal(frame[:, :, 16:48], torch.ones(1, 3, 32, 64))


def test_image_of_the_input_size_is_only_scaled_to_unit_range() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    frame = Letterbox(32, 64, 32, 64).apply(image)
    np.testing.assert_array_equal(np.rint(frame[0].permute(1, 2, 0).numpy() * 255), image)


def test_mask_of_the_whole_input_is_the_whole_image() -> None:
    box = Letterbox(48, 86, 64, 64)
    assert box.masks_to_image(torch.ones(2, 64, 64, dtype=torch.bool)).all()
    assert box.masks_to_image(torch.ones(2, 64, 64, dtype=torch.bool)).shape == (2, 48, 86)
    assert box.masks_to_image(torch.zeros(0, 64, 64, dtype=torch.bool)).shape == (0, 48, 86)
