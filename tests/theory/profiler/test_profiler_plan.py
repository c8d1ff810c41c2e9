"""``plan``: its k* is the best k there is, ties are ties, and 10 % help where they should."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from profiler.__main__ import main
from profiler.latency import Quadratic, load_profile
from profiler.plan import (
    PathLatency,
    best_point,
    cloud_path,
    edge_path,
    gains,
    offloading_map,
    summary,
    tie_bps,
)

EDGE = load_profile("jetson_xavier_nx", "yolo11m-seg")
CLOUD = load_profile("rtx_3080", "yolo11m-seg")
DECAY = math.log(2) / 0.1


@given(
    a=st.sampled_from([0.0, 1e-12, 3.6e-8, 1e-5]),
    b=st.floats(0, 1e-3),
    c=st.floats(0, 0.1),
    link=st.sampled_from([0.0, 1e-5, 1e-3]),
    active=st.integers(1, 300),
    decay=st.floats(0.01, 100),
)
@example(a=0.0, b=5e-324, c=0.0, link=0.0, active=1, decay=0.5)
@settings(max_examples=150, deadline=None)
def test_best_k_is_the_maximum_over_every_k(
    a: float, b: float, c: float, link: float, active: int, decay: float
) -> None:
    path = PathLatency(Quadratic(a, b, c), 0.003, link)
    found = best_point(path, active, decay)
    every = [k / active * math.exp(-decay * path.seconds(k)) for k in range(active + 1)]
    assert 0 <= found.k <= active
    assert found.ea == pytest.approx(max(every), rel=1e-12, abs=1e-300)
    assert found.ea <= 1.0


def test_the_curve_in_use_decides_not_the_quadratic() -> None:
    """A measured device whose curve bends down: the quadratic is 15 % too slow at its best k."""
    measured = load_profile("epyc_zen5_1thread", "yolo11n-seg")
    path = edge_path(measured)
    assert path.curve is measured.alternative
    found = best_point(path, 1600, DECAY)
    every = [
        k / 1600 * math.exp(-DECAY * ((measured.extract_s or 0) + measured.sparse_s(k))) for k in range(1601)
    ]
    assert (found.k, found.ea) == (every.index(max(every)), pytest.approx(max(every), rel=1e-12))
    found_map = offloading_map(measured, measured, 1600, block_bytes=440.0)
    text = summary(measured, measured, found_map, block_bytes=440.0, delay_s=0.0)
    assert text.count("epyc_zen5_1thread: piecewise_linear curve") == 1


def test_at_the_tie_edge_and_cloud_are_equal() -> None:
    tie = tie_bps(EDGE, CLOUD, 400, DECAY, 60.0, 0.0)
    assert tie is not None
    here = best_point(edge_path(EDGE), 400, DECAY).ea
    there = best_point(cloud_path(EDGE, CLOUD, tie, 60.0, 0.0), 400, DECAY).ea
    assert there == pytest.approx(here, rel=1e-9)
    assert best_point(cloud_path(EDGE, CLOUD, 1.1 * tie, 60.0, 0.0), 400, DECAY).ea > here


def test_a_device_against_itself_never_ties() -> None:
    """Over a link the same device can only be slower."""
    assert tie_bps(EDGE, EDGE, 400, DECAY, 60.0, 0.001) is None


def test_faster_parts_never_harm() -> None:
    for bps in (5e5, 2e6, 5e7):
        found = gains(EDGE, CLOUD, 400, DECAY, bps, 60.0, 0.01)
        assert all(gain >= -1e-12 for gain in found.values())
    fast = gains(EDGE, CLOUD, 400, DECAY, 5e7, 60.0, 0.01)
    assert fast["edge kernels 10 % faster"] == 0.0, "the cloud does the work at 50 Mbps"
    slow = gains(EDGE, CLOUD, 400, DECAY, 5e5, 60.0, 0.01)
    assert slow["uplink 10 % faster"] == 0.0, "the edge does the work at 0.5 Mbps"
    assert slow["edge kernels 10 % faster"] > 0.01


def test_the_map_grows_with_bandwidth_and_with_patience() -> None:
    found = offloading_map(EDGE, CLOUD, 1600, block_bytes=440.0)
    for row in found.cloud:
        assert [one.k for one in row] == sorted(one.k for one in row)
    for column in zip(*found.cloud, strict=True):
        assert [one.k for one in column] == sorted(one.k for one in column)
    text = summary(EDGE, CLOUD, found, block_bytes=440.0, delay_s=0.0)
    assert len(text.splitlines()) <= 24, "one screen"
    assert all(len(line) <= 132 for line in text.splitlines())
    assert "profiled range is unknown" in text


def test_the_picture_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plan.png"
    command = ["plan", "edge=jetson_xavier_nx/yolo11m-seg", "cloud=rtx_3080/yolo11m-seg", f"out={out}"]
    assert main(command) == 0
    assert out.stat().st_size > 10_000
    assert "tie" in capsys.readouterr().out
