"""Inputs of several frames: who enters, who waits for whom; and runs in which nothing can happen any more."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import run as run_choices
from sim.physics.arrivals import ClosedLoop, PeriodicLatest, PeriodicQueue
from sim.physics.events import Unreachable
from sim.records.frame_table import OUTCOMES
from sim.records.outcome import Outcome
from tests.reference.sim.test_world_aside import Done, run
from tests.strategies.systems import crashes, outages
from traces.errors import InputError

CLIP = 4
CLIP_BYTES, REPLY_BYTES = 40_000, 1000
ROUND_TRIP_S = 0.040 + 0.020 + 0.001


class Clips:
    """The last frame of a clip sends it, and tells the others what came of it."""

    frames_an_input = CLIP

    def __init__(self, max_in_flight: int = 1) -> None:
        self.max_in_flight = max_in_flight
        self.clip: list[int] = []
        self.result: Any = None

    def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
        if not self.clip:
            self.result = world.event()
        clip, result = self.clip, self.result
        clip.append(frame.index)
        if len(clip) < CLIP:
            answer = yield world.wait_for(result)
        else:
            self.clip = []
            answer = yield from self.infer(clip, result, world)
        return Outcome("cloud", 16, 16, 0, result=answer)

    def infer(self, clip: list[int], result: Any, world: Any) -> Generator[Any, Any, list[int]]:
        try:
            yield world.send(CLIP_BYTES)
            yield world.infer_cloud_dense()
            yield world.reply(REPLY_BYTES)
        except Unreachable as error:
            result.fail(error)
            raise
        result.succeed(clip)
        return clip


def outcomes(done: Done) -> list[str]:
    return [OUTCOMES[int(code)] for code in done.rows["outcome"]]


def test_each_frame_gets_the_result_of_its_clip() -> None:
    """Frames come every 20 ms: a clip is there after 60, its result after another 61."""
    done = run(Clips(), PeriodicLatest(50.0, 14))
    first, second = [0, 1, 2, 3], [6, 7, 8, 9]  # 4 and 5 come and go meanwhile
    assert done.shown == [(frame, clip) for clip in (first, second) for frame in clip]
    assert outcomes(done) == [
        *["completed"] * 4,
        *["replaced"] * 2,
        *["completed"] * 4,
        *["replaced"] * 2,
        *["dropped"] * 2,  # two of a clip that the video does not complete
    ]
    rows = done.rows
    assert rows["completed_s"][:4] == pytest.approx(np.full(4, 0.060 + ROUND_TRIP_S))
    assert rows["completed_s"][6:10] == pytest.approx(np.full(4, 0.180 + ROUND_TRIP_S))
    assert rows["started_s"][:4] == pytest.approx(rows["captured_s"][:4])
    assert rows["queue_s"][:4] == pytest.approx([0.121, 0.101, 0.081, 0.0])  # waiting for the others
    assert rows["uplink_bytes"].tolist() == [0, 0, 0, CLIP_BYTES, *[0] * 5, CLIP_BYTES, *[0] * 4]


def test_clips_may_overlap_where_the_system_allows_more_frames() -> None:
    """Frames of the next clip enter while one is on its way; the uplink's turn is 40 of 80 ms."""
    alone, together = (run(Clips(bound), PeriodicLatest(50.0, 400)) for bound in (1, 3 * CLIP))
    assert together.completed > 1.3 * alone.completed
    for done in (alone, together):
        for frame, clip in done.shown:
            assert frame in clip


def test_a_clip_without_an_answer_is_dropped_whole() -> None:
    uplink = [(0.0, 8e6), (0.05, 0.0), (1.0, 8e6)]
    done = run(Clips(), PeriodicLatest(50.0, 16), uplink=uplink, patience_s=0.1)
    assert outcomes(done)[:4] == ["dropped"] * 4
    assert done.completed == 0
    assert done.rows["uplink_bytes"].sum() == done.result.uplink.offered_bytes


@settings(max_examples=50)
@given(data=st.data())
def test_no_frame_byte_or_second_goes_missing(data: st.DataObject) -> None:
    make: Callable[[], Any] = data.draw(
        st.sampled_from(
            [
                lambda: PeriodicLatest(40.0, 30),
                lambda: PeriodicQueue(40.0, 30, 0.0, 3),
                lambda: ClosedLoop(30),
            ]
        )
    )
    done = run(
        Clips(data.draw(st.sampled_from([1, 4, 6, 12]))),
        make(),
        uplink=data.draw(outages(0.8)),
        crashes_s=data.draw(crashes(0.8)),
        patience_s=0.3,
    )
    rows = done.rows
    assert rows["frame"].tolist() == list(range(30))
    assert set(outcomes(done)) <= {"completed", "replaced", "dropped"}
    assert rows["uplink_bytes"].sum() == done.result.uplink.offered_bytes
    assert rows["downlink_bytes"].sum() == done.result.downlink.offered_bytes
    through = ~np.isnan(rows["completed_s"])
    parts = (
        "extract_s",
        "encode_s",
        "decode_s",
        "queue_s",
        "transmit_s",
        "edge_compute_s",
        "cloud_compute_s",
    )
    spent_s = sum(rows[part][through] for part in parts)
    assert spent_s == pytest.approx((rows["completed_s"] - rows["captured_s"])[through], abs=1e-9)
    frames = [frame for frame, _ in done.shown]
    assert frames == sorted(frames)
    assert all(frame in clip for frame, clip in done.shown)


