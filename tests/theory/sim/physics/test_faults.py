"""Faults of the edge: what is slow, what is believed, and what stays as it was."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.assembly import assemble
from sim.configuration import read_config
from sim.physics.faults import Misbelief, Slowdown
from tests.strategies.sim import run, statistical
from traces.errors import InputError


def test_a_slow_device_is_slow_in_its_windows_and_without_any_always() -> None:
    slow = Slowdown(3.0, ((1.0, 2.0), (4.0, 5.0)))
    assert [slow.factor_at(t) for t in (0.0, 1.0, 1.9, 2.0, 4.5, 5.0)] == [1.0, 3.0, 3.0, 1.0, 3.0, 1.0]
    assert Slowdown(3.0).factor_at(0.0) == 3.0


def test_a_slow_edge_takes_so_many_times_as_long_and_all_else_is_the_same() -> None:
    """The same scatter, three times as long; codecs and network are as they were."""
    content = statistical("edge_only", frames=90)
    usual = run(content).frames
    slow = run({**content, "faults": {"edge_slowdown": 3.0, "edge_slow_s": [[1.0, 2.0]]}}).frames
    usual_s, slow_s = (
        frames.dropna(subset="completed_s").set_index("frame")["edge_compute_s"] for frames in (usual, slow)
    )
    began = slow.set_index("frame")["started_s"]
    inside = (began >= 1.0) & (began < 2.0)
    assert set(round(slow_s / usual_s.iloc[0], 9)[inside.reindex(slow_s.index)]) == {3.0}
    assert set(round(slow_s / usual_s.iloc[0], 9)[~inside.reindex(slow_s.index)]) == {1.0}


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 100)), min_size=1, max_size=30), st.integers(0, 100)
)
def test_a_late_belief_is_what_was_said_so_long_ago(said: list[tuple[int, int]], delay: int) -> None:
    """By the definition, from the list of all that was said; whole numbers, so that no time is rounded."""
    belief = Misbelief(2.0, float(delay))
    now, history = 0, []
    for step, estimate in said:
        now += step
        history.append((now, estimate))
        old = [value for when, value in history if when <= now - delay]
        assert belief.told_bps(float(now), float(estimate)) == (2.0 * old[-1] if old else None)


def told(**faults: Any) -> pd.DataFrame:
    frames = run(statistical(frames=120, trace={"mean_mbps": 20.0, "seed": 2}, faults=faults)).frames
    return frames[frames["outcome"] == "completed"].set_index("frame")


def test_a_scaled_belief_changes_what_is_decided_and_not_what_is_learnt() -> None:
    usual, wrong = told(), told(estimate_factor=0.1)
    first = usual.index[1]
    assert wrong.loc[first, "bandwidth_estimate_bps"] == pytest.approx(
        0.1 * usual.loc[first, "bandwidth_estimate_bps"]
    )
    assert (wrong["path"] == "edge").mean() > (usual["path"] == "edge").mean()


def test_faults_that_are_none_change_nothing() -> None:
    usual = told()
    pd.testing.assert_frame_equal(
        usual, told(edge_slowdown=1.0, edge_slow_s=[[0.5, 1.0]], estimate_factor=1.0)
    )
    pd.testing.assert_frame_equal(usual, told(edge_slowdown=2.0, edge_slow_s=[[90.0, 91.0]]))


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"edge_slowdown": 0.5}, "faults.edge_slowdown: expected a factor >= 1, found 0.5"),
        ({"edge_slowdown": 2.0, "edge_slow_s": [[2.0, 1.0]]}, r"faults.edge_slow_s: expected ascending"),
        ({"estimate_factor": 0.0}, "faults.estimate_factor: expected a factor > 0, found 0.0"),
        ({"estimate_delay_s": -1.0}, "faults.estimate_delay_s: expected a time >= 0 s, found -1.0"),
        ({"edge_slow": 2.0}, "faults.edge_slow: expected one of the keys"),
    ],
)
def test_what_is_no_fault_is_refused(faults: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        assemble(read_config(statistical(faults=faults)))
