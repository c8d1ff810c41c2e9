"""Critical blocks of fluxshard_remap: the paper's rule, the lowered threshold, where a mask has gone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kernels.codecs.result_codec import encode_classes, encode_labels
from kernels.motion.field import MotionField
from sim.components.blocks import Match
from sim.systems.fluxshard_remap.salience import MissRule, Salience

BLOCK_PX = 16
ROWS, COLUMNS = 6, 8
HEIGHT, WIDTH = ROWS * BLOCK_PX, COLUMNS * BLOCK_PX
TAU, NEAR = 0.025, 0.01


def panned(dx: int, dy: int) -> NDArray[np.int16]:
    """Every block comes from (dx, dy) away in its reference."""
    return np.broadcast_to(np.array([dx, dy], np.int16), (ROWS, COLUMNS, 2)).copy()


def box(top: int, left: int, bottom: int, right: int) -> NDArray[np.bool_]:
    found = np.zeros((HEIGHT, WIDTH), np.bool_)
    found[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
    return found


def result(found: NDArray[np.bool_]) -> bytes:
    """A packed result that has found something there."""
    return encode_classes(found.astype(np.uint8))


def match(index: int, vectors: NDArray[np.int16]) -> Match:
    return Match(np.empty(0, np.int32), vectors, index, np.zeros((ROWS, COLUMNS), np.float32))


def salience(rule: str = "filter", share: float = 1e-6, reach_blocks: int | None = None) -> Salience:
    if reach_blocks is None:
        reach_blocks = 1 if rule == "threshold" else 0
    return Salience(MissRule(rule, TAU, NEAR, share, reach_blocks), TAU, BLOCK_PX)


def critical(known: Salience, reference_index: int, vectors: NDArray[np.int16], level: float) -> set[int]:
    """The critical blocks of a frame in which every block differs by `level`."""
    field = MotionField(vectors, np.full((ROWS, COLUMNS), level, np.float32))
    return set(known.classifier(reference_index)(field).tolist())


def shown_in(found: NDArray[np.bool_]) -> set[int]:
    """The blocks in which something is found, by looking."""
    grid = found.reshape(ROWS, BLOCK_PX, COLUMNS, BLOCK_PX).any((1, 3))
    return set(np.flatnonzero(grid).tolist())


# -- which blocks -----------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 100).map(lambda n: n / 1000), min_size=ROWS * COLUMNS, max_size=ROWS * COLUMNS),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_the_papers_rule_recomputes_what_has_changed_and_is_salient(
    differences: list[float], seed: int, least_share: float
) -> None:
    """§IV-C: recompute where D ≥ τ and s ≥ σ; s is the share of a block that the last result covers."""
    random = np.random.default_rng(seed)
    found = random.random((HEIGHT, WIDTH)) < random.choice([0.0, 0.1, 0.5, 1.0])
    vectors = random.integers(-20, 21, (ROWS, COLUMNS, 2)).astype(np.int16)
    difference = np.array(differences, np.float32).reshape(ROWS, COLUMNS)
    expected = []
    for row, column in np.ndindex(ROWS, COLUMNS):
        dx, dy = vectors[row, column]
        covered = sum(
            0 <= (y := row * BLOCK_PX + i + dy) < HEIGHT
            and 0 <= (x := column * BLOCK_PX + j + dx) < WIDTH
            and bool(found[y, x])
            for i, j in np.ndindex(BLOCK_PX, BLOCK_PX)
        )
        if difference[row, column] >= np.float32(TAU) and covered / BLOCK_PX**2 >= least_share:
            expected.append(row * COLUMNS + column)
    known = salience(share=least_share)
    known.remember(result(found), 0)
    chosen = known.classifier(0)(MotionField(vectors, difference))
    assert sorted(chosen.tolist()) == expected
    urgency = difference.reshape(-1)[chosen]
    assert (np.diff(urgency) <= 0.0).all()  # the most different first


def test_the_other_rule_lowers_the_threshold_near_what_was_found() -> None:
    """Within one block of it; elsewhere τ stays."""
    found = box(32, 48, 48, 64)  # block (2, 3)
    known = salience("threshold")
    known.remember(result(found), 0)
    around = {row * COLUMNS + column for row in (1, 2, 3) for column in (2, 3, 4)}
    still = panned(0, 0)
    assert critical(known, 0, still, 0.009) == set()
    assert critical(known, 0, still, 0.011) == around
    assert critical(known, 0, still, 0.026) == set(range(ROWS * COLUMNS))


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_either_rule_reaches_so_far_around_what_was_found(reach: int) -> None:
    """The paper's prior may be any confidence map: how far one reaches around an object is left open."""
    found = box(32, 48, 48, 64)  # block (2, 3)
    around = {
        row * COLUMNS + column
        for row, column in np.ndindex(ROWS, COLUMNS)
        if abs(row - 2) <= reach and abs(column - 3) <= reach
    }
    for rule, level in (("filter", 0.026), ("threshold", 0.011)):
        known = salience(rule, reach_blocks=reach)
        known.remember(result(found), 0)
        assert critical(known, 0, panned(0, 0), level) == around


