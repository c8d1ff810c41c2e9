"""Fair sharing, arrivals and preemption against the plainest way to write them; frames against their link."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simpy import Environment

from sim.assembly.uplink import load_uplink
from sim.configuration import read_config
from sim.physics.arrivals import Arrivals, PeriodicLatest, PeriodicQueue
from sim.physics.fair_link import FairLink
from sim.physics.link import Link, LinkConditions, Transfer
from sim.physics.processor import Processor, operators
from sim.physics.trace_replay import replay
from tests.strategies.sim import (
    TICKS_PER_S,
    Sent,
    at,
    run,
    schedules,
    small_opportunity_traces,
    small_rate_traces,
    statistical,
)
from traces.bandwidth.trace import BandwidthTrace, OpportunityTrace, RateTrace

# -- fair sharing ----------------------------------------------------------------------------------


def round_robin(rate_bytes_s: float, sent: Sequence[tuple[float, int]]) -> list[float]:
    """When messages are through if they take turns, a packet each, on a link of a constant rate."""
    delivered_s = [0.0] * len(sent)
    turns: deque[list[float]] = deque()
    coming = deque((s, number, size) for number, (s, size) in enumerate(sent))
    now_s = 0.0
    while turns or coming:
        if not turns:
            now_s = max(now_s, coming[0][0])
        while coming and coming[0][0] <= now_s:
            _, number, size = coming.popleft()
            turns.append([number, size])
        number, left = turns.popleft()
        packet = min(1500.0, left)
        now_s += packet / rate_bytes_s
        while coming and coming[0][0] <= now_s:
            _, newcomer, size = coming.popleft()
            turns.append([newcomer, size])
        if left > packet:
            turns.append([number, left - packet])
        else:
            delivered_s[int(number)] = now_s
    return delivered_s


def fairly(
    trace: BandwidthTrace, sent: Sequence[tuple[float, int]], link_class: type[Link] = FairLink
) -> list[float]:
    env = Environment()
    link = link_class(env, replay(trace), LinkConditions())
    delivered_s = [0.0] * len(sent)

    def send(number: int, size_bytes: int) -> None:
        def booked(transfer: Transfer) -> None:
            delivered_s[number] = transfer.delivered_s

        link.send(size_bytes, float("inf"), booked)

    at(env, [(s, lambda n=n, size=size: send(n, size)) for n, (s, size) in enumerate(sent)])
    env.run()
    return delivered_s


@given(schedules(max_messages=10, max_ticks=800), st.sampled_from([1e5, 1e6]))
def test_fair_sharing_is_round_robin_within_a_packet_of_each_competitor(
    schedule: list[Sent], rate_bytes_s: float
) -> None:
    sent = [(message.ticks / TICKS_PER_S, message.size_bytes) for message in schedule]
    trace = RateTrace("constant", np.zeros(1), np.array([8 * rate_bytes_s]), 1.0)
    slack_s = len(sent) * 1500 / rate_bytes_s
    assert fairly(trace, sent) == pytest.approx(round_robin(rate_bytes_s, sent), abs=slack_s + 1e-9)


@given(
    st.one_of(small_opportunity_traces(), small_rate_traces()), st.lists(st.integers(1, 9000), max_size=12)
)
def test_one_message_at_a_time_needs_no_sharing(trace: BandwidthTrace, sizes: list[int]) -> None:
    position = replay(trace)
    sent = []
    now_s = 0.0
    for size in sizes:
        sent.append((now_s, size))
        now_s = position.take(size, now_s) + 0.0011
    assert fairly(trace, sent) == pytest.approx(fairly(trace, sent, Link), abs=1e-8)


@given(st.one_of(small_opportunity_traces(), small_rate_traces()), schedules(max_messages=10))
def test_sharing_carries_everything_as_soon_as_a_queue_would(
    trace: BandwidthTrace, schedule: list[Sent]
) -> None:
    """Whoever comes first, the last byte of a busy time leaves at the same instant: work is conserved."""
    sent = [(message.ticks / TICKS_PER_S, message.size_bytes) for message in schedule]
    assert max(fairly(trace, sent)) == pytest.approx(max(fairly(trace, sent, Link)), abs=1e-8)


def test_a_short_message_passes_a_long_one() -> None:
    trace = RateTrace("constant", np.zeros(1), np.array([8e6]), 1.0)
    sent = [(0.0, 100_000), (0.0, 1000)]
    assert fairly(trace, sent) == pytest.approx([0.101, 0.002])
    assert fairly(trace, sent, Link) == pytest.approx([0.100, 0.101])


# -- arrivals --------------------------------------------------------------------------------------

SERVICES_MS = st.lists(st.integers(0, 250), min_size=1, max_size=40)


def play(arrivals: Arrivals, services_ms: list[int]) -> tuple[list[tuple[int, float]], dict[int, str]]:
    """(frame, when it was begun) of the frames worked on, and what became of the others."""
    begun: list[tuple[int, float]] = []
    lost: dict[int, str] = {}
    now_s = 0.0
    for service_ms in services_ms:
        arrival = arrivals.next(now_s, lambda index, _, what: lost.__setitem__(index, what))
        if arrival is None:
            break
        index, captured_s = arrival
        now_s = max(now_s, captured_s)
        begun.append((index, now_s))
        now_s += service_ms / 1000
    return begun, lost


def event_loop(
    frames: int, room: int, newest_replaces: bool, services_ms: list[int]
) -> tuple[list[tuple[int, float]], dict[int, str]]:
    """The same, frame by frame in the order of their capture, in whole milliseconds at 25 frames/s."""
    begun: list[tuple[int, float]] = []
    lost: dict[int, str] = {}
    waiting: list[int] = []
    services = iter(services_ms)
    free_ms = 0

    def begin(index: int, now_ms: int) -> bool:
        nonlocal free_ms
        service_ms = next(services, None)
        if service_ms is None:
            return False
        begun.append((index, now_ms / 1000))
        free_ms = now_ms + service_ms
        return True

    for index in range(frames):
        captured_ms = 40 * index
        while waiting and free_ms < captured_ms:
            if not begin(waiting.pop(0), free_ms):
                return begun, lost
        if not waiting and free_ms <= captured_ms:
            if not begin(index, captured_ms):
                return begun, lost
        elif len(waiting) < room:
            waiting.append(index)
        elif newest_replaces:
            lost[waiting.pop()] = "replaced"
            waiting.append(index)
        else:
            lost[index] = "dropped"
        if waiting and free_ms == captured_ms and not begin(waiting.pop(0), free_ms):
            return begun, lost
    while waiting and begin(waiting.pop(0), free_ms):
        pass
    return begun, lost


@given(st.integers(1, 60), SERVICES_MS)
def test_the_newest_frame_replaces_the_one_that_waits(frames: int, services_ms: list[int]) -> None:
    begun, lost = play(PeriodicLatest(25.0, frames), services_ms)
    expected, replaced = event_loop(frames, 1, True, services_ms)
    assert [index for index, _ in begun] == [index for index, _ in expected]
    assert [s for _, s in begun] == pytest.approx([s for _, s in expected])
    assert {index for index in lost if index < begun[-1][0]} == {
        index for index in replaced if index < expected[-1][0]
    }


@given(st.integers(1, 60), st.integers(1, 5), SERVICES_MS)
def test_a_full_queue_drops_the_newcomer(frames: int, limit: int, services_ms: list[int]) -> None:
    begun, lost = play(PeriodicQueue(25.0, frames, limit=limit), services_ms)
    expected, _ = event_loop(frames, limit, False, services_ms)
    assert [index for index, _ in begun] == [index for index, _ in expected]
    assert [s for _, s in begun] == pytest.approx([s for _, s in expected])
    assert set(lost.values()) <= {"dropped"}


# -- preemption ------------------------------------------------------------------------------------


def test_a_preempted_refresh_keeps_its_finished_operators() -> None:
    """Ten operators of 10 ms; a job of 50 ms at 25 ms waits for the third operator and no longer."""
    env = Environment()
    processor = Processor(env, "edge")
    log: list[tuple[str, float]] = []

    def job() -> None:
        reserved = processor.reserve(0.050)
        log.append(("began", reserved.began_s))
        log.append(("ended", reserved.ended_s))

    at(
        env,
        [
            (0.0, lambda: processor.refresh(operators(0.1, 10), lambda: log.append(("refreshed", env.now)))),
            (0.025, job),
        ],
    )
    env.run()
    assert [what for what, _ in log] == ["began", "ended", "refreshed"]
    assert [s for _, s in log] == pytest.approx([0.030, 0.080, 0.150], abs=1e-9)


def test_a_job_at_an_operators_end_need_not_wait() -> None:
    env = Environment()
    processor = Processor(env, "edge")
    reserved = []
    at(
        env,
        [
            (0.0, lambda: processor.refresh([0.0625, 0.0625], lambda: None)),
            (0.0625, lambda: reserved.append(processor.reserve(0.01))),
        ],
    )
    env.run()
    assert reserved == [(0.0625, 0.0725)]


def test_a_refresh_does_not_survive_a_crash() -> None:
    env = Environment()
    done: list[float] = []
    processor = Processor(env, "server", crashes_s=[(0.05, 0.06)])
    at(
        env,
        [
            (s, lambda: processor.refresh(operators(0.1, 10), lambda: done.append(env.now)))
            for s in (0.0, 0.2)
        ],
    )
    env.run()
    assert done == pytest.approx([0.3])


# -- a run's frames against its link ---------------------------------------------------------------


@pytest.mark.parametrize("mean_mbps", [6.0, 56.0])
@pytest.mark.parametrize("outages_s", [[], [[0.5, 0.9]]])
@pytest.mark.parametrize("cameras", [1, 3])
def test_the_uplink_can_be_replayed_from_the_frames_alone(
    mean_mbps: float, outages_s: list[list[float]], cameras: int
) -> None:
    content = statistical(
        "full_offload",
        options={"codec": "jpeg"},
        trace={"mean_mbps": mean_mbps, "duration_s": 5.0, "seed": 2},
        link={"outages_s": outages_s},
        cameras=cameras,
        arrival={"policy": "queue", "limit": 4},
    )
    frames = run(content).frames
    config = read_config(content)
    position = replay(load_uplink(config.trace, config.seed, config.frames / 30.0), config.link.outages_s)
    sent: pd.DataFrame = frames[frames["uplink_enqueued_s"].notna()].sort_values(
        ["uplink_enqueued_s", "camera"], kind="stable"
    )
    assert len(sent) > 10
    replayed_s = [
        position.take(size, s)
        for size, s in zip(sent["uplink_bytes"].tolist(), sent["uplink_enqueued_s"].tolist(), strict=True)
    ]
    assert replayed_s == sent["uplink_delivered_s"].tolist()


def test_fluxshards_uplink_can_be_replayed_while_nothing_opportunistic_is_in_the_way() -> None:
    frames = run(statistical(options={"opportunistic": False})).frames
    config = read_config(statistical())
    assert config.frames is not None
    trace = load_uplink(config.trace, 0, config.frames / 30.0)
    assert isinstance(trace, OpportunityTrace)
    position = replay(trace)
    sent = frames[frames["uplink_enqueued_s"].notna()]
    replayed_s = [
        position.take(size, s)
        for size, s in zip(sent["uplink_bytes"].tolist(), sent["uplink_enqueued_s"].tolist(), strict=True)
    ]
    assert replayed_s == sent["uplink_delivered_s"].tolist()
