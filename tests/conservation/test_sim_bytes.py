"""Nothing vanishes on a link: offered = delivered + queued + dropped, at every instant, in either class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simpy import Environment

from sim.physics.fair_link import FairLink
from sim.physics.link import Link, LinkConditions, LinkStatistics
from sim.physics.trace_replay import replay
from tests.strategies.sim import (
    TICKS_PER_S,
    Sent,
    at,
    outages,
    schedules,
    small_opportunity_traces,
    small_rate_traces,
)
from traces.bandwidth.trace import BandwidthTrace

TRACES = st.one_of(small_opportunity_traces(), small_rate_traces())
INSTANTS = st.lists(st.integers(0, 6000), max_size=10)


def account(statistics: LinkStatistics) -> None:
    critical = statistics.delivered_bytes + statistics.queued_bytes + statistics.dropped_bytes
    assert critical == pytest.approx(statistics.offered_bytes, abs=1e-6)
    background = (
        statistics.opportunistic_delivered_bytes
        + statistics.opportunistic_queued_bytes
        + statistics.opportunistic_dropped_bytes
    )
    assert background == pytest.approx(statistics.opportunistic_offered_bytes, abs=1e-6)
    assert min(statistics.queued_bytes, statistics.opportunistic_queued_bytes) >= -1e-6
    # What has left lies between what is through and what was asked for, byte by byte.
    assert statistics.delivered_bytes - 1e-6 <= statistics.carried_bytes <= statistics.offered_bytes + 1e-6


def grown(before: LinkStatistics, after: LinkStatistics) -> None:
    """Nothing that has left comes back, and nothing that was dropped."""
    for name in ("offered", "delivered", "carried", "retransmitted", "dropped"):
        assert getattr(after, f"{name}_bytes") >= getattr(before, f"{name}_bytes") - 1e-6, name
    for name in ("offered", "delivered", "dropped"):
        name = f"opportunistic_{name}_bytes"
        assert getattr(after, name) >= getattr(before, name) - 1e-6, name


@settings(max_examples=100)
@given(
    TRACES,
    schedules(max_messages=12),
    schedules(max_messages=12),
    st.one_of(st.just([]), outages()),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3000)), max_size=6),
    INSTANTS,
    st.sampled_from(["fifo", "fair", "lossy"]),
)
def test_bytes_are_accounted_for_at_every_instant(
    trace: BandwidthTrace,
    critical: list[Sent],
    background: list[Sent],
    interruptions: list[tuple[float, float]],
    withdrawn: list[tuple[int, int]],
    instants: list[int],
    kind: str,
) -> None:
    """Under losses, outages and sharing, whichever opportunistic messages are withdrawn, and whenever."""
    env = Environment()
    loss = 0.3 if kind == "lossy" else 0.0
    link_class = FairLink if kind == "fair" else Link
    rate = replay(trace, interruptions)
    link = link_class(env, rate, LinkConditions(0.003, loss), np.random.default_rng(1))
    arrived: list[int] = []
    told: dict[str, int] = {"sent": 0, "arrived": 0}
    under_way: list[Any] = []
    seen = [link.statistics()]
    actions = []

    def look() -> None:
        seen.append(link.statistics())
        account(seen[-1])
        grown(seen[-2], seen[-1])
        left = seen[-1].carried_bytes + seen[-1].retransmitted_bytes + seen[-1].opportunistic_delivered_bytes
        if kind != "lossy":  # what is sent again is booked when it is planned
            room = rate.capacity_bytes(0.0, float(env.now) + 1e-6)
            assert left <= room + 1500 + 1e-6  # a packet that has begun to leave is counted whole

    for sent in critical:

        def send(size_bytes: int = sent.size_bytes) -> None:
            event = link.send(size_bytes, float("inf"), lambda _: None)
            assert event.callbacks is not None
            event.callbacks.append(lambda _: arrived.append(size_bytes))

        actions.append((sent.ticks / TICKS_PER_S, send))

    def tell(what: str, size_bytes: int) -> None:
        told[what] += size_bytes

    def withdraw(number: int) -> None:
        if number < len(under_way):
            link.cancel(under_way[number])

    for sent in background:

        def send_background(size_bytes: int = sent.size_bytes) -> None:
            under_way.append(
                link.send_background(
                    size_bytes, lambda: tell("sent", size_bytes), lambda: tell("arrived", size_bytes)
                )
            )

        actions.append((sent.ticks / TICKS_PER_S, send_background))
    for number, ticks in withdrawn:
        actions.append((ticks / TICKS_PER_S, lambda number=number: withdraw(number)))  # type: ignore[misc]
    actions.extend((ticks / TICKS_PER_S, look) for ticks in instants)
    at(env, sorted(actions, key=lambda action: action[0]))
    env.run()

    look()
    end = seen[-1]
    assert end.queued_bytes == end.opportunistic_queued_bytes == 0.0
    assert sum(arrived) == sum(sent.size_bytes for sent in critical) == end.delivered_bytes
    assert end.offered_bytes == end.delivered_bytes == pytest.approx(end.carried_bytes, abs=1e-6)
    assert told["sent"] == told["arrived"]
    # A message is through or withdrawn; of one that is withdrawn some has left, and that was not lost.
    assert told["arrived"] <= end.opportunistic_delivered_bytes + 1e-6
    whole = sum(message.size_bytes for message in under_way if message.remaining_bytes <= 0.0)
    assert told["arrived"] == whole


@given(TRACES, st.integers(1, 40), st.floats(0.05, 0.6))
def test_losses_cost_bytes_and_time_but_no_message(trace: BandwidthTrace, packets: int, loss: float) -> None:
    env = Environment()
    link = Link(env, replay(trace), LinkConditions(0.0, loss, 0.002), np.random.default_rng(3))
    clean_s = replay(trace).take(1500 * packets, 0.0)
    transfer = link.reserve(1500 * packets)
    again = link.statistics().retransmitted_bytes
    assert again % 1500 == 0
    if again:
        assert transfer.delivered_s >= clean_s + 0.002 - 1e-9
    else:
        assert transfer.delivered_s == clean_s
