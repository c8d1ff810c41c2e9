"""FluxShard's family several frames under way: one image on both ends, every frame's turn, a way back."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.assembly import Assembly, assemble
from sim.components.motion_reuse import MotionReuse
from sim.components.synchronisation import Offload, Synchronisation
from sim.configuration import read_config
from sim.schedulers import Decision, LatencyScheduler, Observation
from tests.conservation.test_sim_frames import check_frames, with_loss
from tests.strategies.sim import Run, outages, pixels, run

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px", "ignore:system.salience", "ignore:scheduler:")

FAMILY = st.one_of(
    st.tuples(
        st.just("fluxshard_ea"),
        st.fixed_dictionaries({"margin_px": st.sampled_from([0, 16]), "dense_fallback": st.booleans()}),
    ),
    st.tuples(
        st.just("fluxshard_remap"),
        st.fixed_dictionaries(
            {
                "margin_px": st.sampled_from([0, 16]),
                "paths": st.sampled_from(["latency", "scheduler"]),
                "proxy": st.sampled_from(["tracked", "tracked", "perfect"]),
                "sparse": st.sampled_from([True, True, False]),
                "opportunistic": st.booleans(),
                "refresh": st.booleans(),
            }
        ),
    ),
)
WORLD = st.fixed_dictionaries(
    {
        "trace": st.fixed_dictionaries(
            {
                "mean_mbps": st.sampled_from([2.0, 20.0, 80.0]),
                "duration_s": st.just(5.0),
                "seed": st.integers(0, 3),
            }
        ),
        "link": st.fixed_dictionaries(
            {
                "sharing": st.sampled_from(["fifo", "fair"]),
                "outages_s": outages(max_ms=1200),
                "delay_s": st.sampled_from([0.002, 0.04]),
            }
        ),
        "server": st.fixed_dictionaries({"crashes_s": outages(max_ms=1200)}),
        "payload": st.fixed_dictionaries({"codec": st.sampled_from(["jpeg", "png"])}),
        "cameras": st.integers(1, 2),
        "in_flight": st.sampled_from([1, 2, 4]),
    }
)


def systems(assembly: Assembly) -> list[MotionReuse]:
    found = [camera.system for camera in assembly.simulation.cameras]
    assert all(isinstance(system, MotionReuse) for system in found)
    return found  # type: ignore[return-value]


def check_both_ends(done: Run) -> None:
    for system in systems(done.assembly):
        assert system.state.synchronised, "outages and crashes are over: the server must be found again"
        if system.server.epoch >= 0:  # -1: a crash that the edge has not heard of, for want of an offload
            assert system.proxy.same_as(system.server.image)
        assert all(epoch != system.server.epoch for epoch, _, _ in system.server._early)


@settings(max_examples=30, deadline=None)
@given(FAMILY, WORLD, st.sampled_from([0.0, 0.2]), st.sampled_from([0.05, 0.3, 1.0]))
def test_both_ends_hold_the_same_image_whichever_member_and_however_many_frames_overlap(
    member: tuple[str, dict[str, Any]], changes: dict[str, Any], loss: float, patience_s: float
) -> None:
    name, options = member
    content = pixels(
        name, options={**options, "patience_s": patience_s}, **with_loss(changes, loss), frames=24
    )
    done = run(content, drain=True)
    check_frames(done, changes["cameras"], 24, done.assembly.metric.blocks_total)
    assert done.assembly.simulation.in_flight <= changes["in_flight"]
    check_both_ends(done)


# -- a lost server while several frames are under way -------------------------------------------------


class CloudFirst:
    """A scheduler that goes to the server wherever there is one, so that frames do overlap."""

    def decide(self, observation: Observation) -> Decision:
        there_is_one = observation.cloud is not None
        return LatencyScheduler().decide(observation._replace(edge=None) if there_is_one else observation)


class Watched(NamedTuple):
    """A run, and when on its clock what happened."""

    done: Run
    given_up: list[tuple[int, float, bool]]  # frame, time, whether edge and server were in step
    began_s: list[float]  # resynchronisations
    waited: list[int]  # frames whose message waited on the server for another one


PATIENCE_S = 0.25


def lose(member: str, monkeypatch: pytest.MonkeyPatch, **faults: Any) -> Watched:
    """Four frames are under way at any time, 33 ms apart, for a tenth of a second each way."""
    given_up: list[tuple[int, float, bool]] = []
    began_s: list[float] = []
    waited: list[int] = []
    give_up, start_over, after = Offload._give_up, Synchronisation.start_over, Offload._after_others

    def giving_up(cloud: Offload, epoch: int, answered: bool, world: Any) -> None:
        given_up.append((world.account.frame, world.now_s, cloud.state.synchronised))
        give_up(cloud, epoch, answered, world)

    def starting(state: Synchronisation, world: Any) -> None:
        assert state.synchronised, "one is under way already"
        began_s.append(world.now_s)
        start_over(state, world)

    def waiting(cloud: Offload, epoch: int, builds_on: int, sent_s: float, world: Any) -> Any:
        waited.append(world.account.frame)
        return after(cloud, epoch, builds_on, sent_s, world)

    content = pixels(
        member,
        options={"patience_s": PATIENCE_S, "opportunistic": False, "margin_px": 0, "dense_fallback": False},
        **{"link": {"delay_s": 0.1}, "frames": 70, **faults},
        trace={"mean_mbps": 60.0, "duration_s": 5.0, "seed": 3},
        in_flight=4,
    )
    assembly = assemble(read_config(content))
    for system in systems(assembly):
        system.scheduler = CloudFirst()
    with monkeypatch.context() as patch:
        patch.setattr(Offload, "_give_up", giving_up)
        patch.setattr(Synchronisation, "start_over", starting)
        patch.setattr(Offload, "_after_others", waiting)
        result = assembly.simulation.run(drain=True)
    frames = result.table.to_frame(assembly.metric, with_regret=True)
    return Watched(Run(assembly, result, frames), given_up, began_s, waited)


def check_recovery(seen: Watched, most_given_up: int) -> None:
    check_frames(seen.done, 1, 70, seen.done.assembly.metric.blocks_total)
    check_both_ends(seen.done)
    (system,) = systems(seen.done.assembly)
    assert system.turns._last is not None
    assert system.turns._last.passed
    assert 1 <= len(seen.given_up) <= most_given_up
    assert [frame for frame, _, _ in seen.given_up] == sorted({frame for frame, _, _ in seen.given_up})
    assert seen.given_up[0][2]  # in step until then; the others may learn of it when all is well again
    assert seen.began_s == [seen.given_up[0][1]]  # once, with the first of them
    frames = seen.done.frames.set_index("frame")
    for frame, given_up_s, _ in seen.given_up:
        row = frames.loc[frame]
        assert given_up_s <= row["uplink_enqueued_s"] + PATIENCE_S + 1e-9
        if row["outcome"] == "completed":
            assert row["path"] == "edge"
    late = frames[(frames["captured_s"] > 1.6) & (frames["outcome"] == "completed")]
    assert len(late) >= 5
    assert (late["path"] == "cloud").all()  # the server has been found again


@pytest.mark.parametrize("member", ["fluxshard_ea", "fluxshard_remap"])
def test_a_server_that_crashes_under_four_frames_is_given_up_once(
    member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = lose(member, monkeypatch, server={"crashes_s": [[0.9, 1.02]]})
    assert len(seen.given_up) == 4
    check_recovery(seen, most_given_up=4)


@pytest.mark.parametrize("member", ["fluxshard_ea", "fluxshard_remap"])
def test_a_link_that_dies_under_several_frames_is_given_up_once(
    member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back before, between and after the frames on it are given up. A message whose predecessor has
    been given up then reaches the server, where it must not wait for ever."""
    waited = []
    for ends_s in (1.05, 1.06, 1.07, 1.08, 1.09, 1.1, 1.2, 1.3):
        seen = lose(member, monkeypatch, link={"delay_s": 0.1, "outages_s": [[0.9, ends_s]]})
        check_recovery(seen, most_given_up=4)
        waited += seen.waited
    assert waited


