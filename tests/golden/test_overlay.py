"""The overlay: a header that says what a frame is, blocks and findings in place, frames at their times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from kernels.models.predictions.results import Boxes, Keypoints, Labels, Pose, Segmentation
from sim import __main__ as command_line
from sim.records.account import ShownBlocks
from sim.records.outcome import Outcome
from sim.records.overlay import (
    COLOURS,
    INK,
    LABELS_PX,
    LINE_PX,
    STALE,
    Overlay,
    ShownFrame,
    class_colour,
)

SIDE = 640
GREY = np.full((SIDE, SIDE, 3), 100, np.uint8)
OUTCOME = Outcome("cloud", active=3, processed=2, stale=1)
FRAME = ShownFrame(7, 0.233, 0.0529, GREY, OUTCOME, ShownBlocks([0, 41, 80]))


def picture(drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is below the header."""
    return drawn[2 * LINE_PX :]


def overlay(**how: object) -> Overlay:
    return Overlay(Path("none.mp4"), 30.0, **how)  # type: ignore[arg-type]


def test_blocks_are_drawn_where_they_are() -> None:
    drawn = picture(overlay().draw(FRAME))
    assert drawn.shape == (SIDE, SIDE, 3)
    assert tuple(drawn[0, 8]) == COLOURS["cloud"]  # block 0
    assert tuple(drawn[16, 16 + 8]) == COLOURS["cloud"]  # block 41 is the second of the second row
    assert tuple(drawn[8, 8]) == (100, 100, 100)  # its inside is left alone
    assert tuple(drawn[32 + 8, 8]) == tuple((100 + part) // 2 for part in STALE)
    assert np.all(drawn[64:] == 100)


def test_the_header_says_which_frame_from_where_and_how_late() -> None:
    header = overlay().draw(FRAME)[: 2 * LINE_PX]
    for other in (
        replace(FRAME, index=8),
        replace(FRAME, latency_s=0.0530),
        replace(FRAME, outcome=FRAME.outcome._replace(path="edge")),
    ):
        changed = overlay().draw(other)[: 2 * LINE_PX]
        assert np.any(changed[:LINE_PX] != header[:LINE_PX])
    for colour in (*COLOURS.values(), STALE):  # the legend
        assert np.any(np.all(header[LINE_PX:] == colour, axis=2)), colour


@pytest.mark.parametrize("width", [64, 161, 1000])
def test_frames_of_any_size_have_room_for_the_header(width: int) -> None:
    image = np.zeros((width // 2, width, 3), np.uint8)
    drawn = overlay().draw(replace(FRAME, image=image, blocks=None))
    assert drawn.shape[1] >= 560
    assert all(side % 2 == 0 for side in drawn.shape[:2])


def test_masks_are_tinted_and_their_regions_boxed() -> None:
    classes = np.zeros((SIDE, SIDE), np.uint8)
    classes[200:300, 100:200] = 3
    classes[400:420, 500:540] = 3
    shown = replace(FRAME, blocks=None, outcome=FRAME.outcome._replace(result=Segmentation(classes)))
    drawn = picture(overlay(unpack=lambda result: result).draw(shown))
    colour = class_colour(3)
    assert tuple(drawn[250, 150]) == tuple((100 + part) // 2 for part in colour)
    assert tuple(drawn[200, 150]) == tuple(drawn[250, 199]) == tuple(drawn[400, 520]) == colour
    assert tuple(drawn[350, 350]) == (100, 100, 100)
    assert np.array_equal(picture(overlay().draw(shown)), GREY)  # where no network runs


def test_boxes_and_keypoints_are_drawn() -> None:
    boxes = Boxes(np.array([[50.0, 60.0, 90.0, 120.0]]), np.array([4]), SIDE, SIDE)
    pose = Pose(np.array([[300.0, 310.0, 0.9]]), SIDE, SIDE)
    many = Keypoints(np.array([[300.0, 310.0, 0.9], [20.0, 30.0, 0.8]]), np.array([2, 3]), SIDE, SIDE)
    for result, place, label in (
        (boxes, (60, 70), 5),
        (pose, (310, 300), 1),
        (many, (310, 300), 3),
        (many, (30, 20), 4),
    ):
        shown = replace(FRAME, blocks=None, outcome=FRAME.outcome._replace(result=result))
        drawn = picture(overlay(unpack=lambda found: found).draw(shown))
        assert tuple(drawn[place]) == class_colour(label)


def test_labels_are_written_with_their_names() -> None:
    labels = Labels(np.array([1, 2]), np.array([0.9, 0.1]), SIDE, SIDE)
    shown = replace(FRAME, blocks=None, outcome=FRAME.outcome._replace(result=labels))
    named, unnamed = (
        picture(overlay(unpack=lambda found: found, class_names=names).draw(shown))
        for names in (("nothing", "van", "ball"), ())
    )
    corner = np.s_[: 2 * LINE_PX, :LABELS_PX]
    assert (named[corner] == INK).all(axis=2).any()
    assert not np.array_equal(named[corner], unnamed[corner]), "a class without a name is its number"
    assert np.array_equal(named[2 * LINE_PX + 1 :], GREY[2 * LINE_PX + 1 :])


@pytest.mark.filterwarnings("ignore:video.size_px")
def test_a_runs_overlay_shows_each_result_at_its_capture_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    arguments = ["video=scene", "video.size_px=64", "frames=40", "system=edge_only", "overlay=true"]
    arguments.append("accuracy=coverage")
    monkeypatch.setattr("sys.argv", ["sim", *arguments, f"hydra.run.dir={tmp_path}"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    command_line.main()
    frames = pd.read_parquet(tmp_path / "frames.parquet")
    done = frames[frames["outcome"] == "completed"]
    assert len(done) < len(frames)
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        times_s = [float(frame.time) for frame in container.decode(video=0)]
    assert times_s == pytest.approx((done["captured_s"] - done["captured_s"].iloc[0]).tolist(), abs=2e-3)
