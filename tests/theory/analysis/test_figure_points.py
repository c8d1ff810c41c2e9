"""What a figure shows is what the summaries say: means, intervals, distributions, fronts."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.figures.plot.frames import MOST_STEPS, SHARE, cdf_table, composition_table
from analysis.figures.plot.points import FRONT, pareto_table, point_table
from analysis.figures.plot.quantities import axis_of, higher_is_better
from analysis.figures.plot.request import parse
from analysis.figures.plot.runs import Runs, read_runs
from analysis.replicates import counted_frames, latencies, pooled_rows
from analysis.results import run_rows
from analysis.settings import settings, split_overrides
from sim.records.intervals import interval_keys
from tests.strategies.figures import SWEEP, X, copied, runs_of

QUANTITIES = (
    "ea_mean",
    "latency_mean_s",
    "latency_p50_s",
    "latency_p99_s",
    "uplink_bps_mean",
    "offload_ratio",
)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_means_and_intervals_are_those_of_pooled_replicates(quantity: str) -> None:
    """The same numbers as in pooled.csv and in the table that a sweep ends with, to the last bit."""
    request = parse([str(SWEEP), X, f"y={quantity}"], "plot")
    found = point_table(read_runs(request), request)
    pooled = pooled_rows(run_rows(SWEEP), SWEEP)
    assert len(found) == len(pooled) == 4
    for row in pooled:
        given = settings(split_overrides(row["overrides"]))
        at = float(given[X[2:]])
        (point,) = found[(found["system"] == row["system"]) & (found[X[2:]] == at)].to_dict("records")
        for key in (quantity, *interval_keys(quantity)):
            expected = row[key]
            assert point[key] == expected if expected is not None else pd.isna(point[key])
        assert point["replicates"] == 3


def test_a_single_run_has_its_own_value_and_interval() -> None:
    request = parse([str(SWEEP / "0"), "kind=bars", "y=latency_mean_s"], "plot")
    (point,) = point_table(read_runs(request), request).to_dict("records")
    summary = json.loads((SWEEP / "0" / "summary.json").read_text())
    assert point["latency_mean_s"] == summary["latency_mean_s"]
    assert summary["latency_mean_low_s"] is None
    assert pd.isna(point["latency_mean_low_s"])


@pytest.mark.parametrize("column", ["edge_compute_s", "blocks_computed"])
def test_a_number_of_frames_is_drawn_as_its_mean_over_the_results_that_count(column: str) -> None:
    request = parse([str(SWEEP), "kind=bars", X, f"y={column}"], "plot")
    found = point_table(read_runs(request), request)
    for system, at in itertools.product(("fluxshard_ea", "full_offload"), (1.0, 16.0)):
        means = []
        for row in run_rows(SWEEP):
            given = settings(split_overrides(row["overrides"]))
            if row["system"] == system and float(given[X[2:]]) == at:
                frames = counted_frames(SWEEP / row["folder"], ["captured_s", "outcome", column])
                means.append(frames.loc[frames["outcome"] == "completed", column].mean())
        assert len(means) == 3
        (point,) = found[(found["system"] == system) & (found[X[2:]] == at)].to_dict("records")
        assert point[column] == pytest.approx(np.mean(means), rel=1e-12)


def test_what_was_shown_at_each_capture_is_drawn_as_its_mean_over_all_captured_frames(tmp_path: Path) -> None:
    """Frames that gave no result are those at which it is worst: as in `streaming_accuracy_mean`."""
    folder = copied(tmp_path / "sweep", 1) / "0"
    frames = pd.read_parquet(folder / "frames.parquet")
    frames["outcome"] = np.where(frames.index % 3 == 0, "replaced", "completed")
    frames["streaming_accuracy"] = np.linspace(0.0, 1.0, len(frames)) ** 2
    frames.to_parquet(folder / "frames.parquet")
    request = parse([str(folder), "kind=bars", "y=streaming_accuracy"], "plot")
    (point,) = point_table(read_runs(request), request).to_dict("records")
    warmup_s = json.loads((folder / "summary.json").read_text())["warmup_s"]
    counted = frames[frames["captured_s"] >= warmup_s]
    assert point["streaming_accuracy"] == pytest.approx(counted["streaming_accuracy"].mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("key", "value", "correlation_s"),
    [
        ("uplink_bytes", 0, 0.0),
        ("uplink_bytes", 1500, 4.7),
        ("uplink_opportunistic_bytes", 1500, 4.7),
        ("latency_prediction_error_abs_mean_s", 0.01, 4.7),
    ],
)
def test_latencies_depend_on_the_network_where_a_run_has_used_or_asked_it(
    tmp_path: Path, key: str, value: float, correlation_s: float
) -> None:
    """Opportunistic bytes count, and so does a decision to send nothing: quantiles would have intervals that
    are too narrow by the network's memory."""
    folder = copied(tmp_path / "sweep", 1) / "0"
    idle = {
        "link_correlation_s": 4.7,
        "uplink_bytes": 0,
        "uplink_opportunistic_bytes": 0,
        "latency_prediction_error_abs_mean_s": None,
    }
    summary = {**json.loads((folder / "summary.json").read_text()), **idle, key: value}
    (folder / "summary.json").write_text(json.dumps(summary))
    assert latencies(folder).correlation_s == correlation_s


