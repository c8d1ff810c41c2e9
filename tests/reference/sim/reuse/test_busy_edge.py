"""An edge that is never idle: what it infers from is made in a frame's own time, where idle time makes none.

The link is dead, so that every frame after the first is the edge's, and frames come so fast that the next one
waits when it is through with one: a refresh in idle time does not get to its first operator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sim.accuracy.network import IDLE
from sim.components.blocks import BlockFeatures, open_blocks
from sim.systems.fluxshard_ea.system import RefreshedEdge
from tests.reference.sim.reuse.test_edge_state import IdleTime, frame
from tests.strategies.sim import Run, pixels, run, statistical
from tests.strategies.systems import context

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px", "ignore:system.salience")
MEMBERS = ("fluxshard_ea", "fluxshard_remap")
PATIENCE_S = 0.1
DEAD = {"delay_s": 0.01, "outages_s": [[0.0, 100.0]]}
DENSE_S, EXTRACT_S = 3 * 0.209, 3 * 0.00312  # Table 1 of the first paper, on an edge three times as slow


def busy(member: str, patience_s: float = PATIENCE_S, **changes: Any) -> Run:
    content = pixels(
        member,
        options={"patience_s": patience_s, **changes.pop("options", {})},
        **{
            "link": DEAD,
            "payload": {"codec": "raw"},
            "deterministic": True,
            "codec_time": "none",
            "faults": {"edge_slowdown": 3.0},
            "frames": 150,
            **changes,
        },
    )
    return run(content)


def inferred(done: Run) -> pd.DataFrame:
    return done.frames[done.frames["outcome"] == "completed"].set_index("frame")


def is_dense(frames: pd.DataFrame) -> pd.Series:
    return np.isclose(frames["edge_compute_s"], DENSE_S)


def test_the_edge_is_never_idle_here() -> None:
    frames = inferred(busy("fluxshard_ea"))
    work_s = frames["edge_compute_s"] + EXTRACT_S
    began_s = frames["completed_s"] - work_s
    assert (frames["path"] == "edge").all()
    assert began_s.iloc[2:].to_numpy() == pytest.approx(frames["completed_s"].iloc[1:-1].to_numpy())


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_a_state_that_idle_time_does_not_renew_is_renewed_by_a_frame_once_it_is_too_old(share: float) -> None:
    """§4.4: states are updated "periodically", so that sparse results are reconciled with dense ones."""
    frames = inferred(busy("fluxshard_ea", options={"dense_share": share}))
    limit_s = 0.209 / share  # by the profile: the edge does not know that it is slower
    dense_s = frames.loc[is_dense(frames), "captured_s"]
    between_s = dense_s.diff().iloc[1:]
    assert len(between_s) >= 2
    assert (between_s > limit_s).all()
    longest_s = frames["captured_s"].diff().max()
    assert (between_s <= limit_s + longest_s + 1e-9).all()  # the first frame that the edge gets after it
    sparse = frames[~is_dense(frames)]
    assert len(sparse) > len(dense_s)


def test_without_a_limit_or_without_refresh_the_state_stays_that_of_the_first_frame() -> None:
    for options in ({"dense_share": 0.0}, {"refresh_edge": False}):
        frames = inferred(busy("fluxshard_ea", options=options))
        assert is_dense(frames).sum() == 1
        assert is_dense(frames)[0]


def test_a_state_that_is_renewed_leaves_fewer_blocks_to_compute_and_fewer_stale() -> None:
    """Frames of the size that the profile was made for, as a recording knows them."""
    young, old = (
        inferred(run(statistical(options={"dense_share": s}, link=DEAD, frames=300))).iloc[1:]
        for s in (0.2, 0.0)
    )
    assert young["blocks_active_edge"].mean() < 0.75 * old["blocks_active_edge"].mean()
    assert young["accuracy"].mean() > old["accuracy"].mean() + 0.05
    assert young["ea"].mean() > 1.15 * old["ea"].mean()


def test_a_cache_that_moves_with_every_frame_has_no_limit_unless_asked() -> None:
    frames = inferred(busy("fluxshard_remap", options={"dense_fallback": False}))
    assert is_dense(frames).sum() == 1
    limited = inferred(busy("fluxshard_remap", options={"dense_fallback": False, "dense_share": 0.1}))
    assert is_dense(limited).sum() >= 3


@pytest.mark.parametrize("member", MEMBERS)
def test_an_edge_without_a_state_infers_densely_and_then_has_one(
    member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server dies while it has the second frame. The edge, which has had no idle time to infer the first,
    computes nothing sparsely before it has something to reuse."""
    without: list[int] = []
    made = BlockFeatures._inferred

    def inferring(features: BlockFeatures, frame: Any, match: Any, processed: int) -> Any:
        without.append(frame.index)
        return made(features, frame, match, processed)

    monkeypatch.setattr(BlockFeatures, "_inferred", inferring)
    done = busy(
        member,
        patience_s=0.15,
        link={"delay_s": 0.01},
        server={"crashes_s": [[0.06, 9.0]]},
        faults={"edge_slowdown": 10.0},  # so that a refresh takes two seconds
        options={"dense_fallback": False},
    )
    frames = inferred(done)
    on_edge = frames[frames["path"] == "edge"]
    assert np.isclose(on_edge["edge_compute_s"].iloc[0], 10.0 * DENSE_S / 3)
    assert on_edge["blocks_computed"].iloc[0] == done.assembly.metric.blocks_total
    assert on_edge["accuracy"].iloc[0] == 1.0
    assert (on_edge["blocks_active_edge"].iloc[1:] < done.assembly.metric.blocks_total).any()


def test_an_idle_refresh_of_an_earlier_frame_does_not_take_the_state_back() -> None:
    """It was begun first, and is through last: the frame in between was inferred densely in its own time."""
    given = context()
    edge = RefreshedEdge(open_blocks(given).reference(), BlockFeatures(IDLE, given.geometry), True)
    world: Any = IdleTime()
    edge.infer(frame(0), None, 16, densely=True)
    edge.begin_frame()
    edge.refresh(frame(1), edge.match(frame(1)), world)
    edge.infer(frame(2), edge.match(frame(2)), 16, densely=True)
    world.pass_()
    edge.begin_frame()
    assert edge.reference.frame_index == 2
