"""Admission of frames to a pipeline: the rule against its definition, no look ahead, and never a loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.world.admission import CLOUD, EDGE, UPLINK, Admission, Passage, StageStatistics
from sim.world.ways import WINDOW
from tests.strategies.sim import run, statistical

PIPELINED: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("full_offload", {"codec": "png"}),
    "jpeg": ("full_offload", {"codec": "jpeg"}),
    "spinn": ("spinn", {}),
    "coach split": ("coach", {"variant": "split"}),
}
FAULTS = {
    "link": {"outages_s": [[4.0, 5.5]], "loss": 0.02},
    "server": {"crashes_s": [[10.0, 10.5]]},
}
MILLISECONDS = st.integers(1, 60)


def pipelined(name: str, **changes: Any) -> dict[str, Any]:
    system, options = PIPELINED[name]
    return statistical(system, options=options, **changes)


def is_free_in_time(services_ms: Sequence[int], age_ms: int, lead_ms: int, level: float) -> bool:
    """P(S ≤ age + lead | S > age) ≥ level, counted; False where no frame was served as long as that."""
    left = [service for service in services_ms if service > age_ms]
    in_time = [service for service in left if service <= age_ms + lead_ms]
    return bool(left) and len(in_time) >= level * len(left)


@given(
    st.lists(MILLISECONDS, min_size=1, max_size=2 * WINDOW),
    st.integers(0, 60),
    st.integers(1, 40),
    st.floats(0.05, 0.95),
)
def test_the_next_frame_enters_at_the_first_instant_that_is_sure_enough(
    services_ms: list[int], served_ms: int, lead_ms: int, level: float
) -> None:
    stage = StageStatistics(lead_ms / 1000)
    for service_ms in services_ms:
        stage.learn(lead_ms / 1000, service_ms / 1000, service_ms / 1000)
    recent = services_ms[-WINDOW:]
    assert stage.mean_s == pytest.approx(sum(recent) / len(recent) / 1000)
    ages = [age for age in range(served_ms, 61) if is_free_in_time(recent, age, lead_ms, level)]
    expected_s = ages[0] / 1000 if ages else math.inf
    assert stage.enter_after_s(served_ms / 1000, level) == pytest.approx(expected_s, abs=1e-9)


def test_a_frame_that_needs_the_stage_at_once_waits_until_it_is_free() -> None:
    stage = StageStatistics(0.0)
    stage.learn(0.0, 0.1, 0.1)
    assert stage.enter_after_s(0.0, 0.01) == math.inf


def offloaded(entered_s: float, stop: int, now_s: float) -> Passage:
    """A frame that takes 100 ms on the uplink and 50 on the server, seen when it has just come to a stop."""
    passage = Passage(entered_s, True)
    passage.arrive((UPLINK, CLOUD)[stop], now_s)
    passage.stop = (stop, passage.stop[1])
    passage.book(now_s, now_s + (0.1, 0.05)[stop])
    return passage


def learnt() -> Admission:
    """What is known after a few such frames, one at a time."""
    admission = Admission(4, decay_per_s=7.0)
    for start_s in (0.0, 1.0, 2.0):
        passage = offloaded(start_s, 0, start_s)
        admission.leave(passage)
        passage.arrive(CLOUD, start_s + 0.1)
        passage.book(start_s + 0.1, start_s + 0.15)
        admission.leave(passage)
        admission.finish(passage, start_s + 0.15)
    return admission


def test_frames_go_one_at_a_time_until_the_first_result() -> None:
    admission = Admission(4, decay_per_s=7.0)
    assert admission.next_look_s(0.0, []) == 0.0
    assert admission.next_look_s(0.05, [offloaded(0.0, 0, 0.0)]) == math.inf


def test_frames_go_one_at_a_time_while_no_frame_has_asked_for_a_stage() -> None:
    """Results that cost nothing, of a system that reuses an earlier one, teach nothing about stages."""
    admission = Admission(4, decay_per_s=7.0)
    admission.finish(Passage(0.0, False), 0.0)
    assert admission.next_look_s(0.05, [Passage(0.0, False)]) == math.inf


def test_a_frame_that_gave_up_on_the_uplink_and_went_another_way_is_no_reason_to_overlap() -> None:
    """Its message leaves long after its result: its stages together took longer than the frame."""
    admission = Admission(4, decay_per_s=7.0)
    for start_s, uplink_s, left_s in ((0.0, 10.0, 0.3), (10.0, 0.1, 10.1)):
        passage = Passage(start_s, False)
        passage.arrive(UPLINK, start_s)
        passage.book(start_s, start_s + uplink_s)
        admission.leave(passage)
        passage.arrive(EDGE, left_s)
        passage.book(left_s, left_s + 0.1)
        admission.leave(passage)
        admission.finish(passage, left_s + 0.1)
    under_way = Passage(11.0, False)
    under_way.arrive(UPLINK, 11.0)
    under_way.book(11.0, 21.0)
    assert admission.next_look_s(11.1, [under_way]) == math.inf


def test_the_uplink_is_handed_on_when_it_is_free_and_the_server_need_not_be() -> None:
    admission = learnt()
    assert admission.next_look_s(3.05, [offloaded(3.0, 0, 3.0)]) == 3.1  # it ends then; nobody knows
    assert admission.next_look_s(3.1, [offloaded(3.0, 1, 3.1)]) == 3.1  # 100 ms until it is asked for
    full = [offloaded(3.0, 1, 3.1)] * 4
    assert admission.next_look_s(3.1, full) == math.inf


def test_what_a_server_does_not_answer_is_not_waited_for_for_ever() -> None:
    silent = offloaded(3.0, 1, 3.1)
    silent.ended_s = math.inf
    admission = learnt()
    assert admission.next_look_s(3.16, [silent]) == pytest.approx(3.2)  # twice the longest stay
    assert admission.next_look_s(3.2, [silent]) == pytest.approx(3.2)


def test_a_frame_that_gave_up_teaches_nothing() -> None:
    """It waited a second for an answer that did not come, and was inferred on the edge."""
    admission, knowing = learnt(), learnt()
    passage = offloaded(3.0, 0, 3.0)
    for one in (admission, knowing):
        one.leave(passage)  # the uplink is through with it
    passage.arrive(CLOUD, 3.1)
    passage.ended_s = math.inf
    passage.gave_up = True
    admission.leave(passage)
    passage.arrive(EDGE, 4.0)
    passage.book(4.0, 4.2)
    admission.leave(passage)
    admission.finish(passage, 4.2)
    for now_s, stop in ((5.05, 0), (5.1, 1), (5.12, 1)):
        under_way = [offloaded(5.0, stop, 5.0 + 0.1 * stop)]
        assert admission.next_look_s(now_s, under_way) == knowing.next_look_s(now_s, under_way)


@pytest.mark.parametrize("mbps", [130.0, 56.0, 25.0])
@pytest.mark.parametrize("faults", [{}, FAULTS], ids=["calm", "faults"])
@pytest.mark.parametrize("name", list(PIPELINED))
def test_effective_accuracy_a_captured_frame_is_not_lower(
    name: str, faults: dict[str, Any], mbps: float
) -> None:
    ea = {}
    for bound in (1, 4):
        changes = {"trace": {"mean_mbps": mbps, "seed": 2}, "frames": 600, "in_flight": bound, **faults}
        frames = run(pipelined(name, **changes)).frames
        ea[bound] = frames.loc[frames["outcome"] == "completed", "ea"].sum()
    assert ea[4] >= ea[1] > 0.0


@pytest.mark.parametrize("cameras", [4, 8])
@pytest.mark.parametrize("sharing", ["fifo", "fair"])
def test_on_a_link_that_others_fill_overlapping_is_given_up(cameras: int, sharing: str) -> None:
    """The queue is as long as there are frames under way; nobody gains by adding to it."""
    latency_s = {}
    for bound in (1, 4):
        changes = {"cameras": cameras, "link": {"sharing": sharing}, "frames": 300, "in_flight": bound}
        frames = run(pipelined("png", **changes)).frames
        latency_s[bound] = frames.loc[frames["outcome"] == "completed", "latency_s"].mean()
    assert latency_s[4] < 1.05 * latency_s[1]


@pytest.mark.parametrize("name", list(PIPELINED))
def test_nothing_is_known_before_it_has_happened(name: str, tmp_path: Path) -> None:
    """A link that becomes another one at 6 s changes nothing that was over by then."""
    rng = np.random.default_rng(5)
    rates_mbps = rng.uniform(20.0, 140.0, 60)
    done = []
    for tail in (1.0, 0.25):
        path = tmp_path / f"{tail}.csv"
        rows = [f"{0.2 * i:.1f},{rate * (1.0 if i < 30 else tail)}" for i, rate in enumerate(rates_mbps)]
        path.write_text("\n".join(["time_s,rate_mbps", *rows]) + "\n", encoding="utf-8")
        frames = run(pipelined(name, trace={"path": str(path)}, frames=300, in_flight=4)).frames
        done.append(frames[frames["completed_s"] < 6.0].reset_index(drop=True))
    assert len(done[0]) > 3
    pd.testing.assert_frame_equal(*done)
