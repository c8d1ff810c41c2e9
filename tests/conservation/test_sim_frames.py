"""Frames, blocks, time and images of whole runs, under whatever a network and a server may do."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simpy import Environment

from sim.physics.processor import Processor, operators
from sim.systems.fluxshard_ea import FluxShard
from tests.strategies.sim import Run, outages, pixels, run, statistical

CHANGES = st.fixed_dictionaries(
    {
        "trace": st.fixed_dictionaries(
            {
                "mean_mbps": st.sampled_from([0.3, 2.0, 8.0, 60.0]),
                "duration_s": st.just(5.0),
                "seed": st.integers(0, 3),
            }
        ),
        "arrival": st.fixed_dictionaries(
            {
                "policy": st.sampled_from(["periodic", "queue", "closed_loop"]),
                "limit": st.integers(1, 4),
            }
        ),
        "link": st.fixed_dictionaries(
            {
                "sharing": st.sampled_from(["fifo", "fair"]),
                "outages_s": outages(max_ms=1500),
            }
        ),
        "server": st.fixed_dictionaries({"crashes_s": outages(max_ms=1500)}),
        "cameras": st.integers(1, 3),
        "in_flight": st.sampled_from([None, 1, 2, 4]),
        "scheduler": st.fixed_dictionaries({"name": st.sampled_from(["ea", "latency"])}),
    }
)
SYSTEMS = st.one_of(
    st.tuples(
        st.just("fluxshard_ea"),
        st.fixed_dictionaries(
            {
                "patience_s": st.sampled_from([0.02, 0.2, 1.0]),
                "opportunistic": st.booleans(),
                "refresh_cloud": st.booleans(),
                "chunk_blocks": st.sampled_from([16, 64]),
            }
        ),
    ),
    st.tuples(st.just("full_offload"), st.fixed_dictionaries({"codec": st.just("png")})),
    st.tuples(st.sampled_from(["full_offload", "full_offload_h264", "edge_only", "spinn"]), st.just({})),
    st.tuples(st.just("coach"), st.just({"variant": "split"})),
)
PARTS = ["extract_s", "encode_s", "decode_s", "queue_s", "transmit_s", "edge_compute_s", "cloud_compute_s"]


def with_loss(changes: dict[str, Any], loss: float) -> dict[str, Any]:
    sharing = "fifo" if loss else changes["link"]["sharing"]
    return {**changes, "link": {**changes["link"], "loss": loss, "sharing": sharing}}


def check_frames(done: Run, cameras: int, frames: int, total: int) -> None:
    table = done.frames
    assert Counter(table["camera"]) == dict.fromkeys(range(cameras), frames)
    assert not table.duplicated(["camera", "frame"]).any()
    assert table["outcome"].isin(["completed", "replaced", "dropped"]).all()

    through = table[table["completed_s"].notna()]  # those whose result came after a newer one's included
    parts_s = through[PARTS].sum(axis=1)
    assert parts_s.to_numpy() == pytest.approx(through["latency_s"].to_numpy(), abs=1e-8)
    assert (through[PARTS] >= -1e-9).all(axis=None)
    assert (through["captured_s"] <= through["started_s"] + 1e-9).all()
    finished = table[table["outcome"] == "completed"]
    assert set(finished.index) <= set(through.index)
    assert set(through.index) <= set(finished.index) | set(table.index[table["outcome"] == "replaced"])
    assert table.loc[table["outcome"] != "completed", ["path", "accuracy", "ea"]].isna().all(axis=None)
    active = (1 - finished["reuse_ratio"]) * total
    processed = finished["blocks_processed"].astype(float).to_numpy()
    if done.assembly.video_name.endswith("(statistical)"):
        left = (
            finished["blocks_stale"].astype(float).to_numpy()
        )  # of pixels they are counted by another ruler
        assert processed + left == pytest.approx(active.to_numpy(), abs=1e-6)
    assert (processed <= active.to_numpy() + 1e-6).all()
    assert finished["blocks_stale"].between(0, total).all()
    assert finished["reuse_ratio"].between(-1e-12, 1).all()

    bound = done.assembly.simulation.in_flight
    for _, rows in table.groupby("camera"):
        begun = rows[rows["started_s"].notna()]
        began_s, ended_s = begun["started_s"].to_numpy(), np.sort(begun["completed_s"].to_numpy())
        assert (np.diff(began_s) >= 0.0).all()  # in order of capture
        for number, start_s in enumerate(began_s):
            dropped = int((begun["outcome"].iloc[:number] == "dropped").sum())  # nobody says when these ended
            ended = int(np.searchsorted(ended_s, start_s + 1e-9, side="right"))
            assert number + 1 - ended - dropped <= bound
        shown_s = rows.loc[rows["outcome"] == "completed", "completed_s"].to_numpy()
        assert (np.diff(shown_s) >= 0.0).all()  # never an older result after a newer one
    result = done.result
    devices = [
        *zip(result.edge_busy_s, result.edge_background_s, strict=True),
        (result.cloud_busy_s, result.cloud_background_s),
    ]
    for critical_s, background_s in devices:
        assert critical_s >= 0.0
        assert background_s >= 0.0
        assert critical_s + background_s <= result.simulated_s + 1e-9


@settings(max_examples=60)
@given(SYSTEMS, CHANGES, st.sampled_from([0.0, 0.2]))
def test_nothing_is_lost_or_counted_twice(
    system: tuple[str, dict[str, Any]], changes: dict[str, Any], loss: float
) -> None:
    changes = with_loss(changes, loss)
    done = run(statistical(system[0], options=system[1], frames=40, **changes))
    check_frames(done, changes["cameras"], 40, done.assembly.metric.blocks_total)
    assert done.assembly.simulation.in_flight <= (changes["in_flight"] or 4)
    uplink, downlink = done.result.uplink, done.result.downlink
    assert uplink.offered_bytes == done.frames["uplink_bytes"].sum()
    if system[0] != "fluxshard_ea":  # notices that no frame waits for
        assert downlink.offered_bytes == done.frames["downlink_bytes"].sum()


@settings(max_examples=40)
@given(SYSTEMS, CHANGES, st.floats(0.001, 2.0))
def test_a_run_cut_short_has_every_frame_captured_so_far(
    system: tuple[str, dict[str, Any]], changes: dict[str, Any], until_s: float
) -> None:
    done = run(statistical(system[0], options=system[1], frames=40, **changes), until_s=until_s)
    table = done.frames
    if changes["arrival"]["policy"] == "closed_loop":
        assert table.groupby("camera")["frame"].agg(lambda rows: sorted(rows) == list(range(len(rows)))).all()
        return
    cameras = changes["cameras"]
    for camera in range(cameras):
        times_s = (np.arange(40) + camera / cameras) / 30.0
        captured = set(np.flatnonzero(times_s < until_s - 1e-6))
        frames = table[table["camera"] == camera]["frame"]
        assert frames.is_unique
        assert captured <= set(frames) <= captured | set(np.flatnonzero(times_s < until_s + 1e-6))


def remembers(system: FluxShard) -> list[tuple[int, Any]]:
    """Record which image each message of a camera was made against and which it was applied to."""
    seen: list[tuple[int, Any]] = []
    state = system.state
    apply = state.proxy.apply
    match = state.proxy.match
    searched: dict[str, Any] = {}

    def matching(frame: Any, classify: Any = None) -> Any:
        searched["image"] = getattr(state.proxy, "image", None)
        searched["epoch"] = state.epoch
        return match(frame, classify)

    def applying(message: Any) -> int:
        if message.realigned:
            seen.append((message.epoch, getattr(state.proxy, "image", None) is searched.get("image")))
        return apply(message)

    state.proxy = _Spy(state.proxy, matching, applying)
    return seen


class _Spy:
    """A shared image whose match and apply are watched."""

    def __init__(self, inner: Any, match: Any, apply: Any) -> None:
        self._inner, self.match, self.apply = inner, match, apply

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.filterwarnings("ignore:video.size_px")
@settings(max_examples=10)
@given(CHANGES, st.sampled_from([0.0, 0.2]), st.sampled_from([0.05, 1.0]), st.sampled_from([0.025, 0.005]))
def test_both_ends_hold_the_same_image_once_everything_has_arrived(
    changes: dict[str, Any], loss: float, patience_s: float, threshold: float
) -> None:
    changes = with_loss(changes, loss)
    content = pixels(
        options={"patience_s": patience_s}, frames=24, matching={"threshold": threshold}, **changes
    )
    done = run(content, drain=True)
    check_frames(done, changes["cameras"], 24, done.assembly.metric.blocks_total)
    for camera in done.assembly.simulation.cameras:
        system = camera.system
        assert isinstance(system, FluxShard)
        assert system.state.synchronised, "outages and crashes are over: the server must be found again"
        if system.server.epoch >= 0:  # -1: a crash that the edge has not heard of, for want of an offload
            assert system.proxy.same_as(system.server.image)


@pytest.mark.filterwarnings("ignore:video.size_px")
@settings(max_examples=5)
@given(outages(max_ms=1000), st.integers(0, 5))
def test_vectors_belong_to_the_image_they_are_applied_to(
    crashes: list[tuple[float, float]], seed: int
) -> None:
    """Also for a frame that was searched just before the server came back."""
    from sim.assembly import assemble
    from sim.configuration import read_config

    content = pixels(
        options={"patience_s": 0.05},
        server={"crashes_s": crashes},
        trace={"mean_mbps": 20.0, "duration_s": 5.0, "seed": seed},
        link={"outages_s": [[0.3, 0.5]]},
    )
    assembly = assemble(read_config(content))
    system = assembly.simulation.cameras[0].system
    assert isinstance(system, FluxShard)
    seen = remembers(system)
    assembly.simulation.run()
    assert all(same for _, same in seen)


@pytest.mark.parametrize("mean_mbps", [0.3, 2.0, 20.0])
def test_after_a_crash_and_an_outage_frames_go_to_the_server_again(mean_mbps: float) -> None:
    changes = {
        "server": {"crashes_s": [[1.0, 1.5]]},
        "link": {"outages_s": [[2.5, 3.5]]},
        "trace": {"mean_mbps": mean_mbps, "duration_s": 5.0, "seed": 2},
        "frames": 900,
    }
    done = run(statistical(**changes))
    system = done.assembly.simulation.cameras[0].system
    assert isinstance(system, FluxShard)
    assert system.state.synchronised
    late = done.frames[(done.frames["captured_s"] > 4.5) & (done.frames["outcome"] == "completed")]
    assert len(late) > 100
    if mean_mbps >= 20.0:
        assert (late["path"] == "cloud").mean() > 0.5
    during = done.frames[done.frames["captured_s"].between(1.3, 1.45) & (done.frames["path"] == "cloud")]
    assert during.empty


@pytest.mark.parametrize("sharing", ["fair"])
def test_an_uplink_that_is_dead_at_first_is_used_once_it_carries(sharing: str) -> None:
    link = {"outages_s": [[0.0, 1.5]], "sharing": sharing}
    trace = {"mean_mbps": 56.0, "duration_s": 5.0, "seed": 2}
    frames = run(statistical(link=link, trace=trace, frames=150)).frames
    late = frames[(frames["captured_s"] > 3.0) & (frames["outcome"] == "completed")]
    assert (late["path"] == "cloud").mean() > 0.5


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 300)), max_size=20).map(sorted),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 500)), max_size=4).map(sorted),
    st.lists(st.integers(0, 4000), min_size=1, max_size=10).map(sorted),
)
def test_a_processor_is_never_busier_than_the_clock(
    jobs: list[tuple[int, int]], refreshes: list[tuple[int, int]], instants: list[int]
) -> None:
    """At every instant, critical and background together; in the end, the sum of what was asked for."""
    from tests.strategies.sim import at

    env = Environment()
    processor = Processor(env, "edge")
    accepted: list[float] = []

    def refresh(total_s: float) -> None:
        if not processor.refreshing:
            accepted.append(total_s)
            processor.refresh(operators(total_s, 7), lambda: None)

    def look() -> None:
        busy.append((env.now, processor.critical_busy_s(), processor.background_busy_s()))

    busy: list[tuple[float, float, float]] = [(0.0, 0.0, 0.0)]
    actions = [(t / 1000, lambda s=s: processor.reserve(s / 1000)) for t, s in jobs]
    actions += [(t / 1000, lambda s=s: refresh(s / 1000)) for t, s in refreshes]
    actions += [(t / 1000, look) for t in instants]
    at(env, sorted(actions, key=lambda action: action[0]))
    env.run()
    env.run(until=env.now + 20.0)
    look()
    for (t0, c0, b0), (t1, c1, b1) in pairwise(busy):
        assert c1 >= c0 - 1e-9
        assert b1 >= b0 - 1e-9
        assert (c1 - c0) + (b1 - b0) <= t1 - t0 + 1e-9
    assert math.isclose(busy[-1][1], sum(s for _, s in jobs) / 1000, abs_tol=1e-9)
    assert math.isclose(busy[-1][2], sum(accepted), abs_tol=1e-9)
