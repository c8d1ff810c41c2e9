"""The synthetic uplink has the statistics it aims at, at every mean, and is fast."""

from __future__ import annotations

import time

import numpy as np
import pytest

from traces.bandwidth.statistics import statistics
from traces.bandwidth.synthetic import synthetic_uplink
from traces.errors import InputError

LEVELS_BPS = (130e6, 56e6, 25e6)


@pytest.mark.parametrize("mean_bps", LEVELS_BPS)
def test_the_mean_is_met_to_half_a_packet(mean_bps: float) -> None:
    trace = synthetic_uplink(mean_bps, duration_s=10.0, seed=3)
    assert abs(trace.mean_bps - mean_bps) * trace.duration_s <= 8 * trace.packet_bytes / 2


def test_the_statistics_are_those_of_a_cellular_uplink() -> None:
    measured = [statistics(synthetic_uplink(130e6, seed=seed)) for seed in range(40)]

    def median(values: list[float | None]) -> float:
        return float(np.median(np.array(values, dtype=np.float64)))

    # The docstring's medians, with room for a different random stream.
    assert median([s.variation_1ms for s in measured]) == pytest.approx(2.1, abs=0.1)
    assert median([s.variation_100ms for s in measured]) == pytest.approx(0.59, abs=0.06)
    assert median([s.variation_1s for s in measured]) == pytest.approx(0.49, abs=0.06)
    assert median([s.autocorrelation_1s for s in measured]) == pytest.approx(0.41, abs=0.08)
    assert 2 <= median([float(s.outages) for s in measured]) <= 5


def test_levels_share_one_shape() -> None:
    high, low = (synthetic_uplink(mean, seed=5) for mean in (130e6, 25e6))
    shape_high = np.bincount(high.times_ms // 100, minlength=600) / high.times_ms.size
    shape_low = np.bincount(low.times_ms // 100, minlength=600) / low.times_ms.size
    assert np.abs(shape_high - shape_low).max() * low.times_ms.size <= 1.5


def test_it_is_labelled_synthetic() -> None:
    trace = synthetic_uplink(25e6, duration_s=1.0)
    assert trace.synthetic
    assert trace.name.startswith("synthetic")
    assert "synthetic" in trace.scaled_to_mean(1e6).sliced(0, 0.5).name


def test_a_minute_at_130_mbps_takes_less_than_a_third_of_a_second() -> None:
    started_s = time.process_time()
    for seed in range(5):
        synthetic_uplink(130e6, 60.0, seed)
    assert (time.process_time() - started_s) / 5 < 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean_bps": 0.0}, r"mean_bps must be finite and > 0 bit/s \(got 0.0\)"),
        ({"mean_bps": float("nan")}, "mean_bps must be finite"),
        ({"duration_s": 0.5}, r"duration_s must be finite and >= 1 s \(got 0.5\)"),
        ({"seed": -1}, r"seed must be >= 0 \(got -1\)"),
        ({"mean_bps": 10.0}, "leaves no packet of 1500 bytes in 60 s"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        synthetic_uplink(**arguments)  # type: ignore[arg-type]
