"""Global motion: found to the nearest step far beyond the reach of a block search."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.motion.global_motion import estimate_global_motion
from kernels.motion.image_pyramid import build_pyramid
from kernels.motion.search import search_motion
from tests.strategies.images import texture


@settings(max_examples=40, deadline=None)
@given(st.integers(-100, 100), st.integers(-60, 60), st.integers(0, 2**32 - 1), st.booleans())
def test_a_translation_is_found_to_the_nearest_step(dx, dy, seed, colour):
    scene = texture(256 + 128, 320 + 208, np.random.default_rng(seed), 8.0, colour)
    reference = scene[64:320, 104:424].copy()
    frame = scene[64 + dy : 320 + dy, 104 + dx : 424 + dx].copy()  # frame(p) = reference(p + (dx, dy))
    x, y = estimate_global_motion(frame, reference)
    assert (x % 4, y % 4) == (0, 0)
    assert abs(x - dx) <= 4
    assert abs(y - dy) <= 4


def test_a_block_search_continues_where_the_estimate_ends():
    scene = texture(256, 512, np.random.default_rng(1), 6.0, colour=True)
    frame, reference = build_pyramid(scene[:, 70:390]), build_pyramid(scene[:, :320])
    moved = estimate_global_motion(frame, reference)
    assert moved in ((68, 0), (72, 0))
    field = search_motion(frame, reference, predicted=np.full((16, 20, 2), moved, np.int16))
    assert (field.vectors[:, :15] == (70, 0)).all()


def test_an_object_does_not_carry_the_camera_away():
    frame = texture(256, 256, np.random.default_rng(2), 6.0, colour=True)
    reference = frame.copy()
    reference[64:160, 64:160] = frame[64:160, 104:200]
    assert estimate_global_motion(frame, reference) == (0, 0)


def test_no_motion_without_texture_or_reach():
    flat = np.full((128, 128, 3), 50, np.uint8)
    assert estimate_global_motion(flat, flat + np.uint8(9)) == (0, 0)
    image = texture(128, 128, np.random.default_rng(3), 4.0, colour=True)
    assert estimate_global_motion(image, np.roll(image, 40, axis=1), reach_px=0) == (0, 0)
    assert estimate_global_motion(image[:16, :16], image[:16, 16:32]) == (0, 0)  # too small to tell