@pytest.mark.parametrize("member", ["fluxshard_ea", "fluxshard_remap"])
@pytest.mark.parametrize(
    "fault", [{"server": {"crashes_s": [[0.9, 1.02]]}}, {"link": {"delay_s": 0.1, "outages_s": [[0.9, 1.2]]}}]
)
def test_once_the_server_is_found_again_frames_overlap_as_they_did_before(
    member: str, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long a frame waited in vain is no time of any stage: admission has nothing to learn from it."""
    seen = lose(member, monkeypatch, frames=100, **fault)
    frames = seen.done.frames
    answered = frames[(frames["outcome"] == "completed") & (frames["path"] == "cloud")]
    before = answered["captured_s"].between(0.5, 0.8).sum() / 0.3
    after = answered["captured_s"].between(2.0, 3.0).sum() / 1.0
    assert before > 20.0
    assert after > 0.9 * before


def test_of_frames_that_were_given_up_the_newest_is_inferred_on_the_edge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others are as old as the patience, and would keep the edge from newer frames."""
    seen = lose("fluxshard_remap", monkeypatch, link={"delay_s": 0.1, "outages_s": [[0.9, 1.2]]})
    rows = seen.done.frames.set_index("frame").loc[[frame for frame, _, _ in seen.given_up]]
    assert len(rows) >= 2
    assert (rows["outcome"].iloc[:-1] == "dropped").all()
    newest = rows.iloc[-1]
    assert (newest["outcome"], newest["path"]) == ("completed", "edge")
    assert newest["latency_s"] < PATIENCE_S + 0.1


def test_a_run_that_is_cut_short_under_overlapping_frames_ends() -> None:
    content = pixels("fluxshard_remap", in_flight=4, link={"outages_s": [[0.3, 9.0]]})
    assembly = assemble(read_config(content))
    result = assembly.simulation.run(until_s=0.9)
    frames = result.table.to_frame(assembly.metric, with_regret=True)
    assert set(range(27)) <= set(frames["frame"]) <= set(range(28))  # captured by then, each once
    assert frames["frame"].is_unique
