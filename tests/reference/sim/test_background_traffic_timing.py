"""When opportunistic messages are through: at any simulated time, and whatever was withdrawn before."""

from __future__ import annotations

import numpy as np
import pytest
from simpy import Environment

from sim.physics.link import Link
from sim.physics.trace_replay import replay
from traces.bandwidth.trace import BandwidthTrace, OpportunityTrace, RateTrace

RATE = RateTrace("8 Mbit/s", np.zeros(1), np.array([8e6]), 1.0)
OPPORTUNITIES = OpportunityTrace("7 ms", np.array([7, 14, 21]), 25)


@pytest.mark.parametrize("trace", [RATE, OPPORTUNITIES], ids=lambda trace: trace.name)
@pytest.mark.parametrize("began_s", [0.0, 86_400.123, 270_000.1, 1e6 + 0.3])
def test_message_is_through_at_any_simulated_time(trace: BandwidthTrace, began_s: float) -> None:
    env = Environment(initial_time=began_s)
    link = Link(env, replay(trace))
    sent_s: list[float] = []
    link.send_background(12_345, lambda: sent_s.append(env.now), lambda: None)
    expected_s = replay(trace).take(12_345, began_s)
    for _ in range(20):  # a clock too coarse for the link's steps would never get there
        if not sent_s:
            env.step()
    assert sent_s == pytest.approx([expected_s], rel=0.0, abs=2e-9)


def test_withdrawn_message_does_not_hold_up_the_next() -> None:
    env = Environment()
    link = Link(env, replay(RATE))
    withdrawn = link.send_background(5_000_000, lambda: None, lambda: None)
    env.run(until=0.1)
    link.cancel(withdrawn)
    sent_s: list[float] = []
    link.send_background(10_000, lambda: sent_s.append(env.now), lambda: None)
    env.run(until=1.0)
    assert sent_s == pytest.approx([0.11], abs=1.6e-3)  # the packet that was leaving is finished first
