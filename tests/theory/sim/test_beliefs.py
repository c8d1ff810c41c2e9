"""What was believed when a path was chosen: true where nothing is uncertain, null where nobody believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import Outcome
from sim.assembly import assemble
from sim.command.single_run import run_once
from sim.configuration import read_config
from sim.records.calibration import latency_prediction_errors_s
from sim.schedulers import (
    DEFAULT_DECAY_PER_S,
    EffectiveAccuracyScheduler,
    ExecutionPath,
    LatencyScheduler,
    Observation,
    OracleScheduler,
    PathCost,
)
from tests.strategies.sim import run, statistical
from tests.theory.sim.schedulers.test_decisions import observation

CERTAIN = {
    "deterministic": True,
    "payload": {"codec": "raw"},
    "options": {"refresh_edge": False, "refresh_cloud": False, "opportunistic": False},
}
COLUMNS = [
    "decided_path",
    "decided_active_blocks",
    "decided_blocks",
    "predicted_latency_s",
    "predicted_ea",
    "predicted_other_latency_s",
    "predicted_other_ea",
]
SCHEDULERS = (EffectiveAccuracyScheduler(), LatencyScheduler(), OracleScheduler())


@given(st.integers(0, 2**31), st.integers(0, 1600), st.sampled_from(SCHEDULERS), st.integers(0, 400))
def test_what_is_expected_of_the_other_path_is_what_would_be_decided_there(
    seed: int, active: int, scheduler: Any, dirty: int
) -> None:
    case = observation(seed, active, dirty=dirty)
    decision = scheduler.decide(case)
    alone: dict[ExecutionPath, Observation] = {
        ExecutionPath.EDGE: case._replace(cloud=None),
        ExecutionPath.CLOUD: case._replace(edge=None),
    }
    (other,) = set(ExecutionPath) - {decision.path}
    there, here = scheduler.decide(alone[other]), scheduler.decide(alone[decision.path])
    assert decision.other_latency_s == pytest.approx(there.predicted_latency_s, rel=1e-12)
    assert decision.other_ea == pytest.approx(there.predicted_ea, rel=1e-9, abs=1e-300)
    assert (decision.k, decision.predicted_latency_s) == (here.k, here.predicted_latency_s)
    assert np.isnan([here.other_latency_s, here.other_ea, there.other_latency_s, there.other_ea]).all()


@pytest.mark.parametrize("scheduler", SCHEDULERS[:2], ids=["ea", "latency"])
def test_a_path_that_never_answers_is_worth_nothing(scheduler: Any) -> None:
    case = observation(1, 300)
    assert isinstance(case.cloud, PathCost)
    decision = scheduler.decide(case._replace(cloud=case.cloud._replace(wait_s=np.inf)))
    assert decision.path is ExecutionPath.EDGE
    assert (decision.other_latency_s, decision.other_ea) == (np.inf, 0.0)


def test_on_the_edge_a_certain_prediction_comes_true() -> None:
    """Nothing runs beside, no scatter: search, backlog and T(k) are all that there is."""
    frames = run(statistical(**CERTAIN, trace={"mean_mbps": 0.5}, frames=120)).frames
    done = frames[(frames["outcome"] == "completed") & (frames["decided_path"] == "edge")]
    assert len(done) > 20
    assert done["predicted_latency_s"].to_numpy() == pytest.approx(done["latency_s"].to_numpy(), abs=1e-9)
    share = done["blocks_processed"] / done["blocks_active_edge"]
    expected = share * np.exp(-DEFAULT_DECAY_PER_S * done["latency_s"])
    assert done["predicted_ea"].to_numpy() == pytest.approx(expected.to_numpy(dtype=float), rel=1e-6)
    assert (done["decided_active_blocks"] == done["blocks_active_edge"]).all()
    assert (done["decided_blocks"] == done["blocks_processed"]).all()


def test_with_an_oracle_the_cloud_comes_true_but_for_the_size_of_a_message() -> None:
    content = statistical(**CERTAIN, trace={"mean_mbps": 60.0}, scheduler={"name": "oracle"}, frames=120)
    frames = run(content).frames
    done = frames[(frames["outcome"] == "completed") & (frames["decided_path"] == "cloud")]
    assert len(done) > 20
    error_s = (done["predicted_latency_s"] - done["latency_s"]).abs()
    # Raw blocks have one size; what goes with them is learnt.
    assert error_s.median() < 0.001


@pytest.mark.parametrize("in_flight", [1, None])
@pytest.mark.parametrize(("codec", "rate_mbps"), [("jpeg", 20), ("raw", 60)])
def test_on_a_constant_link_predictions_of_the_cloud_have_no_bias(
    codec: str, rate_mbps: int, in_flight: int | None, tmp_path: Path
) -> None:
    """Encoding, decoding, the reply's bytes and messages still on their way are expected, too.

    What a message will take is not known: single frames are off by as much as messages differ.
    """
    link = tmp_path / "link.csv"
    link.write_text(f"time_s,rate_mbps\n0,{rate_mbps}\n100,{rate_mbps}\n")
    content = statistical(
        **{**CERTAIN, "payload": {"codec": codec}},
        trace={"path": str(link)},
        in_flight=in_flight,
        frames=400,
    )
    frames = run(content).frames
    done = frames[(frames["outcome"] == "completed") & (frames["decided_path"] == "cloud")]
    assert len(done) > 50
    error_s = (done["predicted_latency_s"] - done["latency_s"]).to_numpy()
    assert np.abs(error_s[1:6]).max() < 0.005  # learnt from the first message
    noise_s = error_s[10:].std() / np.sqrt(len(error_s) - 10)
    # A block that is encoded while earlier messages leave is counted twice: too late, never too early.
    late_s = 0.0001 if in_flight == 1 else 0.0005
    assert -0.0001 - 3.0 * noise_s < error_s[10:].mean() < late_s + 3.0 * noise_s
    assert np.abs(error_s[10:]).mean() < 0.002


def test_a_decision_that_fails_is_told_from_the_path_taken() -> None:
    """The link dies: the first frames after that go to the cloud in vain, and say so."""
    content = statistical(
        trace={"mean_mbps": 60.0}, link={"outages_s": [(1.0, 3.0)]}, options={"patience_s": 0.2}, frames=90
    )
    frames = run(content).frames
    failed = frames[(frames["path"] == "edge") & (frames["decided_path"] == "cloud")]
    assert len(failed) > 0
    assert (failed["blocks_sent"] == failed["decided_blocks"]).all()  # in vain
    assert (failed["latency_s"] - failed["predicted_latency_s"] > 0.15).all()


@pytest.mark.parametrize(
    ("system", "options"),
    [("full_offload", {}), ("edge_only", {}), ("spinn", {}), ("coach", {"variant": "split"})],
)
def test_a_system_that_decides_nothing_believes_nothing(system: str, options: dict[str, Any]) -> None:
    done = run_once(statistical(system, options=options))
    assert done.record.frames[COLUMNS].isna().all(axis=None)
    for key in ("latency_prediction_error_mean_s", "latency_prediction_error_abs_mean_s"):
        assert done.record.summary[key] is None


def test_the_summary_says_how_well_predictions_did() -> None:
    record = run_once(statistical(frames=120)).record
    frames = record.frames
    done = frames[(frames["outcome"] == "completed") & frames["predicted_latency_s"].notna()]
    done = done[done["captured_s"] >= record.summary["warmup_s"]]
    assert len(done) > 30
    error_s = (done["predicted_latency_s"] - done["latency_s"]).to_numpy()
    assert record.summary["latency_prediction_error_mean_s"] == pytest.approx(error_s.mean())
    assert record.summary["latency_prediction_error_abs_mean_s"] == pytest.approx(np.abs(error_s).mean())


def test_errors_that_cancel_are_seen() -> None:
    table = pd.DataFrame({"predicted_latency_s": [0.1, 0.3, np.nan], "latency_s": [0.2, 0.2, 9.0]})
    assert latency_prediction_errors_s(table) == pytest.approx((0.0, 0.1))
    assert latency_prediction_errors_s(table[2:]) == (None, None)


class Announces:
    """A system of one's own that says what it decides, and of one path only."""

    works_without_pixels = True

    def __init__(self) -> None:
        self.path = "edge"

    def process(self, frame: Any, world: Any) -> Any:
        world.decided(self.path, 7, 3, latency_s=0.25)
        yield world.work_edge(0.2)
        return Outcome("edge", 7, 3, 4)


