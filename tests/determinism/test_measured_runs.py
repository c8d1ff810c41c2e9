"""Measuring changes nothing but what it adds, and adds the same bytes each time."""

from __future__ import annotations

import weakref
from typing import Any

import pandas as pd
import pytest

from sim.assembly import assemble
from sim.command.single_run import run_once
from sim.configuration import read_config
from sim.records.summary import RunRecord
from tests.strategies.sim import pixels

ADDED = ["measured_accuracy", "measured_ea", "foreground_iou", "streaming_accuracy"]
pytestmark = pytest.mark.filterwarnings("ignore:video.size_px")


def written(system: str, mode: str, dense: float = 1.0, **changes: Any) -> RunRecord:
    """A short run on frames in which there is something to see."""
    video = {"kind": "scene", "size_px": 256, "seed": 1}
    content = pixels(system, video=video, accuracy={"mode": mode, "dense": dense}, frames=14, **changes)
    content["warmup_s"] = 0.0  # means are over all frames
    return run_once(content).record


@pytest.mark.parametrize(
    "system", ["fluxshard_ea", "full_offload", "edge_only", "deltacnn", "spinn", "coach"]
)
def test_every_system_runs_as_it_does_under_coverage(system: str) -> None:
    sized = {} if system == "edge_only" else {"result_bytes": 4096}  # by coverage no result has a size
    covered, measured = (written(system, mode, options=sized) for mode in ("coverage", "measured"))
    ruled = ["accuracy", "ea"]
    beside = [*ADDED, "coverage_accuracy"]
    pd.testing.assert_frame_equal(
        measured.frames.drop(columns=[*beside, *ruled]), covered.frames.drop(columns=ruled)
    )
    coverage = covered.frames["accuracy"].rename("coverage_accuracy")
    pd.testing.assert_series_equal(measured.frames["coverage_accuracy"], coverage)
    added = {*(f"{name}_mean" for name in beside)}
    same = {
        key
        for key in set(covered.summary) - {"network", "config_sha256", "git_sha", "wall_s"}
        if not key.startswith(("streaming_accuracy_", "accuracy_", "ea_"))
    }
    new = set(measured.summary) - set(covered.summary)
    assert added - {"streaming_accuracy_mean"} <= new
    assert all(key.startswith(tuple(beside)) for key in new)
    assert {key: measured.summary[key] for key in same} == {key: covered.summary[key] for key in same}
    assert measured.summary["coverage_accuracy_mean"] == covered.summary["accuracy_mean"]
    assert (covered.summary["network"], measured.summary["network"]) == (None, "default (stand-in)")
    frames = measured.frames
    done = frames["outcome"] == "completed"
    assert frames.loc[done, ADDED].notna().all(axis=None)
    assert frames["measured_accuracy"].isna().equals(~done)
    assert frames["streaming_accuracy"].between(0.0, 1.0).all()
    for name in ADDED[:3]:
        assert measured.summary[f"{name}_mean"] == pytest.approx(frames.loc[done, name].mean())
    assert measured.summary["streaming_accuracy_mean"] == pytest.approx(frames["streaming_accuracy"].mean())


def test_dense_inference_on_the_frame_itself_is_perfect_and_late() -> None:
    for system, options in (("edge_only", {}), ("full_offload", {"codec": "png"}), ("spinn", {})):
        summary = written(system, "measured", options=options).summary
        assert summary["measured_accuracy_mean"] == 1.0
        assert summary["measured_ea_mean"] == summary["ea_mean"]
        assert summary["streaming_accuracy_mean"] < 0.9


def test_two_measured_runs_are_equal() -> None:
    faults = {"server": {"crashes_s": [[0.15, 0.2]]}, "cameras": 2}
    first, second = (written("fluxshard_ea", "measured", **faults).frames for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert first["measured_accuracy"].nunique() > 2


def test_the_next_run_frees_what_the_network_of_this_one_kept() -> None:
    """A sweep in one process: hundreds of megabytes a run, in cycles that nobody else collects."""
    config = read_config(pixels(accuracy={"mode": "measured"}, frames=5))
    assembly = assemble(config)
    assembly.simulation.run()
    assert assembly.evaluator is not None
    kept = weakref.ref(assembly.evaluator.truths[0].steps.inference.executor)  # type: ignore[attr-defined]
    del assembly
    assemble(config)
    assert kept() is None


def test_exact_says_that_it_computes_more_than_latencies_pay_for() -> None:
    """The less a scheduler has computed, the more of the result would be a gift."""
    with pytest.warns(UserWarning, match="accuracy.policy: exact"):
        assemble(read_config(pixels(accuracy={"mode": "measured", "policy": "exact"})))


def test_a_lossy_codec_shows() -> None:
    """Coverage sees blocks that a bad codec changes, and not what a good one costs."""
    fine, coarse = (
        written("full_offload", "measured", options={"codec": "jpeg", "quality": quality}).summary
        for quality in (90, 5)
    )
    assert fine["coverage_accuracy_mean"] == 1.0 > coarse["coverage_accuracy_mean"]
    assert 1.0 > fine["accuracy_mean"] > coarse["accuracy_mean"]


def test_dense_accuracy_scales_both_alike() -> None:
    whole, scaled = (written("edge_only", "measured", dense) for dense in (1.0, 0.8))
    assert scaled.summary["measured_accuracy_mean"] == 0.8 * whole.summary["measured_accuracy_mean"]
    assert scaled.summary["streaming_accuracy_mean"] == pytest.approx(
        0.8 * whole.summary["streaming_accuracy_mean"]
    )


@pytest.mark.parametrize(("system", "variant"), [("spinn", "progressive"), ("coach", "pipelined")])
def test_networks_that_are_left_early_give_the_same_bytes_twice(system: str, variant: str) -> None:
    options = {"variant": variant}
    one, other = (written(system, "measured", options=options).frames for _ in range(2))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
