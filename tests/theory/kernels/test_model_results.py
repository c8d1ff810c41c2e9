"""Agreement of two results: 1 for the same, 0 for disjoint ones, symmetric, a share in between."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.models.network import TASK_NAMES
from kernels.models.predictions.results import (
    Boxes,
    Keypoints,
    Labels,
    Pose,
    Result,
    Segmentation,
    interpret,
)
from kernels.models.predictions.tasks import TASKS, TOLERANCE, agreement, pack, unpack


def segmentation(seed: int) -> Segmentation:
    return Segmentation(np.random.default_rng(seed).integers(0, 4, (8, 12)).astype(np.uint8))


def boxes(seed: int) -> Boxes:
    random = np.random.default_rng(seed)
    count = int(random.integers(0, 6))
    low = random.uniform(0, 20, (count, 2))
    corners = np.concatenate([low, low + random.uniform(1, 20, (count, 2))], axis=1)
    return Boxes(corners, random.integers(0, 2, count), 48, 48)


def pose(seed: int) -> Pose:
    return Pose(np.random.default_rng(seed).uniform(0, 48, (17, 3)), 48, 48)


def keypoints(seed: int) -> Keypoints:
    random = np.random.default_rng(seed)
    count = int(random.integers(0, 9))
    return Keypoints(random.uniform(0, 100, (count, 3)), random.integers(0, 2, count), 100, 80)


def labels(seed: int) -> Labels:
    scores = np.sort(np.random.default_rng(seed).dirichlet(np.ones(3)))[::-1]
    return Labels(np.random.default_rng(seed).permutation(3), scores, 48, 48)


KINDS = [segmentation, boxes, pose, keypoints, labels]


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(KINDS))
@settings(max_examples=60, deadline=None)
def test_agreement_is_a_symmetric_share(
    one_seed: int, other_seed: int, kind: Callable[[int], Result]
) -> None:
    one, other = kind(one_seed), kind(other_seed)
    assert 0 <= agreement(one, other) <= 1
    assert agreement(one, other) == pytest.approx(agreement(other, one))
    assert agreement(one, one) == pytest.approx(1)


def test_half_overlap_of_one_class_and_a_class_that_was_missed() -> None:
    truth, found = np.zeros((4, 8), np.uint8), np.zeros((4, 8), np.uint8)
    truth[:, 0:4], truth[0, 7] = 1, 2
    found[:, 2:6] = 1
    assert agreement(Segmentation(found), Segmentation(truth)) == pytest.approx((8 / 24 + 0) / 2)


def test_nothing_found_agrees_with_nothing_only() -> None:
    nothing, something = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    assert agreement(Segmentation(nothing), Segmentation(nothing)) == 1
    assert agreement(Segmentation(nothing), Segmentation(something)) == 0
    empty = Boxes(np.zeros((0, 4)), np.zeros(0, int), 32, 32)
    one = Boxes(np.array([[0.0, 0, 4, 4]]), np.zeros(1, int), 32, 32)
    assert agreement(empty, empty) == 1
    assert agreement(empty, one) == agreement(one, empty) == 0


def test_a_box_too_many_and_a_box_of_another_class_cost_their_share() -> None:
    square = [0.0, 0.0, 8.0, 8.0]
    far = [20.0, 20.0, 28.0, 28.0]
    one = Boxes(np.array([square]), np.array([0]), 32, 32)
    assert agreement(Boxes(np.array([square, far]), np.array([0, 0]), 32, 32), one) == pytest.approx(0.5)
    assert agreement(Boxes(np.array([square]), np.array([1]), 32, 32), one) == 0


def test_keypoints_a_spread_apart_are_similar_by_the_formula() -> None:
    truth, found = np.full((17, 3), 100.0), np.full((17, 3), 100.0)
    found[0, 0] += 2 * 0.026 * np.sqrt(256 * 192)  # the nose, one spread to the right
    one = agreement(Pose(found, 256, 192), Pose(truth, 256, 192))
    assert one == pytest.approx((16 + np.exp(-0.5)) / 17)


@given(st.integers(0, 10**6), st.sampled_from(KINDS))
@settings(max_examples=60, deadline=None)
def test_a_result_comes_back_from_the_wire(seed: int, kind: Callable[[int], Result]) -> None:
    """Within the float32 of the wire; and packing what came back gives the same bytes."""
    sent = kind(seed)
    packed = pack(sent)
    received = unpack(packed)
    assert type(received) is type(sent)
    assert agreement(received, sent) == pytest.approx(1, abs=1e-6)
    assert pack(received) == packed


def test_every_task_has_its_own_result_and_kind_of_message() -> None:
    assert tuple(TASKS) == TASK_NAMES
    assert (
        len({task.result for task in TASKS.values()}) == len({t.kind for t in TASKS.values()}) == len(TASKS)
    )


def at(*places: tuple[float, float, int]) -> Keypoints:
    """Keypoints of a frame of 100×80 px, by x, y, kind; the tolerance there is 5 px."""
    points = np.array([(x, y, 0.9) for x, y, _ in places]).reshape(-1, 3)
    return Keypoints(points, np.array([kind for *_, kind in places], int), 100, 80)


def test_a_keypoint_counts_within_five_per_cent_of_the_longer_side() -> None:
    assert TOLERANCE * 100 == 5
    truth = at((10, 10, 0), (50, 50, 1))
    assert agreement(at((15, 10, 0), (50, 50, 1)), truth) == 1
    assert agreement(at((15.1, 10, 0), (50, 50, 1)), truth) == pytest.approx(1 / 2)
    assert agreement(at((10, 10, 1), (50, 50, 1)), truth) == pytest.approx(1 / 2), "of another kind"


def test_keypoints_too_many_and_too_few_cost_what_f1_takes() -> None:
    """2·pairs / (found + true): one of two missed is 2/3, as is one too many beside one found."""
    truth = at((10, 10, 0), (50, 50, 1))
    assert agreement(at((10, 10, 0)), truth) == pytest.approx(2 / 3)
    assert agreement(at((10, 10, 0), (10.5, 10, 0)), at((10, 10, 0))) == pytest.approx(2 / 3), "one pair each"
    assert agreement(at(), truth) == 0
    assert agreement(at(), at()) == 1


def test_the_closest_pair_is_made_first() -> None:
    """11 with 12, then 7 with 3: in the order of the lists 7 would take 12, and 11 find none."""
    assert agreement(at((7, 5, 0), (11, 5, 0)), at((12, 5, 0), (3, 5, 0))) == 1


def test_labels_agree_by_the_first_alone() -> None:
    """Top-1: the metric of FluxShard's second paper for classification (§V-A)."""
    truth = Labels(np.array([2, 0, 1]), np.array([0.6, 0.3, 0.1]), 32, 32)
    assert agreement(Labels(np.array([2, 1, 0]), np.array([0.4, 0.35, 0.25]), 32, 32), truth) == 1
    assert agreement(Labels(np.array([0, 2, 1]), np.array([0.5, 0.4, 0.1]), 32, 32), truth) == 0


