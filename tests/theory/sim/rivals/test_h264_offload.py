"""The stream's bytes follow the link, and its quantiser the budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.systems.h264_offload import H264Offload
from sim.systems.h264_offload.rate_control import LEAST_SHARE, QP_HALVING, RateControl
from tests.strategies.images import noisy_walk, texture
from tests.strategies.systems import FPS, run

FRAMES = 80


@pytest.mark.parametrize(("before_bps", "after_bps"), [(0.8e6, 0.12e6), (0.12e6, 0.8e6)])
def test_bytes_follow_a_step_of_the_link_within_two_seconds(before_bps, after_bps):
    """To within a third of the share of the new rate, on average, from two seconds after the step."""
    options = H264Offload.Options(best_qp=1, start_qp=30, worst_qp=51)
    rows = run(
        (H264Offload, options), noisy_walk(FRAMES, 128, seed=1), [(0.0, before_bps), (4.0, after_bps)]
    ).rows
    sent = rows["outcome"] == 0
    for rate_bps, from_s, to_s in ((before_bps, 2.0, 4.0), (after_bps, 6.0, 8.0)):
        chosen = sent & (rows["started_s"] >= from_s) & (rows["started_s"] < to_s)
        assert np.count_nonzero(chosen) >= 10
        budget_bytes = 0.5 * rate_bps / FPS / 8
        assert rows["uplink_bytes"][chosen].mean() == pytest.approx(budget_bytes, rel=1 / 3)


def test_on_a_link_that_carries_more_than_enough_quality_is_constant():
    """Then it is a stream of constant quality, and its bytes do not depend on the link."""
    frames = noisy_walk(20, 128, seed=1)
    rows = [run((H264Offload, H264Offload.Options()), frames, [(0.0, bps)]).rows for bps in (80e6, 160e6)]
    # The first frame of all, and the first of each kind, begin at start_qp.
    assert rows[0]["uplink_bytes"].tolist() == rows[1]["uplink_bytes"].tolist()


def test_a_static_scene_sends_next_to_nothing():
    image = texture(128, 128, np.random.default_rng(0), 2.0, True)
    rows = run((H264Offload, H264Offload.Options()), [image] * 20).rows
    assert rows["uplink_bytes"][10:].max() < 0.01 * rows["uplink_bytes"][0]


COMPLEXITY = st.floats(8.0, 25.0)


@given(complexity=COMPLEXITY, budget_bytes=st.floats(10.0, 1e7))
def test_a_content_that_follows_the_model_meets_its_budget(complexity, budget_bytes):
    """bytes = 2^(c − qp/5): from the second frame on no frame is above its budget, nor below by a step."""
    control = RateControl(best_qp=1, worst_qp=51, start_qp=23)
    for number in range(4):
        qp = control.choose(budget_bytes, keyframe=False)
        size = int(2 ** (complexity - qp / QP_HALVING))
        if number >= 2 and 1 < qp < 51 and size > 100 and not control.debt_bytes:
            assert size <= budget_bytes * 1.001
            assert size >= budget_bytes / 2 ** (1 / QP_HALVING) / 1.02
        control.learn(qp, size, budget_bytes, keyframe=False)


@given(sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=30), budget_bytes=st.floats(100.0, 1e6))
def test_what_a_frame_took_too_much_is_given_back(sizes, budget_bytes):
    control = RateControl(best_qp=1, worst_qp=51, start_qp=23)
    owed = 0.0
    for size in sizes:
        control.learn(23, size, budget_bytes, keyframe=False)
        owed = max(0.0, owed + size - budget_bytes)
    assert control.debt_bytes == pytest.approx(owed)
    least = control.choose(LEAST_SHARE * budget_bytes, keyframe=False)
    indebted = control.choose(budget_bytes, keyframe=False)
    unowing = RateControl(1, 51, 23, 0.0, dict(control._complexity))
    assert indebted >= unowing.choose(budget_bytes, keyframe=False)
    assert indebted <= max(least, unowing.choose(LEAST_SHARE * budget_bytes, keyframe=False))


def test_nothing_known_is_the_starting_quantiser():
    control = RateControl(best_qp=10, worst_qp=40, start_qp=25)
    assert control.choose(None, keyframe=False) == control.choose(1e6, keyframe=True) == 25
    control.learn(25, 50_000, None, keyframe=True)
    assert control.choose(1e9, keyframe=True) == 10
    assert control.choose(1.0, keyframe=True) == 40
    assert control.choose(1.0, keyframe=False) == 25  # of that kind nothing is known yet
