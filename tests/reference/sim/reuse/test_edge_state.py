"""The edge's state of fluxshard_remap: which frame it is of, what of it is behind, and how it catches up."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sim.accuracy.network import IDLE
from sim.components.blocks import BlockFeatures, open_blocks
from sim.systems.fluxshard_remap.edge_state import EdgeState
from sim.systems.fluxshard_remap.salience import Salience
from sim.world.frame import Frame
from tests.strategies.systems import EDGE, SIDE_PX, context
from tests.strategies.video import texture

ALL = set(range(16))
SMOOTH = np.kron(
    texture(0, SIDE_PX // 16, SIDE_PX // 16), np.ones((16, 16, 1), np.uint8)
)  # one colour a block


def state(catches_up: bool = True) -> EdgeState:
    given = context()
    return EdgeState(
        open_blocks(given).reference(),
        BlockFeatures(IDLE, given.geometry),
        given.geometry,
        Salience(None, 0.025, 16),
        catches_up,
    )


def frame(index: int, *changed: int, seeds: dict[int, int] | None = None) -> Frame:
    """The same picture, with some blocks of noise found nowhere else: the frame's own, or a seed's."""
    image = SMOOTH.copy()
    for block, seed in {**dict.fromkeys(changed, index), **(seeds or {})}.items():
        row, column = divmod(block, 4)
        inside = image[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
        inside[:] = np.random.default_rng(100 * seed + block).integers(0, 256, inside.shape)
    return Frame(index, index / 10.0, image)


class IdleTime:
    """What the edge does when nobody needs it, done when the test says so."""

    def __init__(self) -> None:
        self.edge = SimpleNamespace(profile=EDGE)
        self.asked: list[int | None] = []
        self._done: list[Callable[[], None]] = []

    def refresh_edge(
        self, on_begun: Callable[[], None], on_done: Callable[[], None], blocks: int | None = None
    ) -> None:
        on_begun()
        self.asked.append(blocks)
        self._done.append(on_done)

    def pass_(self) -> None:
        for done in self._done:
            done()
        self._done.clear()


def inferred(edge: EdgeState, one: Frame, k: int | None = None) -> None:
    match = edge.match(one)
    edge.infer(one, match, len(match.active) if k is None else k, densely=False)


def active(edge: EdgeState, one: Frame) -> list[int]:
    return [int(block) for block in edge.match(one).active]


def test_every_inference_makes_its_frame_the_reference() -> None:
    """The paper aligns consecutive frames: the cache is remapped with each."""
    edge = state()
    assert edge.frame_index == -1
    assert set(active(edge, frame(0))) == ALL
    inferred(edge, frame(0))
    inferred(edge, frame(1, 5))
    assert edge.frame_index == 1
    assert active(edge, frame(2, 5)) == [5]  # in frame 1, which had another block there
    assert set(active(edge, frame(1, 5))) == set()


def test_a_block_that_was_not_computed_stays_critical_until_it_is() -> None:
    edge, shown = state(), frame(1, 2, 9)
    inferred(edge, frame(0))
    first, late = active(edge, shown)
    inferred(edge, shown, k=1)
    assert active(edge, shown) == [late]  # though the picture has not changed since, so that D = 0
    inferred(edge, shown, k=0)
    assert active(edge, shown) == [late]
    inferred(edge, shown)
    assert active(edge, shown) == []
    assert {first, late} == {2, 9}


def test_what_is_behind_comes_after_what_has_changed_and_is_there_once() -> None:
    edge = state()
    inferred(edge, frame(0))
    inferred(edge, frame(1, 3, 7, 12), k=0)
    assert active(edge, frame(2, 3, seeds={7: 1, 12: 1})) == [3, 7, 12]
    assert active(edge, frame(2, 12, seeds={3: 1, 7: 1})) == [12, 3, 7]


def test_what_is_behind_moves_with_the_picture() -> None:
    """The next frame shows the block 16 px further to the right."""
    still, base = state(), texture(3, SIDE_PX, SIDE_PX + 32)
    still.infer(Frame(0, 0.0, base[:, 16:80].copy()), None, 16, densely=True)
    changed = base.copy()
    changed[16:32, 32:48] = texture(9, 16, 16)  # block (1, 1) of what is seen from 16 on
    shown = Frame(1, 0.1, changed[:, 16:80].copy())
    assert active(still, shown) == [5]
    inferred(still, shown, k=0)
    later = active(still, Frame(2, 0.2, changed[:, 0:64].copy()))
    assert 6 in later  # block (1, 2) now
    assert 5 not in later
    assert set(later) <= {6, 0, 4, 8, 12}  # and the column that has come into view


@pytest.mark.parametrize("densely", [True, False])
def test_dense_inference_leaves_nothing_behind(densely: bool) -> None:
    edge = state()
    inferred(edge, frame(0))
    inferred(edge, frame(1, 2, 9), k=0)
    match = edge.match(frame(2, 2, 9))
    edge.infer(frame(2, 2, 9), match, len(match.active) if not densely else 0, densely)
    assert active(edge, frame(2, 2, 9)) == []


# -- catching up ------------------------------------------------------------------------------------


def offloaded(edge: EdgeState, one: Frame, world: Any) -> None:
    """The server infers a frame; the edge follows in idle time."""
    edge.refresh(one, edge.match(one), world)


def test_the_edge_follows_a_frame_that_the_server_infers_once_it_has_had_the_time() -> None:
    edge, world = state(), IdleTime()
    inferred(edge, frame(0))
    offloaded(edge, frame(1, 4, 6), world)
    assert world.asked == [2]  # blocks, those that the frame's match tells
    edge.begin_frame()
    assert edge.frame_index == 0  # not yet
    world.pass_()
    assert edge.frame_index == 0  # not while a frame is under way
    edge.begin_frame()
    assert edge.frame_index == 1
    assert active(edge, frame(1, 4, 6)) == []


def test_where_dense_inference_is_sooner_it_follows_densely() -> None:
    """T(12 blocks) is dense inference's time."""
    edge, world = state(), IdleTime()
    inferred(edge, frame(0))
    inferred(edge, frame(1, 1), k=0)
    offloaded(edge, frame(2, *range(12)), world)
    assert world.asked == [None]
    world.pass_()
    edge.begin_frame()
    assert edge.frame_index == 2
    assert active(edge, frame(2, *range(12))) == []


def test_catching_up_is_dropped_when_the_edge_has_inferred_another_frame_meanwhile() -> None:
    """Its vectors lead into a reference that is gone, and its frame may be older than the edge's."""
    edge, world = state(), IdleTime()
    inferred(edge, frame(0))
    offloaded(edge, frame(1, 4, 6), world)
    inferred(edge, frame(2, 5))
    world.pass_()
    edge.begin_frame()
    assert edge.frame_index == 2
    assert active(edge, frame(2, 5)) == []
    assert set(active(edge, frame(1, 4, 6))) == {4, 5, 6}


def test_a_frame_that_the_edge_has_inferred_needs_no_catching_up() -> None:
    edge, world = state(), IdleTime()
    inferred(edge, frame(0))
    one = frame(1, 4)
    match = edge.match(one)
    edge.infer(one, match, 1, densely=False)
    edge.refresh(one, match, world)
    assert world.asked == []


def test_without_refresh_only_the_first_frame_is_caught_up_with() -> None:
    edge, world = state(catches_up=False), IdleTime()
    edge.refresh(frame(0), None, world)
    assert world.asked == [None]
    world.pass_()
    edge.begin_frame()
    assert edge.frame_index == 0
    offloaded(edge, frame(1, 4), world)
    assert world.asked == [None]
