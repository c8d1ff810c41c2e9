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
    assert min(statistics.queued_bytes, statistics.opportunistic_queued_bytes) >= 0.0


@settings(max_examples=60)
@given(
    TRACES,
    schedules(max_messages=12),
    schedules(max_messages=12),
    st.one_of(st.just([]), outages()),
    st.sets(st.integers(0, 11)),
    INSTANTS,
    st.sampled_from(["fifo", "fair", "lossy"]),
)
def test_bytes_are_accounted_for_at_every_instant(
    trace: BandwidthTrace,
    critical: list[Sent],
    background: list[Sent],
    interruptions: list[tuple[float, float]],
    withdrawn: set[int],
    instants: list[int],
    kind: str,
) -> None:
    env = Environment()
    loss = 0.3 if kind == "lossy" else 0.0
    link_class = FairLink if kind == "fair" else Link
    link = link_class(
        env, replay(trace, interruptions), LinkConditions(0.003, loss), np.random.default_rng(1)
    )
    arrived: list[int] = []
    under_way: list[Any] = []
    actions = []
    for sent in critical:

        def send(size_bytes: int = sent.size_bytes) -> None:
            event = link.send(size_bytes, float("inf"), lambda _: None)
            assert event.callbacks is not None
            event.callbacks.append(lambda _: arrived.append(size_bytes))

        actions.append((sent.ticks / TICKS_PER_S, send))
    for number, sent in enumerate(background):

        def send_background(number: int = number, size_bytes: int = sent.size_bytes) -> None:
            under_way.append(link.send_background(size_bytes, lambda: None, lambda: None))

        actions.append((sent.ticks / TICKS_PER_S, send_background))
        if number in withdrawn:
            actions.append((sent.ticks / TICKS_PER_S + 0.05, lambda: link.cancel(under_way[0])))
    actions.extend((ticks / TICKS_PER_S, lambda: account(link.statistics())) for ticks in instants)
    at(env, sorted(actions, key=lambda action: action[0]))
    env.run()

    end = link.statistics()
    account(end)
    assert end.queued_bytes == end.opportunistic_queued_bytes == 0.0
    assert sum(arrived) == sum(sent.size_bytes for sent in critical) == end.delivered_bytes
    assert end.offered_bytes == end.delivered_bytes


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
