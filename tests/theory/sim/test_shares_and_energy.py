"""Jain's index and the energy of edges: what the formulas say, and what is not known."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.latency import Power
from sim.records.camera_table import camera_table
from sim.records.energy import edge_energy, together
from sim.records.fairness import jain_index


def test_jains_index_of_known_shares() -> None:
    assert jain_index([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain_index([5.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain_index([1.0, 2.0, 3.0]) == pytest.approx(36 / 42)
    assert jain_index([1e-200, 1e-200]) == pytest.approx(1.0)
    assert jain_index([1e200, 1e200]) == pytest.approx(1.0)


def test_there_is_no_index_where_nothing_is_shared() -> None:
    assert jain_index([]) is jain_index([7.0]) is jain_index([0.0, 0.0]) is None
    for wrong in ([-1.0, 2.0], [float("nan"), 1.0]):
        with pytest.raises(ValueError, match="shares: expected finite numbers >= 0"):
            jain_index(wrong)


@given(st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=20), st.floats(1e-3, 1e3))
def test_the_index_has_its_range_and_no_unit(shares: list[float], unit: float) -> None:
    index = jain_index(shares)
    assert index is not None
    assert 1.0 / len(shares) - 1e-12 <= index <= 1.0 + 1e-12
    assert jain_index([unit * share for share in shares]) == pytest.approx(index)
    assert jain_index(shares * 3) == pytest.approx(index)  # of a population, not of its size


def test_energy_is_power_times_time() -> None:
    energy = edge_energy(Power(2.0, 15.0), busy_s=30.0, simulated_s=100.0, radio_j=40.0, with_radio=True)
    assert (energy.compute_j, energy.idle_j, energy.radio_j) == (450.0, 140.0, 40.0)
    assert energy.total_j == 630.0
    assert energy.per_frame_j(63) == 10.0
    assert energy.per_frame_j(0) is None


@pytest.mark.parametrize(
    ("power", "radio_j", "with_radio", "parts", "total_j"),
    [
        (None, 1.0, True, (None, None, 1.0), None),
        (Power(None, 10.0), 1.0, True, (500.0, None, 1.0), None),
        (Power(2.0, None), 1.0, True, (None, 100.0, 1.0), None),
        (Power(2.0, 10.0), None, True, (500.0, 100.0, None), None),  # a radio of which nothing is known
        (Power(2.0, 10.0), None, False, (500.0, 100.0, None), 600.0),  # no radio
        (Power(0.0, 10.0), 0.0, True, (500.0, 0.0, 0.0), 500.0),  # known to be nothing
    ],
)
def test_an_unknown_part_is_not_nothing(
    power: Power | None,
    radio_j: float | None,
    with_radio: bool,
    parts: tuple[float | None, ...],
    total_j: float | None,
) -> None:
    energy = edge_energy(power, 50.0, 100.0, radio_j, with_radio)
    assert (energy.compute_j, energy.idle_j, energy.radio_j) == parts
    assert energy.total_j == total_j
    known = edge_energy(Power(2.0, 10.0), 50.0, 100.0, 1.0, True)
    both = together([known, energy])
    assert (both.total_j is None) == (energy.total_j is None or not with_radio)


def test_a_camera_that_got_nothing_has_no_effective_accuracy() -> None:
    """Cameras: a dropped frame of start-up; a result of start-up; that and a dropped frame; no frame."""
    frames = pd.DataFrame(
        {
            "camera": [0, 1, 2, 2],
            "captured_s": [0.0, 0.1, 0.2, 3.0],
            "outcome": ["dropped", "completed", "completed", "dropped"],
            "path": [None, "edge", "edge", None],
            **{
                name: [float("nan"), 0.5, 0.5, float("nan")]
                for name in ("accuracy", "ea", "latency_s", "queue_s")
            },
            **dict.fromkeys(("uplink_bytes", "uplink_opportunistic_bytes", "downlink_bytes"), 0),
        }
    )
    table = camera_table(frames, [{}, {}, {}, {}], warmup_s=1.0)
    assert table["ea_per_captured"].iloc[[0, 2]].tolist() == [0.0, 0.0]
    assert table["ea_per_captured"].iloc[[1, 3]].isna().all()  # nothing of it counts; nothing was captured