@pytest.mark.parametrize("bad", [0, 2.5, True, "4"])
def test_frames_an_input_is_a_number_of_frames(bad: Any) -> None:
    class Wrong(Clips):
        frames_an_input = bad

    with pytest.raises(InputError, match=r"Wrong.frames_an_input to be a whole number >= 1, found"):
        run(Wrong(), PeriodicLatest(50.0, 4))


# -- where nothing can happen any more ----------------------------------------------------------------


def line_of(method: Callable[..., Any], text: str) -> int:
    lines, first = inspect.getsourcelines(method)
    return first + next(number for number, line in enumerate(lines) if text in line)


class WaitsForNothing:
    """Its frame 2 waits for what nobody says."""

    def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
        yield world.work_edge(0.01)
        if frame.index >= 2:
            yield from self.wait(world)
        return Outcome("edge", 16, 16, 0)

    def wait(self, world: Any) -> Generator[Any, Any, None]:
        yield world.wait_for(world.event())


@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("frames", [3, 9])
def test_a_wait_without_end_is_told_with_the_line_of_the_oldest_frame(in_flight: int, frames: int) -> None:
    with pytest.raises(InputError) as caught:
        run(WaitsForNothing(), PeriodicLatest(10.0, frames), in_flight=in_flight)
    message = str(caught.value)
    assert message.startswith(f"{__file__}:{line_of(WaitsForNothing.wait, 'yield')}: expected an end of ")
    assert "frame 2 of camera 0" in message
    assert "nothing can happen any more" in message
    assert ("frames_an_input" in message) == (frames == 9)
    assert "\n" not in message


def test_an_input_that_was_not_announced_is_told_how() -> None:
    class Unannounced(Clips):
        frames_an_input = 1

    with pytest.raises(InputError, match=r"frame 0 of camera 0 .* set frames_an_input") as caught:
        run(Unannounced(4), PeriodicLatest(50.0, 14))
    assert str(caught.value).startswith(f"{__file__}:{line_of(Clips.process, 'wait_for')}: ")


def test_a_run_cut_short_has_waiting_frames_in_flight() -> None:
    done = run(WaitsForNothing(), PeriodicLatest(10.0, 9), until_s=0.55)
    assert outcomes(done)[:3] == ["completed", "completed", "in_flight"]


def test_what_nobody_waits_for_may_fail() -> None:
    class Alone(WaitsForNothing):
        def wait(self, world: Any) -> Generator[Any, Any, None]:
            world.event().fail(Unreachable("nobody hears it"))
            yield world.wait_for(world.event().succeed())

    assert run(Alone(), PeriodicLatest(10.0, 9)).completed == 9


# -- through the door of every system -----------------------------------------------------------------

OWN_CLIPS = """
from dataclasses import dataclass

from sim import Outcome


class Clips:
    works_without_pixels = True
    frames_an_input = 4

    @dataclass(frozen=True)
    class Options:
        size_bytes: int = 40_000

    def __init__(self, context, options):
        self.size_bytes, self.clip = options.size_bytes, []

    def process(self, frame, world):
        if not self.clip:
            self.result = world.event()
        clip, result = self.clip, self.result
        clip.append(frame.index)
        if len(clip) < 4:
            yield world.wait_for(result)
        else:
            self.clip = []
            world.spawn(self.tell(world.aside()))
            yield world.send(self.size_bytes)
            yield world.infer_cloud_dense()
            yield world.reply(1000)
            result.succeed()
        return Outcome("cloud", 16, 16, 0)

    def tell(self, aside):
        yield aside.send(500)
        yield aside.work_edge(0.001)
        yield aside.send(500)
"""


def test_a_clip_system_of_a_user_runs_however_many_frames_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "clips.yaml").write_text("_target_: own_clips_of_frames.Clips\n")
    (tmp_path / "own_clips_of_frames.py").write_text(OWN_CLIPS)
    monkeypatch.syspath_prepend(str(tmp_path))
    for asked in (1, 9):
        choices = ["system=clips", "video=statistical", "frames=80", "cameras=2", f"in_flight={asked}"]
        record = run_choices(choices, config_dir=tmp_path)
        frames, summary = record.frames, record.summary
        assert summary["in_flight"] == 4
        assert summary["frames_completed"] > 8
        assert summary["frames_completed"] % 4 == 0
        assert summary["uplink_bytes"] == frames["uplink_bytes"].sum()
        assert set(frames["uplink_bytes"]) == {0, 41_000}
