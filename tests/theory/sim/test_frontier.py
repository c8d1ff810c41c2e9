"""The frontier: which settings no other beats, and what a point is a mean of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from analysis.comparison.frontier import frontier, frontier_table, points
from analysis.figures.frontier import draw_frontier
from analysis.replicates import Estimate
from traces.errors import InputError

SETTINGS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30)


@given(SETTINGS)
def test_nothing_beats_what_is_on_the_frontier_and_something_beats_the_rest(
    settings: list[tuple[int, int]],
) -> None:
    costs, values = zip(*settings, strict=True)
    best = frontier(costs, values)

    def beaten(place: int) -> bool:
        """Whether another gives as much for less, or more for as little."""
        return any(
            cost <= costs[place] and value >= values[place] and (cost, value) != settings[place]
            for cost, value in settings
        )

    assert {settings[place] for place in best} == {
        setting for place, setting in enumerate(settings) if not beaten(place)
    }
    assert [costs[place] for place in best] == sorted({costs[place] for place in best})


def test_over_a_few_runs_the_interval_is_students() -> None:
    runs = [{"x": value, "realisation": value} for value in (1.0, 2.0, 3.0, 4.0)]
    found = Estimate.over(runs, "x")
    half = 3.1824463 * np.std([1, 2, 3, 4], ddof=1) / 2.0  # t(0.975; 3)
    assert found.mean == 2.5
    assert found.interval == pytest.approx((2.5 - half, 2.5 + half))


def test_videos_are_averaged_before_the_interval_over_replicates() -> None:
    """Four replicates of two videos that differ a lot: what is the same in all replicates is no scatter."""
    runs = [
        {"x": base + plus, "realisation": replicate}
        for replicate, plus in enumerate((0.0, 0.01, 0.02, 0.03))
        for base in (0.2, 0.8)
    ]
    found = Estimate.over(runs, "x")
    half = 3.1824463 * np.std([0.0, 0.01, 0.02, 0.03], ddof=1) / 2.0
    assert found.mean == pytest.approx(0.515)
    assert found.interval == pytest.approx((0.515 - half, 0.515 + half))


def test_a_single_replicate_of_several_videos_says_how_far_they_lie_apart() -> None:
    runs = [{"x": value, "realisation": (None,)} for value in (0.2, 0.4, 0.6, 0.8)]
    half = 3.1824463 * np.std([0.2, 0.4, 0.6, 0.8], ddof=1) / 2.0
    assert Estimate.over(runs, "x").interval == pytest.approx((0.5 - half, 0.5 + half))


def test_of_one_run_the_interval_is_that_from_within_it() -> None:
    run = {"latency_mean_s": 0.05, "latency_mean_low_s": 0.04, "latency_mean_high_s": 0.07}
    assert Estimate.over([run], "latency_mean_s").bars(1e3) == [[pytest.approx(10.0)], [pytest.approx(20.0)]]
    assert Estimate.over([{"latency_mean_s": 0.05}], "latency_mean_s").text(1e3, 1) == "50.0"


Results = Callable[..., Path]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    def write(jobs: list[tuple[list[str], dict[str, object]]]) -> Path:
        """A sweep's folder with the given overrides and summaries."""
        for number, (overrides, summary) in enumerate(jobs):
            job = tmp_path / str(number)
            (job / ".hydra").mkdir(parents=True)
            (job / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
            (job / ".hydra" / "config.yaml").write_text(yaml.safe_dump({"system": {}}))
            filled = {
                "status": "completed",
                "system": "full_offload",
                "accuracy_ruler": "measured",
                "frames_captured": 100,
                "frames_completed": 100,
                "uplink_opportunistic_bytes": 0,
                **summary,
            }
            (job / "summary.json").write_text(json.dumps(filled))
        return tmp_path

    return write


def _job(
    quality: int, replicate: int, accuracy: float, **more: object
) -> tuple[list[str], dict[str, object]]:
    overrides = ["system=full_offload", f"payload.quality={quality}", f"replicate={replicate}"]
    summary: dict[str, object] = {
        "accuracy_mean": accuracy,
        "latency_mean_s": 0.001 * quality,
        "uplink_bytes": 100_000 * quality,
        **more,
    }
    return overrides, summary


def test_replicates_are_one_point_and_settings_are_several(results: Results) -> None:
    folder = results([_job(50, 0, 0.8), _job(50, 1, 0.9), _job(85, 0, 0.95), _job(85, 1, 0.97)])
    found = points([folder])
    assert [(point.setting, point.runs) for point in found] == [
        ("payload.quality=50", 2),
        ("payload.quality=85", 2),
    ]
    assert [point.accuracy.mean for point in found] == pytest.approx([0.85, 0.96])
    assert found[0].frame_bytes.mean == 50_000
    assert [point.replicates for point in found] == [2, 2]
    assert found[0].answered == 1.0


def test_a_run_counts_once_however_often_its_folder_is_named(results: Results) -> None:
    folder = results([_job(50, 0, 0.8), _job(50, 1, 0.9)])
    assert [point.runs for point in points([folder, folder, folder / "0"])] == [2]


def test_a_seed_that_changes_nothing_is_no_further_observation(results: Results) -> None:
    folder = results([_job(50, replicate, 0.8) for replicate in range(3)] + [_job(85, 0, 0.8)])
    for number, content in enumerate((b"same", b"same", b"other", b"same")):
        (folder / str(number) / "frames.parquet").write_bytes(content)
    assert [(point.setting, point.runs) for point in points([folder])] == [
        ("payload.quality=50", 2),
        ("payload.quality=85", 1),
    ]


def test_opportunistic_bytes_are_bytes(results: Results) -> None:
    folder = results([_job(50, 0, 0.8, uplink_opportunistic_bytes=1_000_000)])
    assert points([folder])[0].frame_bytes.mean == 60_000


def test_accuracies_by_different_rulers_are_not_compared(results: Results) -> None:
    folder = results([_job(50, 0, 0.8), _job(85, 0, 0.9, accuracy_ruler="coverage")])
    with pytest.raises(InputError, match=r"one ruler.*coverage and measured"):
        points([folder])


def test_a_folder_without_results_is_refused(results: Results) -> None:
    folder = results([_job(50, 0, 0.8, status="failed")])
    with pytest.raises(InputError, match="completed runs with results, found none"):
        points([folder])


def test_the_picture_and_the_table_name_the_points(results: Results, tmp_path: Path) -> None:
    folder = results([_job(50, 0, 0.8), _job(85, 0, 0.7), _job(95, 0, 0.9, uplink_bytes=0)])
    target = tmp_path / "frontier.svg"
    found = draw_frontier([folder], target)
    assert "<svg" in target.read_text()
    lines = frontier_table(found).splitlines()
    assert lines[2].endswith("latency bytes")
    assert lines[3].split()[-1] not in ("latency", "bytes")
    assert lines[4].split()[-1] == "latency"  # and is on no frontier of bytes