def test_what_lies_furthest_above_its_own_threshold_comes_first() -> None:
    known = salience("threshold")
    known.remember(result(box(0, 0, 16, 16)), 0)  # blocks 0, 1, 8 and 9 have the lower threshold
    difference = np.zeros((ROWS, COLUMNS), np.float32)
    difference.reshape(-1)[[0, 20, 30]] = 0.03, 0.05, 0.06  # 3, 2 and 2.4 times
    order = known.classifier(0)(MotionField(panned(0, 0), difference))
    assert order.tolist() == [0, 30, 20]


def test_near_what_was_found_the_threshold_is_never_higher_than_elsewhere() -> None:
    rule = MissRule("threshold", 0.005, NEAR, 0.1, 1)
    limits = rule.limits(box(0, 0, 16, 16), panned(0, 0), BLOCK_PX)
    assert limits.tolist() == np.full((ROWS, COLUMNS), 0.005, np.float32).tolist()


@pytest.mark.parametrize("rule", ["threshold", "filter", None])
def test_before_any_result_every_block_has_the_same_threshold(rule: str | None) -> None:
    known = salience(rule) if rule else Salience(None, TAU, BLOCK_PX)
    assert critical(known, 0, panned(3, 2), 0.024) == set()
    assert critical(known, 0, panned(3, 2), 0.026) == set(range(ROWS * COLUMNS))


def test_an_older_result_does_not_replace_a_newer_one() -> None:
    """Results of frames that overlap may come in another order."""
    known = salience()
    known.remember(result(box(0, 0, 16, 16)), 5)
    known.remember(result(box(32, 32, 48, 48)), 4)
    known.remember(None, 6)  # a frame of which nothing is known
    assert critical(known, 5, panned(0, 0), 1.0) == {0}


# -- where the mask is ------------------------------------------------------------------------------


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (16, 0), (-32, 16), (5, -7)])
def test_the_last_frames_mask_moves_along_the_vectors(dx: int, dy: int) -> None:
    """The reference is the frame that the result belongs to; vectors point into it."""
    known = salience()
    known.remember(result(box(32, 48, 64, 80)), 3)
    assert critical(known, 3, panned(dx, dy), 1.0) == shown_in(box(32 - dy, 48 - dx, 64 - dy, 80 - dx))


@pytest.mark.parametrize("offset", [(16, 0), (-16, 32), (6, -4)])
def test_an_older_references_mask_is_placed_back_along_the_frames_own_search(offset: tuple[int, int]) -> None:
    """Frame 7 was searched in frame 3 and gave the result; frame 8 is searched in frame 3 again."""
    known, (dx, dy) = salience(), offset
    known.note(3, match(7, panned(dx, dy)))
    known.remember(result(box(32, 48, 64, 80)), 7)
    assert critical(known, 3, panned(0, 0), 1.0) == shown_in(box(32 + dy, 48 + dx, 64 + dy, 80 + dx))


def test_a_mask_is_led_on_through_the_frames_that_were_searched_since() -> None:
    """The result is of frame 2; frames 3 and 5 have been searched since, each in the one before; 5 is the
    reference. Things move 4 px to the right a frame, so vectors point to the left."""
    known = salience()
    known.note(2, match(3, panned(-4, 0)))
    known.note(3, match(5, panned(-8, 0)))
    known.remember(result(box(32, 48, 64, 80)), 2)
    assert critical(known, 5, panned(-4, 0), 1.0) == shown_in(box(32, 64, 64, 96))


def test_a_mask_is_led_on_and_then_placed_back() -> None:
    """Result of 2; 4 was searched in 2 by the edge and in 1 by the proxy, whose image is 1's still."""
    known = salience()
    known.note(1, match(2, panned(-8, 0)))
    known.remember(result(box(32, 48, 64, 80)), 2)
    assert critical(known, 1, panned(-16, 0), 1.0) == shown_in(box(32, 56, 64, 88))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40), st.integers(0, 9))
def test_following_a_mask_always_ends(searches: list[tuple[int, int]], reference: int) -> None:
    known = salience()
    for index, frame in searches:
        known.note(index, match(frame, panned(1, 1)))
    known.remember(result(box(0, 0, 96, 128)), 4)
    assert len(critical(known, reference, panned(0, 0), 1.0)) > 0


def test_a_result_that_is_in_no_place_leaves_every_block_its_threshold() -> None:
    """A classification says nothing of where: the classifier then has one τ, as before the first result."""
    known, nowhere = salience("filter"), encode_labels(np.array([3, 1]), np.array([0.9, 0.1]), HEIGHT, WIDTH)
    known.remember(nowhere, 0)
    assert critical(known, 0, panned(0, 0), TAU) == set(range(ROWS * COLUMNS))
    known.remember(result(box(0, 0, 0, 0)), 1)  # one that is in a place, and found nothing there
    assert critical(known, 1, panned(0, 0), TAU) == set()
