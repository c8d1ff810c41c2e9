"""Keypoints and classification in the loop: results of their own size, compared as their task says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels.codecs.result_codec import encode_keypoints, encode_labels
from kernels.models.predictions.tasks import unpack
from sim.accuracy.evaluator import agreement_of, foreground_iou
from sim.command.single_run import run_once
from sim.components.blocks.merging import Division, merged_result
from sim.records.summary import RunRecord
from sim.systems.motion_deltacnn.alignment import read_back
from tests.strategies.sim import pixels
from traces.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px")
HEADER_BYTES, LABEL_BYTES, CLASSES = 16, 6, 5
HEIGHT, WIDTH, BLOCK_PX = 32, 64, 16


def run(system: str, card: str, **changes: Any) -> RunRecord:
    video = {"kind": "scene", "size_px": 256, "seed": 1}
    content = pixels(system, model=card, video=video, accuracy={"mode": "measured"}, frames=8, **changes)
    return run_once(content).record


@pytest.mark.parametrize("card", ["default-tokens", "default-keypoints"])
@pytest.mark.parametrize("system", ["fluxshard_ea", "fluxshard_remap", "full_offload", "deltacnn"])
def test_every_system_runs_every_task(system: str, card: str) -> None:
    record = run(system, card)
    done = record.frames[record.frames["outcome"] == "completed"]
    assert record.summary["network"] == f"{card} (stand-in)"
    assert record.summary["accuracy_ruler"] == "measured"
    assert done["measured_accuracy"].between(0, 1).all()
    assert record.frames["streaming_accuracy"].between(0, 1).all()
    if card == "default-tokens":
        assert set(done["measured_accuracy"]) <= {0.0, 1.0}, "top-1"
        assert record.frames["foreground_iou"].isna().all()
        assert record.summary["foreground_iou_mean"] is None
    else:
        assert done["foreground_iou"].between(0, 1).all()


def test_a_classification_takes_its_own_bytes_on_the_downlink() -> None:
    """A header and a class with its score for each of the five classes: a mask takes a hundred times that."""
    frames = run("full_offload", "default-tokens").frames
    done = frames[frames["outcome"] == "completed"]
    assert set(done["downlink_bytes"]) == {HEADER_BYTES + CLASSES * LABEL_BYTES}


def test_masks_are_no_truth_of_another_task() -> None:
    content = pixels("edge_only", model="default-tokens", video={"kind": "scene", "size_px": 256})
    content["accuracy"] = {"mode": "measured", "reference": "masks"}
    with pytest.raises(InputError, match=r"accuracy\.reference: masks need a network that segments"):
        run_once(content)


# -- results, packed --------------------------------------------------------------------------------


def at(*places: tuple[float, float, int]) -> bytes:
    points = np.array([(x, y, 0.5 + 0.01 * i) for i, (x, y, _) in enumerate(places)]).reshape(-1, 3)
    return encode_keypoints(points, np.array([kind for *_, kind in places], int), HEIGHT, WIDTH)


def label(*classes: int) -> bytes:
    return encode_labels(np.array(classes), np.linspace(0.9, 0.1, len(classes)), HEIGHT, WIDTH)


def test_packed_results_are_compared_by_their_task() -> None:
    assert agreement_of(at((8, 8, 0)), at((8.5, 8, 0))) == 1
    assert agreement_of(at((8, 8, 0)), at((8, 8, 1))) == 0
    assert agreement_of(label(1, 2), label(1, 0)) == 1
    assert agreement_of(label(1, 2), label(2, 1)) == 0
    assert foreground_iou(at((8, 8, 0)), at((8, 8, 1))) == 1, "whatever its kind"
    assert np.isnan(foreground_iou(label(1), label(1)))


def test_of_two_sides_a_keypoint_counts_where_it_lies() -> None:
    counts = np.zeros((2, 4), np.bool_)
    counts[:, 2:] = True  # the right half is the server's
    empty = np.empty(0, np.int32)
    division = Division(empty, empty, empty, counts)
    edge, cloud = at((8, 8, 0), (40, 8, 1)), at((10, 8, 0), (44, 8, 2))
    merged: Any = unpack(merged_result(edge, cloud, division, BLOCK_PX))
    assert sorted(merged.points[:, 0].tolist()) == [8.0, 44.0]
    assert sorted(merged.kinds.tolist()) == [0, 2]
    with pytest.raises(InputError, match=r"a classification is of the whole frame"):
        merged_result(label(1), label(2), division, BLOCK_PX)


def test_a_result_on_a_canvas_is_read_back() -> None:
    """The canvas lies 20 px further right: what is there at x is in the frame at x − 20, if it is in it."""
    matrix = np.array([[1.0, 0, 20], [0, 1, 0], [0, 0, 1]])
    found: Any = unpack(read_back(at((30, 8, 0), (10, 8, 1)), matrix))
    assert found.points[:, :2].tolist() == [[10.0, 8.0]]
    assert found.kinds.tolist() == [0]
    assert read_back(label(3), matrix) == label(3)
