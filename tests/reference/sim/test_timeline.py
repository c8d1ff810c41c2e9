"""The timeline against the frames' own table, and against cases that can be drawn by hand."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sim.records.timeline import Timeline
from sim.world.simulation import Simulation
from tests.strategies.sim import run, statistical

Event = dict[str, Any]


class Written:
    """A timeline as a viewer reads it."""

    def __init__(self, events: list[Event]) -> None:
        processes = {
            event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"
        }
        tracks = {
            (event["pid"], event["tid"]): event["args"]["name"]
            for event in events
            if event["name"] == "thread_name"
        }
        self.tracks: dict[tuple[str, str], list[Event]] = defaultdict(list)
        self.counters: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        for event in events:
            process = processes[event["pid"]]
            if event["ph"] == "X":
                self.tracks[process, tracks[event["pid"], event["tid"]]].append(event)
            elif event["ph"] == "C":
                point = (event["ts"] / 1e6, event["args"]["value"])
                self.counters[process, event["name"]].append(point)

    def frames(self, camera: int) -> list[Event]:
        """Every frame's span of a camera, in order of frames."""
        spans = [
            span
            for (process, track), spans in self.tracks.items()
            if process == f"camera {camera}" and track.startswith("frames")
            for span in spans
        ]
        return sorted(spans, key=lambda span: int(span["args"]["frame"]))


def written(path: Path, content: dict[str, Any]) -> tuple[Written, pd.DataFrame, Simulation]:
    done = run({**content, "timeline": True})
    assert done.assembly.timeline is not None
    done.assembly.timeline.write(path, done.frames, done.assembly.simulation.link_rates_bps())
    return Written(json.loads(path.read_text())["traceEvents"]), done.frames, done.assembly.simulation


def seconds(spans: list[Event]) -> float:
    return sum(span["dur"] for span in spans) / 1e6


@pytest.fixture(params=["one camera", "three cameras", "several frames", "fair", "opportunistic"])
def content(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {
        "one camera": statistical(),
        "three cameras": statistical(cameras=3),
        "several frames": statistical("full_offload"),
        "fair": statistical("full_offload", cameras=3, link={"sharing": "fair"}),
        "opportunistic": statistical(trace={"mean_mbps": 8.0, "duration_s": 5.0, "seed": 2}, frames=150),
    }[request.param]


def test_every_frame_is_there_from_capture_to_result(tmp_path: Path, content: dict[str, Any]) -> None:
    timeline, frames, _ = written(tmp_path / "t.json", content)
    for camera, rows in frames.groupby("camera"):
        spans = timeline.frames(int(str(camera)))
        assert [span["args"]["frame"] for span in spans] == rows["frame"].tolist()
        assert [span["args"]["outcome"] for span in spans] == rows["outcome"].tolist()
        assert [span["ts"] / 1e6 for span in spans] == pytest.approx(rows["captured_s"].tolist(), abs=1e-6)
        done = (rows["outcome"] == "completed").to_numpy()
        lasting = [span["dur"] / 1e6 for span, one in zip(spans, done, strict=True) if one]
        assert lasting == pytest.approx(rows.loc[done, "latency_s"].tolist(), abs=1e-5)
        lost = [span["name"] for span, one in zip(spans, done, strict=True) if not one]
        assert all(name.endswith(("replaced", "dropped", "in_flight")) for name in lost)


def test_what_the_cameras_share_is_one_track_each(tmp_path: Path, content: dict[str, Any]) -> None:
    timeline, _, simulation = written(tmp_path / "t.json", content)
    shared = {track for process, track in timeline.tracks if process == "uplink and server"}
    fair = content.get("link", {}).get("sharing") == "fair"
    tracks = {"uplink", "server", "server codecs", "downlink"}
    assert {track.split(" (")[0] for track in shared} == tracks
    one_each = {track for track in shared if not track.startswith("server codecs")}  # a thread a camera
    assert fair or one_each == tracks - {"server codecs"}
    work = timeline.tracks["uplink and server", "server"]
    critical = [span for span in work if span["args"]["track"] == "cloud"]
    assert seconds(critical) == pytest.approx(simulation.cloud.critical_busy_s(), rel=1e-6)
    if content.get("cameras", 1) > 1:
        assert {span["args"]["camera"] for span in work} == {0, 1, 2}


def test_nothing_on_a_track_overlaps(tmp_path: Path, content: dict[str, Any]) -> None:
    timeline, _, _ = written(tmp_path / "t.json", content)
    for spans in timeline.tracks.values():
        ends = sorted((span["ts"], span["ts"] + span["dur"]) for span in spans)
        assert all(later[0] >= earlier[1] - 0.01 for earlier, later in itertools.pairwise(ends))


def test_counters_follow_the_trace_and_the_frames(tmp_path: Path, content: dict[str, Any]) -> None:
    timeline, frames, simulation = written(tmp_path / "t.json", content)
    rates = timeline.counters["uplink and server", "link rate (Mbit/s)"]
    assert rates[0][0] == 0.0
    assert rates[-1][0] <= simulation.env.now
    assert 0.5 * 8 < sum(rate for _, rate in rates) / len(rates) < 2 * 20
    queue = timeline.counters["uplink and server", "uplink queue (kB)"]
    largest = frames["uplink_bytes"].max() / 1e3
    assert max(level for _, level in queue) >= largest - 1e-6
    assert min(level for _, level in queue) >= 0.0
    for camera in frames["camera"].unique():
        levels = [level for _, level in timeline.counters[f"camera {camera}", "frames without result yet"]]
        assert max(levels) >= 1
        assert levels[-1] == 0


def test_background_work_fills_what_critical_work_leaves(tmp_path: Path) -> None:
    timeline = Timeline()
    note = timeline.recorder(0)
    note(1, "cloud background", "refresh", 1.0, 6.0)
    note(2, "cloud", "compute", 2.0, 3.0)
    note(3, "cloud", "compute", 3.0, 3.5)
    note(4, "cloud", "compute", 5.5, 7.0)
    note(4, "uplink opportunistic", "blocks", 0.0, 2.0)
    note(5, "uplink opportunistic", "blocks", 0.5, 3.0)
    frames = pd.DataFrame({"camera": [0], "frame": [0], "captured_s": [0.0], "started_s": [float("nan")]})
    frames = frames.assign(
        completed_s=float("nan"),
        outcome="replaced",
        path=None,
        latency_s=float("nan"),
        uplink_bytes=0,
        uplink_enqueued_s=float("nan"),
        uplink_delivered_s=float("nan"),
    )
    timeline.write(tmp_path / "t.json", frames, [(0.0, 8e6)])
    read = Written(json.loads((tmp_path / "t.json").read_text())["traceEvents"])
    found = [
        (span["args"]["frame"], span["ts"] / 1e6, (span["ts"] + span["dur"]) / 1e6)
        for span in read.tracks["uplink and server", "server"]
    ]
    assert found == [(1, 1.0, 2.0), (2, 2.0, 3.0), (3, 3.0, 3.5), (1, 3.5, 5.5), (4, 5.5, 7.0)]
    sent = [
        (span["args"]["frame"], span["ts"], span["dur"])
        for span in read.tracks["uplink and server", "uplink"]
    ]
    assert sent == [(4, 0.0, 2e6), (5, 2e6, 1e6)]
    assert read.counters["uplink and server", "link rate (Mbit/s)"] == [(0.0, 8.0)]
