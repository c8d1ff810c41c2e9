"""Runs longer than their video: what is shown then is said in one line, once, or refused."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profiler.latency import load_profile
from sim.assembly.video import VideoView, open_view
from sim.configuration import read_config
from tests.strategies.sim import pixels
from tests.strategies.video import write_folder
from traces.errors import InputError
from traces.notices import InputWarning
from traces.video.loading import load_video


def view_of(folder: Path | None, repeat: str = "pingpong", **changes: Any) -> VideoView:
    """The cameras' view of a folder of images, or of the composed scene."""
    video: dict[str, Any] = {"kind": "scene", "size_px": 640, "repeat": repeat}
    if folder is not None:
        video.update(kind="file", path=str(folder))
    config = read_config(pixels("full_offload", video=video, **changes))
    return open_view(config, load_profile("jetson_xavier_nx", "yolo11m-seg"), None)


def order(view: VideoView, camera: int = 0) -> list[int]:
    """Which of the different images are shown, by number of first appearance."""
    images = view.images(camera)
    assert images is not None
    seen: dict[bytes, int] = {}
    return [seen.setdefault(images(i).tobytes(), len(seen)) for i in range(view.frames)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / tmp_path.name, ["0", "1", "2", "3"], masks=None)


def test_a_video_that_is_played_backward_is_said_to_be(folder: Path) -> None:
    message = (
        rf"\Aframes: video '{folder.name}' has 4 frames, 7 are needed: it is played forward and backward "
    )
    with pytest.warns(InputWarning, match=message):
        view = view_of(folder, frames=7)
    assert order(view) == [0, 1, 2, 3, 2, 1, 0]


def test_a_video_that_is_played_again_is_said_to_be(folder: Path) -> None:
    with pytest.warns(InputWarning, match=r"7 are needed: it is played again from its start"):
        view = view_of(folder, "loop", frames=7)
    assert order(view) == [0, 1, 2, 3, 0, 1, 2]


def test_frames_that_are_skipped_count(folder: Path) -> None:
    """Every second frame of a folder at 30 fps."""
    with pytest.warns(InputWarning, match=r"has 4 frames, 5 are needed"):
        view = view_of(folder, frames=3, fps=15)
    assert order(view) == [0, 1, 1]


@pytest.mark.parametrize("cameras", [1, 2])
def test_a_video_that_is_to_stop_is_too_short_for_more_frames(folder: Path, cameras: int) -> None:
    with pytest.raises(
        InputError, match=rf"\Aframes: video '{folder.name}' has 4 frames, got 7 with repeat=stop"
    ):
        view_of(folder, "stop", frames=7, cameras=cameras)


def test_a_camera_that_begins_within_the_video_passes_its_end(folder: Path) -> None:
    with pytest.warns(InputWarning, match=r"5 are needed by 2 cameras that begin evenly spread over it"):
        view = view_of(folder, frames=3, cameras=2)
    assert order(view, camera=1) == [0, 1, 0]


@pytest.mark.parametrize("changes", [{"cameras": 4}, {"fps": 10}, {"fps": 10, "cameras": 3}])
def test_a_scene_is_as_long_as_the_run_and_never_played_backward(changes: dict[str, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        view = view_of(None, frames=8, **changes)
    last = changes.get("cameras", 1) - 1
    assert order(view, last) == list(range(8))


def test_a_sweep_says_it_in_one_line_and_once(folder: Path, tmp_path: Path, repository: Path) -> None:
    words = ["-m", "system=full_offload,edge_only", "video=file", f"video.path={folder}", "frames=7"]
    words.append("accuracy=coverage")
    done = subprocess.run(
        [sys.executable, "-m", "sim", *words, f"hydra.sweep.dir={tmp_path / 'runs'}"],
        cwd=repository,
        env={**os.environ, "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if "7 are needed" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"note: frames: video '{folder.name}' has 4 frames")
    assert "warn_once(" not in done.stderr


def test_how_fast_a_folder_was_filmed_can_be_said(folder: Path) -> None:
    video = {"kind": "file", "path": str(folder), "size_px": 640, "fps": 10.0}
    config = read_config(pixels("full_offload", video=video, fps=5.0, frames=2))
    view = open_view(config, load_profile("jetson_xavier_nx", "yolo11m-seg"), None)
    assert (view.fps, order(view)) == (5.0, [0, 1])
    with pytest.raises(InputError, match=r"video\.fps: expected it with a folder of images"):
        open_view(
            read_config(pixels("full_offload", video={"kind": "scene", "fps": 10.0})),
            load_profile("jetson_xavier_nx", "yolo11m-seg"),
            None,
        )


def starts(folder: Path, replicates: int, **changes: Any) -> list[list[int]]:
    """Of each replicate, what its cameras see first."""
    found = []
    for replicate in range(replicates):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            view = view_of(folder, frames=3, replicate=replicate, **changes)
        first = [view.images(camera)(0).tobytes() for camera in range(changes.get("cameras", 1))]
        images = [load_video(folder, 640).image(index).tobytes() for index in range(12)]
        found.append([images.index(one) for one in first])
    return found


def test_replicates_begin_spread_over_a_video_and_go_on_at_its_end(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "twelve", [str(name) for name in range(12)], masks=None)
    found = [first for (first,) in starts(folder, 9)]
    assert found[0] == 0  # the run as it is described
    assert len(set(found[1:])) == 8  # no two at the same frame
    assert max(np.diff(sorted(found[1:]))) <= 3  # nowhere a large gap
    assert [first for (first,) in starts(folder, 5)] == found[:5]  # however many there are
    assert [first for (first,) in starts(folder, 5, seed=1)] != found[:5]
    apart = {(b - a) % 12 for a, b in starts(folder, 9, cameras=2)[1:]}
    assert len(apart) > 3  # each camera has a start of its own


def test_a_video_that_is_to_stop_shows_no_frame_twice_in_any_replicate(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "twelve", [str(name) for name in range(12)], masks=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for replicate in range(6):
            view = view_of(folder, "stop", frames=8, replicate=replicate)
            assert len(set(order(view))) == 8