def test_a_distribution_rises_to_one_and_counts_what_is_below() -> None:
    request = parse([str(SWEEP), "kind=cdf", "where=scheduler.lambda_per_s=16"], "plot")
    table = cdf_table(read_runs(request), request)
    for system, own in table.groupby("system"):
        folders = [
            SWEEP / row["folder"]
            for row in run_rows(SWEEP)
            if row["system"] == system and "scheduler.lambda_per_s=16" in row["overrides"]
        ]
        pooled = np.concatenate(
            [counted_frames(one, ["captured_s", "latency_s"])["latency_s"].dropna() for one in folders]
        )
        assert len(folders) == 3
        assert own[SHARE].iloc[-1] == 1.0
        assert (np.diff(own[SHARE]) > 0).all()
        assert (np.diff(own["latency_s"]) >= 0).all()
        assert own["latency_s"].iloc[[0, -1]].tolist() == [pooled.min(), pooled.max()]
        # A step ends at its highest share; the last of equal values has it.
        last = own.groupby("latency_s")[SHARE].max()
        assert last.to_dict() == {value: np.mean(pooled <= value) for value in last.index}


def test_the_stages_of_a_composition_add_up_to_the_latency() -> None:
    request = parse([str(SWEEP), "kind=composition", X], "plot")
    table = composition_table(read_runs(request), request)
    latency = point_table(read_runs(request), parse([str(SWEEP), X, "y=latency_mean_s"], "plot"))
    for _, point in latency.iterrows():
        own = table[(table["system"] == point["system"]) & (table[X[2:]] == point[X[2:]])]
        assert own["mean_s"].sum() == pytest.approx(point["latency_mean_s"], rel=1e-9)
        assert (own["low_s"] <= own["mean_s"]).all()


VALUES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


@given(VALUES, st.sampled_from(["latency_mean_s", "accuracy_mean"]))
def test_the_front_is_what_nothing_beats(values: list[tuple[int, int]], x: str) -> None:
    """Against brute force, whether less or more of the quantity along x is better."""
    base = runs_of()
    first = base.table.iloc[[0]]
    table = pd.concat([first] * len(values), ignore_index=True)
    table = table.assign(**{x: [float(a) for a, _ in values], "ea_mean": [float(b) for _, b in values]})
    table["setting"] = range(len(values))
    table["overrides"] = [f"setting={number}" for number in range(len(values))]
    request = parse([str(SWEEP), "kind=pareto", f"x={x}", "y=ea_mean", "by=system"], "plot")
    found = pareto_table(Runs(table, ("setting",), 0), request)
    sign = -1.0 if higher_is_better(x) else 1.0
    points = [(sign * a, b) for a, b in values]

    def beaten(point: tuple[float, float]) -> bool:
        return any(a <= point[0] and b >= point[1] and (a, b) != point for a, b in points)

    on_front = {point for point, front in zip(points, found[FRONT], strict=True) if front}
    assert on_front == {point for point in points if not beaten(point)}


def test_a_point_averages_over_what_it_is_asked_to_and_nothing_else() -> None:
    """over= takes the mean within each replicate, so that the interval is over replicates alone."""
    request = parse([str(SWEEP), "kind=bars", "y=ea_mean", "over=scheduler.lambda_per_s"], "plot")
    found = point_table(read_runs(request), request)
    rows = run_rows(SWEEP)
    for _, point in found.iterrows():
        own = [row for row in rows if row["system"] == point["system"]]
        means = [
            np.mean([row["ea_mean"] for row in own if f"replicate={number}" in row["overrides"].split()])
            for number in range(3)
        ]
        assert point["ea_mean"] == pytest.approx(np.mean(means))
        half = 4.30265273 * np.std(means, ddof=1) / np.sqrt(3)  # t(0.975; 2)
        assert point["ea_mean_high"] - point["ea_mean"] == pytest.approx(half)
        assert (point["replicates"], point["runs"]) == (3, 6)


def test_several_sweeps_are_told_apart_by_their_names() -> None:
    request = parse([str(SWEEP / "0"), str(SWEEP / "6"), "kind=bars", "y=ea_mean", "by=sweep"], "plot")
    found = point_table(read_runs(request), request)
    assert found["sweep"].tolist() == ["0", "6"]


def test_a_long_distribution_keeps_its_ends_and_its_shares(tmp_path: Path) -> None:
    folder = copied(tmp_path / "sweep", 1)
    frames = pd.read_parquet(folder / "0" / "frames.parquet")
    many = pd.concat([frames] * (7 * MOST_STEPS // len(frames)), ignore_index=True).assign(captured_s=9.0)
    values = np.random.default_rng(5).exponential(size=len(many))
    many.assign(latency_s=values).to_parquet(folder / "0" / "frames.parquet")
    request = parse([str(folder), "kind=cdf"], "plot")
    table = cdf_table(read_runs(request), request)
    assert len(table) == MOST_STEPS
    assert table["latency_s"].iloc[[0, -1]].tolist() == [values.min(), values.max()]
    for _, step in table.iloc[::97].iterrows():
        assert step[SHARE] == np.mean(values <= step["latency_s"])


@pytest.mark.parametrize(
    ("key", "label", "shown"),
    [
        ("latency_mean_s", "latency (ms)", 72.0),
        ("uplink_bps_mean", "uplink (Mbit/s)", 0.000000072),
        ("reuse_ratio_mean", "reused blocks (%)", 7.2),
        ("captured_s", "captured (s)", 0.072),
        ("scheduler.lambda_per_s", "λ (1/s)", 0.072),
        ("something_bytes", "something (kB)", 0.000072),
    ],
)
def test_axes_have_units(key: str, label: str, shown: float) -> None:
    axis = axis_of(key)
    assert axis.label == label
    assert axis.scale * 0.072 == pytest.approx(shown)


def test_more_is_better_of_accuracies_and_less_of_costs() -> None:
    better = ("accuracy_mean", "ea_per_captured", "foreground_iou_mean", "reuse_ratio_mean")
    worse = ("latency_p99_s", "uplink_bytes", "edge_energy_j", "ea_regret_mean")
    assert [higher_is_better(key) for key in itertools.chain(better, worse)] == [True] * 4 + [False] * 4