def test_any_system_may_say_what_it_decides() -> None:
    assembly = assemble(read_config(statistical("edge_only", arrival={"policy": "closed_loop"}, frames=5)))
    for camera in assembly.simulation.cameras:
        camera.system = Announces()
    frames = assembly.simulation.run().table.to_frame(assembly.metric)
    assert (frames["decided_path"] == "edge").all()
    assert frames["decided_active_blocks"].tolist() == [7] * 5
    assert frames["decided_blocks"].tolist() == [3] * 5
    assert frames["predicted_latency_s"].tolist() == [0.25] * 5
    unknown = ["predicted_ea", "predicted_other_latency_s", "predicted_other_ea", "blocks_sent"]
    assert frames[unknown].isna().all(axis=None)


@pytest.mark.parametrize(
    ("system", "computed", "sent"),
    [("full_offload", 1600, 1600), ("edge_only", 1600, 0), ("spinn", 1600, None)],
)
def test_what_is_computed_and_what_is_sent_are_two_things(
    system: str, computed: int, sent: int | None
) -> None:
    frames = run(statistical(system)).frames
    done = frames[frames["outcome"] == "completed"]
    assert set(done["blocks_computed"]) == {computed}
    assert done["blocks_sent"].isna().all() if sent is None else set(done["blocks_sent"]) == {sent}
    assert (
        frames.loc[frames["outcome"] == "replaced", ["blocks_computed", "blocks_sent"]].isna().all(axis=None)
    )


def test_dirty_blocks_are_computed_and_not_sent() -> None:
    """Without the server's refresh, opportunistic blocks stay dirty until an offload computes them."""
    content = statistical(
        options={"refresh_cloud": False},
        payload={"codec": "raw"},
        trace={"mean_mbps": 25.0, "duration_s": 5.0, "seed": 2},
        scheduler={"name": "latency"},
        cameras=2,
        frames=300,
    )
    frames = run(content).frames
    cloud = frames[(frames["path"] == "cloud") & (frames["decided_path"] == "cloud")]
    assert (cloud["blocks_sent"] == cloud["blocks_processed"]).all()
    assert (cloud["blocks_computed"] >= cloud["blocks_sent"]).all()
    assert (cloud["blocks_computed"] > cloud["blocks_sent"]).any()
    edge = frames[(frames["path"] == "edge") & (frames["decided_path"] == "edge")]
    assert (edge["blocks_sent"] == 0).all()
    dense = (
        edge["blocks_computed"] == frames["blocks_computed"].max()
    )  # while it has no state, and to renew it
    assert (edge["blocks_computed"] == edge["blocks_processed"])[~dense].all()
    assert 0.0 < dense.mean() < 0.2
