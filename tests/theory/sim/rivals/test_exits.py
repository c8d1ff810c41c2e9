"""Networks that are cut and left early, in the loop: real exits, real features, and the times of a sum."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from kernels.codecs.feature_codec import FeatureCodec, named
from kernels.models.exit_tables import read_exit_tables
from kernels.models.networks.staged import INPUT, load_staged, shares
from profiler.latency import Cut, Layer, load_profile
from sim.command.single_run import run_once
from sim.components.splits import time_shares
from sim.records.summary import RunRecord
from sim.systems.coach.centres import SemanticCentres
from sim.systems.coach.pipelined import bits_of
from sim.systems.spinn.planner import Planner, Rates
from tests.strategies.sim import pixels
from tests.strategies.systems import EDGE
from traces.video.scenes.scene import Scene

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px")
SIDE_PX, FRAMES = 256, 8
FEATURE_BITS = 8


def run(system: str, frames: int = FRAMES, **options: Any) -> RunRecord:
    """A run on frames of a held-out scene, one at a time, codecs for nothing, times without scatter."""
    variant = {"spinn": "progressive", "coach": "pipelined"}[system]
    content = pixels(
        system,
        options={"variant": variant, **options.pop("options", {})},
        video={"kind": "scene", "size_px": SIDE_PX, "seed": 1},
        accuracy={"mode": "measured"},
        frames=frames,
        deterministic=True,
        codec_time="none",
        warmup_s=0.0,
        **options,
    )
    return run_once(content).record


def done(record: RunRecord) -> pd.DataFrame:
    frames = record.frames
    return frames[frames["outcome"] == "completed"]


@cache
def message_bytes(after: str, bits: int) -> dict[int, int]:
    """What features of each frame weigh, without the simulator."""
    scene, staged = Scene(seed=1, frame_count=FRAMES, size_px=SIDE_PX), load_staged()
    sizes = {}
    for index in range(FRAMES):
        image = scene.image(index).astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)
        maps = staged.run({INPUT: torch.from_numpy(image)}, INPUT, after)
        _, features = named({name: tensor[0].numpy() for name, tensor in maps.items()})
        sizes[index] = len(FeatureCodec(bits).encode(features))
    return sizes


# -- spinn ------------------------------------------------------------------------------------------


def test_a_threshold_of_one_on_the_edge_alone_is_the_whole_network() -> None:
    rows = done(run("spinn", options={"after": "head", "threshold": 1.0}))
    assert set(rows["path"]) == {"edge"}
    assert (rows["accuracy"] == 1.0).all()
    assert rows["uplink_bytes"].sum() == 0
    _, heads = shares(load_staged())
    dense_s = load_profile("jetson_xavier_nx", "yolo11m-seg").dense_s
    assert rows["edge_compute_s"].to_numpy() == pytest.approx(dense_s * (1.0 + sum(heads.values())))


@pytest.mark.parametrize("after", ["stem", "stage4", "stage16", "up8"])
def test_a_threshold_of_one_sends_real_features_in_eight_bits_and_changes_little(after: str) -> None:
    record = run(
        "spinn", options={"after": after, "threshold": 1.0, "deadline_s": 30.0}, trace={"mean_mbps": 400.0}
    )
    rows = done(record)
    assert set(rows["path"]) == {"split"}
    assert rows["accuracy"].min() > 0.98
    sizes = message_bytes(after, FEATURE_BITS)
    assert list(rows["uplink_bytes"]) == [sizes[index] for index in rows["frame"]]


@pytest.mark.parametrize("after", ["stage4", "up8", "head"])
def test_a_threshold_of_zero_leaves_by_the_first_exit(after: str) -> None:
    rows = done(run("spinn", options={"after": after, "threshold": 0.0}))
    assert set(rows["path"]) == {"edge"}
    assert rows["uplink_bytes"].sum() == 0
    trunk, heads = shares(load_staged())
    dense_s = load_profile("jetson_xavier_nx", "yolo11m-seg").dense_s
    assert rows["edge_compute_s"].to_numpy() == pytest.approx(dense_s * (trunk["stage4"] + heads["stage4"]))
    assert 0.3 < rows["accuracy"].mean() < 1.0


def test_the_server_leaves_early_as_well() -> None:
    rows = done(run("spinn", options={"after": "input", "threshold": 0.0}))
    assert set(rows["path"]) == {"cloud"}
    trunk, heads = shares(load_staged())
    dense_s = load_profile("rtx_3080", "yolo11m-seg").dense_s
    assert rows["cloud_compute_s"].to_numpy() == pytest.approx(dense_s * (trunk["stage4"] + heads["stage4"]))


@pytest.mark.parametrize(("after", "least_s"), [("stage8", 0.0), ("stem", 0.045)])
def test_a_reply_that_misses_the_deadline_leaves_the_edges_answer(after: str, least_s: float) -> None:
    """A link that is down: the exit before the cut answers at the deadline, or the first one soon after."""
    options = {"after": after, "threshold": 1.0, "deadline_s": 0.3}
    rows = done(run("spinn", options=options, link={"outages_s": [[0.0, 1000.0]]}))
    assert len(rows) > 0
    assert set(rows["path"]) == {"edge"}
    assert rows["latency_s"].min() >= 0.3 + least_s - 1e-9
    if least_s == 0.0:
        assert rows["latency_s"].to_numpy() == pytest.approx(0.3)
    assert rows["accuracy"].mean() > 0.3
    assert (rows["accuracy"] < 1.0).any()


def planner(floor: float, thresholds: tuple[float, ...] | None = None) -> Planner:
    trunk, heads = shares(load_staged())
    tables = read_exit_tables()
    staged = load_staged()
    sizes = staged.elements(640, 640)
    cuts = [Cut(name, 1, sum(sizes[live] for live in staged.live_after(name)), trunk[name]) for name in trunk]
    return Planner(cuts, trunk, trunk, heads, tables, tuple(trunk), thresholds, 8, floor, 100e3)


def rates(uplink_bps: float, edge_s: float = 0.2, cloud_s: float = 0.01) -> Rates:
    none = dict.fromkeys(shares(load_staged())[0], 0.0)
    return Rates(edge_s, cloud_s, 0.0, uplink_bps, 0.05, none, none)


def test_the_best_pair_is_the_fastest_that_keeps_the_floor() -> None:
    made, given = planner(0.9), rates(30e6)
    best = made.choose(given)
    every = [made.expect(after, left, given) for after in made.candidates for left in made._left]
    assert best in every
    assert best.accuracy >= 0.9
    assert best.latency_s == min(pair.latency_s for pair in every if pair.accuracy >= 0.9)


def test_a_fast_link_sends_frames_and_a_slow_one_stays_at_home() -> None:
    made = planner(1.0)
    assert made.choose(rates(1e9)).after == "input"
    assert made.choose(rates(1e5)).after == "head"
    assert made.choose(rates(1e9)).threshold == 1.0


def test_expectation_by_hand() -> None:
    """Cut after stage4, never left early: front, its head, the message and the rear with its heads."""
    made = planner(0.9, (1.0,))
    found = made.expect("stage4", made._left[0], rates(40e6))
    trunk, heads = shares(load_staged())
    front_s = (trunk["stage4"] + heads["stage4"]) * 0.2
    rear_s = (1.0 - trunk["stage4"] + heads["stage8"] + heads["stage16"]) * 0.01
    sent_s = 8 * made.size_bytes["stage4"] / 40e6 + 0.05
    assert found.latency_s == pytest.approx(front_s + sent_s + rear_s)
    assert found.accuracy == read_exit_tables().precision["stage4"][8].agreement


def test_what_was_measured_moves_what_is_expected() -> None:
    made, given = planner(0.9, (1.0,)), rates(40e6)
    before = made.expect("stage4", made._left[0], given).latency_s
    made.answered(1.0, 0.5)
    assert made.expect("stage4", made._left[0], given).latency_s == pytest.approx(before + 0.1)
    made.stayed()
    assert made.beyond_s == pytest.approx(0.098)
    made.computed(0.3, 0.2)
    assert made.edge_ratio == pytest.approx(1.1)


# -- coach ------------------------------------------------------------------------------------------


def test_a_gap_of_two_never_leaves_early_and_is_the_quantised_network() -> None:
    rows = done(run("coach", options={"separability": 2.0, "min_bits": 8}, trace={"mean_mbps": 400.0}))
    assert set(rows["path"]) == {"split"}
    assert rows["accuracy"].min() > 0.98
    sizes = message_bytes("stage4", 8)
    assert list(rows["uplink_bytes"]) == [sizes[index] for index in rows["frame"]]


def test_a_gap_of_zero_leaves_early_once_centres_are_known() -> None:
    rows = done(run("coach", options={"separability": 0.0}, frames=12, in_flight=1))
    assert rows["path"].iloc[0] == "split"
    assert set(rows["path"].iloc[1:]) == {"edge"}
    assert rows["uplink_bytes"].iloc[1:].sum() == 0


def test_frames_overlap_in_the_pipeline_and_none_is_lost() -> None:
    one, four = (
        run("coach", options={"separability": 2.0}, frames=24, in_flight=in_flight) for in_flight in (1, 4)
    )
    assert four.summary["frames_completed"] > one.summary["frames_completed"]
    for summary in (one.summary, four.summary):
        accounted = sum(summary[f"frames_{kind}"] for kind in ("completed", "replaced", "dropped"))
        assert summary["frames_captured"] == accounted == 24
    done_s = done(four)
    overlaps = done_s["started_s"].to_numpy()[1:] < done_s["completed_s"].to_numpy()[:-1]
    assert overlaps.any()


def test_fewer_bits_where_a_frame_is_separable_or_the_link_slow() -> None:
    weigh = {bits: 1e6 * one.bytes_per_value for bits, one in read_exit_tables().precision["stage4"].items()}

    def bits(near: float, bandwidth_bps: float) -> int:
        return bits_of(near, 4, 8, weigh.__getitem__, bandwidth_bps, 0.05)

    assert [bits(near, 1e9) for near in (0.0, 0.25, 0.5, 1.0)] == [8, 7, 6, 4]
    assert [bits(near, (8 * weigh[6] + 1.0) / 0.05) for near in (0.0, 0.25, 0.5, 1.0)] == [6, 6, 6, 4]
    assert [bits(near, 0.0) for near in (0.0, 1.0)] == [4, 4]


def test_separability_is_the_gap_between_the_two_nearest_centres() -> None:
    centres = SemanticCentres(3)
    assert centres.separability(np.ones((2, 1, 1), np.float32)) == 0.0
    embedding = np.array([[[1.0, 0.0]], [[0.0, 2.0]]], np.float32)
    centres.learn(embedding, np.array([[0, 1]], np.uint8))
    assert centres.separability(np.array([[[0.0]], [[5.0]]], np.float32)) == pytest.approx(1.0)
    assert centres.separability(np.array([[[1.0]], [[2.0]]], np.float32)) == pytest.approx(1.0 / 5**0.5)
    # Nothing but background; and background beside an object does not count.
    assert centres.separability(np.array([[[3.0]], [[1.0]]], np.float32)) == 2.0
    assert centres.separability(np.array([[[9.0, 1.0]], [[0.0, 2.0]]], np.float32)) == pytest.approx(5**-0.5)


def test_centres_are_means_of_directions_and_follow_what_comes() -> None:
    centres = SemanticCentres(2)
    for angle in (0.0, np.pi / 2):
        step = np.array([[[np.cos(angle)]], [[np.sin(angle)]]], np.float32)
        centres.learn(step, np.array([[1]], np.uint8))
    assert centres._centres[1] == pytest.approx([0.5, 0.5], abs=1e-6)
    for _ in range(100):
        centres.learn(np.array([[[0.0]], [[1.0]]], np.float32), np.array([[1]], np.uint8))
    assert centres._centres[1] == pytest.approx([0.0, 1.0], abs=1e-3)


# -- times of parts ---------------------------------------------------------------------------------


def test_parts_take_measured_times_where_the_profile_is_of_the_network_that_runs() -> None:
    cuts = (Cut("input", 1, 1, 0.0), Cut("a", 1, 1, 0.2), Cut("b", 1, 1, 0.7), Cut("c", 1, 1, 1.0))
    names = (("a.0", 1.0), ("a.1", 2.0), ("b", 3.0), ("upsample", 1.0), ("c.0", 3.0))
    layers = tuple(Layer(name, seconds, 1) for name, seconds in names)
    timed = replace(EDGE, layers=layers)
    assert time_shares(cuts, timed) == pytest.approx({"input": 0.0, "a": 0.3, "b": 0.6, "c": 1.0})
    assert time_shares(cuts, EDGE) == {cut.after: cut.arithmetic_share for cut in cuts}


def test_the_default_networks_profile_has_times_for_all_of_its_stages() -> None:
    trunk, _ = shares(load_staged())
    cuts = tuple(Cut(name, 1, 1, share) for name, share in trunk.items())
    found = time_shares(cuts, load_profile("epyc_zen5_1thread", "default"))
    assert list(found.values()) == sorted(found.values())
    assert found["head"] == 1.0
    assert found["stem"] > 1.5 * trunk["stem"]  # bound by memory