def test_foreground_is_what_was_found() -> None:
    found = Segmentation(np.array([[0, 3], [1, 0]], np.uint8))
    assert found.foreground.tolist() == [[False, True], [True, False]]
    covered = Boxes(np.array([[-3.0, 1.0, 2.2, 9.0]]), np.array([0]), 4, 4).foreground
    around = Pose(np.array([[1.0, 2.0, 9.0], [2.5, 3.0, 9.0]]), 5, 5).foreground
    assert np.argwhere(around).tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert not Pose(np.zeros((0, 3)), 5, 5).foreground.any()
    squares = at((0, 0, 0), (50, 40, 1)).foreground  # 5 px each way, cut off at the border
    assert squares.shape == (100, 80)
    assert squares.sum() == 5 * 5 + 10 * 10
    assert squares[:5, :5].all()
    assert squares[35:45, 45:55].all()
    assert labels(0).foreground is None
    assert np.argwhere(covered).tolist() == [[1, 0], [1, 1], [2, 0], [2, 1], [3, 0], [3, 1]]


def test_every_kind_of_output_is_read() -> None:
    def level(channels: int, side: int, fill: float = 0.0) -> torch.Tensor:
        return torch.full((1, channels, side, side), fill)

    logits = torch.zeros(1, 6, 8, 8)
    logits[:, 2] = 1
    whole = interpret(logits, 32, 32)
    assert isinstance(whole, Segmentation)
    assert (whole.classes == 2).all()

    sides = (4, 2, 1)
    outputs = {
        "boxes": tuple(level(64, s) for s in sides),
        "classes": tuple(level(3, s, -9.0) for s in sides),
    }
    outputs["classes"][1][0, 1, 0, 0] = (
        5.0  # one cell of stride 16, a flat distribution: 7.5 · 16 px each way
    )
    found = interpret(outputs, 32, 32)
    assert isinstance(found, Boxes)
    assert found.boxes.tolist() == [[-112.0, -112.0, 128.0, 128.0]]
    assert found.classes.tolist() == [1]
    outputs |= {
        "coefficients": tuple(level(4, s, 1.0) for s in sides),
        "prototypes": (level(4, 8, 1.0),),
    }
    heat = torch.zeros(1, 17, 64, 48)
    heat[0, :, 1, 2] = 1
    person = interpret({"heatmaps": (heat,)}, 256, 192)
    assert isinstance(person, Pose)
    assert person.points.tolist() == [[10.0, 6.0, 1.0]] * 17
    peaks = torch.full((1, 2, 4, 8), -9.0)
    peaks[0, 1, 2, 5], peaks[0, 1, 2, 6], peaks[0, 0, 0, 0] = 2.0, 1.0, -2.0
    found_at = interpret({"peaks": (peaks,)}, 32, 64, score_threshold=0.3)
    assert isinstance(found_at, Keypoints)
    assert found_at.kinds.tolist() == [1], "one peak, its neighbour is none, and one below the threshold"
    (x, y, score) = found_at.points[0].tolist()
    assert score == pytest.approx(1 / (1 + np.exp(-2)))
    assert 44 < x < 48, "drawn from the cell's centre to the neighbour that scores, too"
    assert y == pytest.approx(20, abs=0.01)
    halved = interpret({"peaks": (peaks,)}, 64, 128, score_threshold=0.3)
    assert isinstance(halved, Keypoints)
    np.testing.assert_allclose(halved.points[:, :2], 2 * found_at.points[:, :2])
    said = interpret({"logits": (torch.tensor([[0.0, 3.0, 1.0, 2.0, -1.0, -2.0]]),)}, 32, 32)
    assert isinstance(said, Labels)
    assert said.classes.tolist() == [1, 3, 2, 0, 4], "the five likeliest"
    assert said.scores[0] == pytest.approx(np.exp(3) / np.exp([0, 3, 1, 2, -1, -2]).sum())
    painted = interpret(outputs, 32, 32)
    assert isinstance(painted, Segmentation)
    assert (painted.classes == 2).all()


def test_results_of_different_kinds_or_sizes_do_not_compare() -> None:
    small, large = Segmentation(np.zeros((2, 2), np.uint8)), Segmentation(np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"result must have the reference's size \(4, 4\) \(got \(2, 2\)\)"):
        agreement(small, large)
    with pytest.raises(TypeError, match=r"result must be Segmentation \(got Boxes\)"):
        agreement(boxes(0), small)
    with pytest.raises(ValueError, match=r"result must have the reference's size \(48, 48\)"):
        agreement(Labels(np.array([1]), np.array([1.0]), 32, 48), labels(0))
    with pytest.raises(ValueError, match=r"peaks must be \(1, kinds, 8, 8\) or \(1, kinds, 4, 4\)"):
        interpret({"peaks": (torch.zeros(1, 4, 4, 8),)}, 64, 64)
    with pytest.raises(ValueError, match=r"logits must be \(1, classes\)"):
        interpret({"logits": (torch.zeros(2, 4),)}, 64, 64)
    with pytest.raises(ValueError, match=r"outputs must be of a 64×64 px frame"):
        interpret({"boxes": (torch.zeros(1, 64, 4, 4),)}, 64, 64)
