"""MotionDeltaCNN where the camera's motion is known: what it aligns costs nothing."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.codecs.result_codec import decode_result, encode_boxes, encode_classes, encode_points
from kernels.motion.homography import translation
from sim.components.message_sizes import RESULT_BYTES
from sim.systems.deltacnn import DeltaCnn
from sim.systems.motion_deltacnn import MotionDeltaCnn
from sim.systems.motion_deltacnn.alignment import read_back
from sim.systems.motion_deltacnn.canvas import shifted
from tests.strategies.images import texture
from tests.strategies.systems import DELAY_S, DOWNLINK_BPS, UPLINK_BPS, run

SIDE_PX, FRAMES = 160, 16
BLOCKS = (SIDE_PX // 16) ** 2
EMPTY_BYTES = 41  # head and message of no blocks
ON_CLOUD = MotionDeltaCnn.Options(placement="cloud", codec="png")


def pan(dx, dy, frames=FRAMES, seed=3, noise=0.0):
    """A camera that moves by (dx, dy) pixels a frame over a textured scene."""
    rng = np.random.default_rng(seed)
    reach_x, reach_y = abs(dx) * frames, abs(dy) * frames
    scene = texture(SIDE_PX + reach_y, SIDE_PX + reach_x, rng, 2.0, True).astype(float)
    x0, y0 = (reach_x if dx < 0 else 0), (reach_y if dy < 0 else 0)
    images = []
    for i in range(frames):
        x, y = x0 + dx * i, y0 + dy * i
        seen = scene[y : y + SIDE_PX, x : x + SIDE_PX] + rng.normal(0, noise, (SIDE_PX, SIDE_PX, 3))
        images.append(np.clip(np.rint(seen), 0, 255).astype(np.uint8))
    return images


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_a_static_scene_is_sent_once(noise):
    rows = run((MotionDeltaCnn, ON_CLOUD), pan(0, 0, noise=noise)).rows
    assert rows["blocks_active"].tolist() == [BLOCKS] + [0] * (FRAMES - 1)
    assert set(rows["uplink_bytes"][1:].tolist()) == {EMPTY_BYTES}


@pytest.mark.parametrize(("dx", "dy"), [(5, 0), (-3, 4), (7, -6)])
def test_a_pan_costs_what_it_uncovers(dx, dy):
    """The canvas steps after the camera by 32 px; the strips that it uncovers are all that is computed."""
    frames = pan(dx, dy)
    rows = run((MotionDeltaCnn, ON_CLOUD), frames).rows
    still = run((DeltaCnn, DeltaCnn.Options(placement="cloud", codec="png")), frames).rows
    uncovered = SIDE_PX * (abs(dx) + abs(dy)) / 16**2  # blocks a frame
    # A block at a frame's edge may be sent more than once, as the camera goes on to show the rest of it.
    assert 0 < rows["blocks_active"][1:].mean() <= 4 * uncovered
    assert rows["blocks_active"][1:].mean() < 0.3 * still["blocks_active"][1:].mean()
    assert rows["uplink_bytes"][1:].sum() < 0.3 * still["uplink_bytes"][1:].sum()


def test_what_a_result_rests_on_is_the_frame_but_for_the_strip_beside_the_canvas():
    """Half a step of 32 px, on either side, at most."""
    frames, seen = pan(5, 0), []

    class Watched(MotionDeltaCnn):
        __slots__ = ()

        def process(self, frame, world):
            outcome = yield from super().process(frame, world)
            rests_on = outcome.rests_on() if callable(outcome.rests_on) else outcome.rests_on
            seen.append((frame.image, rests_on))
            return outcome

    run((Watched, ON_CLOUD), frames)
    assert len(seen) == FRAMES
    for image, rests_on in seen:
        apart = np.abs(image.astype(int) - rests_on)[:, 16:-16]
        assert apart.max() <= 0.15 * 255  # ε


def test_unrelated_frames_are_each_sent_whole():
    frames = [texture(SIDE_PX, SIDE_PX, np.random.default_rng(seed), 2.0, True) for seed in range(5)]
    rows = run((MotionDeltaCnn, ON_CLOUD), frames).rows
    assert rows["blocks_active"].tolist() == [BLOCKS] * 5


def test_its_latency_is_a_sum_that_can_be_written_down():
    options = MotionDeltaCnn.Options(placement="cloud", codec="png", alignment_s=0.004, difference_s=0.003)
    rows = run((MotionDeltaCnn, options), pan(0, 0, 2)).rows
    up_s = 8 * rows["uplink_bytes"] / UPLINK_BPS
    around_s = 2 * DELAY_S + 8 * RESULT_BYTES / DOWNLINK_BPS
    expected = 0.007 + up_s + np.array([0.020, 0.002]) + around_s
    assert rows["completed_s"] - rows["captured_s"] == pytest.approx(expected)


def test_the_canvas_moves_as_a_whole_and_says_what_it_uncovers():
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    moved, new = shifted(image, (2, -1))
    assert np.array_equal(moved[1:, :5], image[:4, 2:])
    assert new[0].all()
    assert new[:, 5:].all()
    assert not new[1:, :5].any()
    assert not moved[new].any()


def test_results_are_read_back_along_the_homography():
    classes = np.zeros((40, 40), np.uint8)
    classes[10:20, 12:30] = 3
    back = decode_result(read_back(encode_classes(classes), translation(4, -2)))
    expected = np.zeros_like(classes)
    expected[12:22, 8:26] = 3  # p in the frame stands at p + (4, −2) on the canvas
    assert np.array_equal(back.classes, expected)
    boxes = encode_boxes(np.array([[12.0, 10.0, 30.0, 20.0]]), np.array([5]), 40, 40)
    assert decode_result(read_back(boxes, translation(4, -2))).boxes.tolist() == [[8.0, 12.0, 26.0, 22.0]]
    points = encode_points(np.array([[12.0, 10.0, 0.5]]), 40, 40)
    assert decode_result(read_back(points, translation(4, -2))).points.tolist() == [[8.0, 12.0, 0.5]]
    assert read_back(None, translation(4, -2)) is None
