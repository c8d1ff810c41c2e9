"""What is sent is where the detector finds something, and what that leaves behind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.codecs.block_payload import encode_blocks
from sim.components.message_sizes import RESULT_BYTES
from sim.systems.roi import Roi
from sim.systems.roi.regions import GREY, blocks_of
from sim.world.frame import FrameGeometry
from tests.strategies.images import texture
from tests.strategies.systems import DELAY_S, DOWNLINK_BPS, UPLINK_BPS, KnownRegions, run

GEOMETRY = FrameGeometry(64, 64)
BOX, ELSEWHERE = (17.0, 1.0, 30.0, 15.0), (40.0, 40.0, 60.0, 60.0)  # one block; four
ONE, FOUR = [1], [10, 11, 14, 15]


def pictures(count):
    return [texture(64, 64, np.random.default_rng(seed), 2.0, True) for seed in range(count)]


def rests_on(options, boxes, frames):
    """The rows, and what each result rests on."""
    seen = []

    class Watched(Roi):
        __slots__ = ()

        def process(self, frame, world):
            outcome = yield from super().process(frame, world)
            seen.append(outcome.rests_on)
            return outcome

    return run((Watched, options), frames, finder=KnownRegions(boxes)).rows, seen


def pasted(below, frame, blocks):
    image = below.copy()
    for block in blocks:
        y, x = 16 * (block // 4), 16 * (block % 4)
        image[y : y + 16, x : x + 16] = frame[y : y + 16, x : x + 16]
    return image


def test_with_a_grey_background_it_sends_the_boxes_blocks_and_nothing_else():
    frames = pictures(3)
    options = Roi.Options(background="grey", margin_px=0.0, codec="png")
    rows, seen = rests_on(options, [[BOX], [BOX, ELSEWHERE], []], frames)
    blocks = [ONE, ONE + FOUR, []]
    assert rows["blocks_active"].tolist() == [1, 5, 0]
    grey = np.full((64, 64, 3), GREY, np.uint8)
    for frame, chosen, size, image in zip(frames, blocks, rows["uplink_bytes"], seen, strict=True):
        from kernels.codecs.block_codecs import block_codec

        assert size == len(encode_blocks(frame, np.array(chosen, int), None, block_codec("png")))
        assert np.array_equal(image, pasted(grey, frame, chosen))


def test_with_a_kept_background_the_last_regions_go_along_and_keyframes_renew_all():
    frames = pictures(6)
    options = Roi.Options(margin_px=0.0, codec="png", keyframe_interval=4)
    rows, seen = rests_on(options, [[BOX], [BOX], [ELSEWHERE], [], [], []], frames)
    assert rows["blocks_active"].tolist() == [16, 1, 5, 4, 16, 0]
    image = frames[0]
    for frame, blocks, found in zip(
        frames, (range(16), ONE, ONE + FOUR, FOUR, range(16), []), seen, strict=True
    ):
        image = pasted(image, frame, blocks)
        assert np.array_equal(found, image)


def test_a_scene_in_which_nothing_is_found_sends_next_to_nothing():
    rows, _ = rests_on(Roi.Options(keyframe_interval=0), [[]], [pictures(1)[0]] * 6)
    assert rows["blocks_active"].tolist() == [16, 0, 0, 0, 0, 0]
    assert rows["uplink_bytes"][1:].max() < 40


def test_its_latency_is_a_sum_that_can_be_written_down():
    finder = KnownRegions([[BOX]], seconds=0.013)
    rows = run((Roi, Roi.Options()), pictures(3), finder=finder).rows
    up_s = 8 * rows["uplink_bytes"] / UPLINK_BPS
    around_s = 2 * DELAY_S + 8 * RESULT_BYTES / DOWNLINK_BPS
    assert rows["completed_s"] - rows["captured_s"] == pytest.approx(0.013 + up_s + 0.020 + around_s)
    assert rows["edge_compute_s"] == pytest.approx(0.013)


def test_after_a_frame_that_was_lost_the_next_one_is_whole():
    rows, _ = rests_on(Roi.Options(margin_px=0.0), [[BOX]], pictures(6))
    lost = run(
        (Roi, Roi.Options(margin_px=0.0)),
        pictures(6),
        crashes_s=[(0.16, 0.19)],  # between two frames: the server's picture is gone
        finder=KnownRegions([[BOX]]),
    ).rows
    assert rows["blocks_active"].tolist() == [16, 1, 1, 1, 1, 1]
    assert lost["outcome"].tolist() == [0, 0, 2, 0, 0, 0]
    assert lost["blocks_active"][3:].tolist() == [16, 1, 1]
    assert lost["downlink_bytes"][2] == 16  # the notice


@given(
    boxes=st.lists(
        st.tuples(*[st.floats(-20, 80)] * 4).map(
            lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
        ),
        max_size=4,
    ),
    margin_px=st.floats(0, 40),
)
def test_a_block_is_chosen_where_a_widened_box_covers_some_of_it(boxes, margin_px):
    chosen = blocks_of(np.array(boxes, float).reshape(-1, 4), margin_px, GEOMETRY)
    for row in range(4):
        for column in range(4):
            left, top = 16 * column, 16 * row
            covered = any(
                x1 - margin_px < left + 16 - 1e-9
                and x2 + margin_px > left + 1e-9
                and y1 - margin_px < top + 16 - 1e-9
                and y2 + margin_px > top + 1e-9
                for x1, y1, x2, y2 in boxes
                if x2 > x1 and y2 > y1
            )
            touching = any(
                x1 - margin_px < left + 16 + 1e-9
                and x2 + margin_px > left - 1e-9
                and y1 - margin_px < top + 16 + 1e-9
                and y2 + margin_px > top - 1e-9
                for x1, y1, x2, y2 in boxes
                if x2 > x1 and y2 > y1
            )
            assert covered <= chosen[row, column] <= touching
