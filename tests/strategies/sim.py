"""Small links, message schedules and whole runs for tests of the simulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from simpy import Environment

from sim.assembly import Assembly, assemble
from sim.configuration import read_config
from sim.world.simulation import RunResult
from traces.bandwidth.trace import OpportunityTrace, RateTrace

TICKS_PER_S = 10_000  # schedules are drawn in tenths of a millisecond, so that ties with opportunities occur


class Sent(NamedTuple):
    """A message of a schedule: when it is sent, in ticks, and how long it is."""

    ticks: int
    size_bytes: int


def schedules(
    max_messages: int = 25, max_ticks: int = 3000, max_bytes: int = 9000
) -> st.SearchStrategy[list[Sent]]:
    """Messages in order of their sending, some at the same instant, some on a whole millisecond."""
    ticks = st.one_of(st.integers(0, max_ticks), st.integers(0, max_ticks // 10).map(lambda ms: 10 * ms))
    sent = st.builds(Sent, ticks, st.integers(1, max_bytes))
    return st.lists(sent, min_size=1, max_size=max_messages).map(sorted)


@st.composite
def small_opportunity_traces(draw: st.DrawFn) -> OpportunityTrace:
    """A few opportunities in a few milliseconds: repeats, millisecond 0, one alone, a silent end."""
    period_ms = draw(st.integers(1, 60))
    times_ms = draw(st.lists(st.integers(0, period_ms), min_size=1, max_size=12).map(sorted))
    return OpportunityTrace("small", np.array(times_ms), period_ms)


@st.composite
def small_rate_traces(draw: st.DrawFn) -> RateTrace:
    """Segments of 1 to 60 ms between 0 and 20 Mbit/s, at least one of which is not 0."""
    lengths_ms = draw(st.lists(st.integers(1, 60), min_size=1, max_size=8))
    rates_kbps = [
        draw(st.integers(50, 20_000)),
        *(draw(st.one_of(st.just(0), st.integers(50, 20_000))) for _ in lengths_ms[1:]),
    ]
    ends_s = np.cumsum(lengths_ms) / 1000.0
    return RateTrace(
        "small",
        np.concatenate(([0.0], ends_s[:-1])),
        1e3 * np.array(draw(st.permutations(rates_kbps)), dtype=np.float64),
        float(ends_s[-1]),
    )


def outages(max_ms: int = 400) -> st.SearchStrategy[list[tuple[float, float]]]:
    """Up to three ascending, disjoint outages between whole milliseconds."""
    bounds = st.lists(st.integers(0, max_ms), max_size=6, unique=True).map(sorted)
    return bounds.map(lambda ms: [(a / 1000.0, b / 1000.0) for a, b in zip(ms[::2], ms[1::2], strict=False)])


def at(env: Environment, when: Sequence[tuple[float, Callable[[], Any]]]) -> None:
    """Have each action run at its time, in order; before the run begins.

    Every timer counts from 0: stepping from action to action would arrive a rounding error late.
    """
    assert env.now == 0

    def run(action: Callable[[], Any], _: Any) -> None:
        action()

    for time_s, action in when:
        env.timeout(time_s).callbacks.append(partial(run, action))


def statistical(system: str = "fluxshard_ea", **changes: Any) -> dict[str, Any]:
    """A run on recorded statistics: no pixels, a few milliseconds of wall time."""
    options = {"codec": "jpeg"} if system == "full_offload" else {}
    content: dict[str, Any] = {
        "system": {"name": system, **options, **changes.pop("options", {})},
        "video": {"kind": "statistical", "name": "statistical", "statistics": "scene_walk"},
        "trace": {"mean_mbps": 20.0, "duration_s": 5.0, "seed": 2},
        "frames": 60,
    }
    return {**content, **changes}


def pixels(system: str = "fluxshard_ea", **changes: Any) -> dict[str, Any]:
    """A run on the composed scene at 160 px: real vectors, bytes and decoded blocks; no network runs."""
    options = {"codec": "jpeg"} if system == "full_offload" else {}
    content: dict[str, Any] = {
        "system": {"name": system, **options, **changes.pop("options", {})},
        "video": {"kind": "scene", "size_px": 160},
        "trace": {"mean_mbps": 20.0, "duration_s": 5.0, "seed": 2},
        "accuracy": {"mode": "coverage"},
        "link": {"delay_s": 0.01},  # so near that both paths are taken
        "downlink": {"delay_s": 0.01},
        "frames": 40,
    }
    return {**content, **changes}


class Run(NamedTuple):
    """A finished run."""

    assembly: Assembly
    result: RunResult
    frames: pd.DataFrame


def run(content: Mapping[str, Any], **how: Any) -> Run:
    """Assemble and run a configuration."""
    assembly = assemble(read_config(content))
    result = assembly.simulation.run(**how)
    return Run(assembly, result, result.table.to_frame(assembly.metric, with_regret=True))
