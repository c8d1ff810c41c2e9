"""Several frames under way: against a model of a few lines, frame by frame; and which results are shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from simpy import Environment

from sim.assembly import assemble
from sim.command.single_run import summarise
from sim.configuration import read_config
from sim.physics.arrivals import ClosedLoop, PeriodicLatest, PeriodicQueue
from sim.physics.estimators import Ewma
from sim.physics.events import Unreachable
from sim.physics.link import Link
from sim.physics.processor import Processor
from sim.physics.trace_replay import replay
from sim.records.frame_table import OUTCOMES, FrameTable
from sim.records.outcome import Outcome
from sim.world.admission import Admission, Passage
from sim.world.camera import Camera
from sim.world.camera_world import CameraWorld
from sim.world.device import Device
from sim.world.simulation import Simulation
from tests.strategies.sim import pixels, run, statistical
from tests.strategies.systems import CLOUD, EDGE, PROBE_S, rate
from traces.errors import InputError

FPS = 30.0
FRAMES = 120
DELAY_S = 0.01  # of either link
DOWNLINK_BYTES_PER_S = 100e6 / 8
RESULT_BYTES = 4096
WORLD = {  # what the model below knows of; codecs take no time in it
    "link": {"delay_s": DELAY_S},
    "downlink": {"mean_mbps": 8e-6 * DOWNLINK_BYTES_PER_S, "delay_s": DELAY_S},
    "codec_time": "none",
    "frames": FRAMES,
    "in_flight": 4,
}

# -- full offload, in plain Python ------------------------------------------------------------------

Uplink = Callable[[float, float], float]  # bytes, and when they are queued; when the last one has left


def by_opportunities(times_ms: Sequence[int], period_ms: int) -> Uplink:
    """Packet by packet: each opportunity carries 1500 bytes; what it cannot fill is wasted."""
    opportunity, left_bytes = -1, 0.0

    def when_ms(index: int) -> int:
        return index // len(times_ms) * period_ms + times_ms[index % len(times_ms)]

    def take(size_bytes: float, queued_s: float) -> float:
        nonlocal opportunity, left_bytes
        while size_bytes > 0:
            if left_bytes == 0 or when_ms(opportunity) < 1e3 * queued_s - 1e-6:
                opportunity, left_bytes = opportunity + 1, 1500.0
                continue
            used_bytes = min(left_bytes, size_bytes)
            left_bytes, size_bytes = left_bytes - used_bytes, size_bytes - used_bytes
        return max(queued_s, when_ms(opportunity) / 1e3)

    return take


def by_rates(rates_bps: Sequence[float], segment_s: float) -> Uplink:
    """Segment by segment, in a circle."""
    free_s = 0.0

    def take(size_bytes: float, queued_s: float) -> float:
        nonlocal free_s
        free_s = max(free_s, queued_s)
        while True:
            segment = math.floor(free_s / segment_s + 1e-9)
            rate = rates_bps[segment % len(rates_bps)] / 8
            end_s = (segment + 1) * segment_s
            if size_bytes <= rate * (end_s - free_s) + 1e-6:
                free_s += size_bytes / rate
                return free_s
            size_bytes -= rate * (end_s - free_s)
            free_s = end_s

    return take


def full_offload(size_bytes: Callable[[int], int], uplink: Uplink, dense_s: float) -> dict[int, list[float]]:
    """Entry, end of transmission and result of every frame that is worked on.

    The uplink is the slowest stage. It is needed at once, so that the newest frame enters as soon as the one
    before has left it; the second one waits for the first result.
    """
    reply_s = RESULT_BYTES / DOWNLINK_BYTES_PER_S + DELAY_S
    frames: dict[int, list[float]] = {}
    enters_s, server_free_s, index = 0.0, 0.0, -1
    while True:
        index = max(index + 1, min(math.floor(enters_s * FPS + 1e-9), FRAMES - 1))
        if index >= FRAMES:
            return frames
        enters_s = max(enters_s, index / FPS)
        sent_s = uplink(size_bytes(index), enters_s)
        server_free_s = max(server_free_s, sent_s + DELAY_S) + dense_s
        frames[index] = [enters_s, sent_s, server_free_s + reply_s]
        enters_s = sent_s if len(frames) > 1 else server_free_s + reply_s


def check(done: Any, uplink: Uplink) -> None:
    frames: pd.DataFrame = done.frames.set_index("frame")
    expected = full_offload(
        lambda index: int(frames["uplink_bytes"][index]), uplink, done.assembly.cloud.dense_s
    )
    worked_on = frames[frames["outcome"] == "completed"]
    assert worked_on.index.tolist() == list(expected)
    times = worked_on[["started_s", "uplink_delivered_s", "completed_s"]].to_numpy()
    assert times == pytest.approx(np.array(list(expected.values())), abs=1e-7)
    assert (worked_on["started_s"].to_numpy()[2:] < worked_on["completed_s"].to_numpy()[1:-1]).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("codec", ["raw", "png"])
def test_pipelined_full_offload_on_delivery_opportunities(tmp_path: Path, codec: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    packets = rng.integers(0, 9 if codec == "png" else 22, 500)
    times_ms = np.repeat(np.arange(1, 501), packets)
    path = tmp_path / "opportunities"
    path.write_text("".join(f"{ms}\n" for ms in [*times_ms, 501]), encoding="utf-8")
    trace = {"path": str(path), "format": "mahimahi"}
    options = {"codec": codec, "result_bytes": RESULT_BYTES}
    done = run(statistical("full_offload", options=options, trace=trace, **WORLD))
    check(done, by_opportunities([*times_ms.tolist(), 501], 501))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("codec", ["raw", "png"])
def test_pipelined_full_offload_on_rates(tmp_path: Path, codec: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rates_mbps = rng.uniform(20.0, 80.0, 40) * (1 if codec == "png" else 2)
    path = tmp_path / "rates.csv"
    rows = [f"{0.25 * i},{rate!r}" for i, rate in enumerate(rates_mbps.tolist())]
    path.write_text("\n".join(["time_s,rate_mbps", *rows]) + "\n", encoding="utf-8")
    trace = {"path": str(path)}
    options = {"codec": codec, "result_bytes": RESULT_BYTES}
    done = run(statistical("full_offload", options=options, trace=trace, **WORLD))
    check(done, by_rates((1e6 * rates_mbps).tolist(), 0.25))


@pytest.mark.filterwarnings("ignore:video.size_px")
def test_a_frame_is_inferred_from_its_own_bytes_whatever_was_encoded_since() -> None:
    """Measured accuracy of a frame is the same, however many were under way with it."""
    changes = {
        "trace": {"mean_mbps": 1.5, "duration_s": 5.0, "seed": 2},
        "options": {"codec": "jpeg", "quality": 5},
        "accuracy": {"mode": "measured"},
        "frames": 30,
    }
    measured = []
    for bound in (1, 4):
        content = pixels("full_offload", **changes, in_flight=bound)
        config = read_config(content)
        assembly = assemble(config)
        result = assembly.simulation.run()
        frames = summarise(config, content, assembly, result, 0.0).frames.set_index("frame")
        measured.append(frames["measured_accuracy"].dropna())
    alone, together = measured
    both = alone.index.intersection(together.index)
    assert len(together) > len(alone)
    assert len(both) > 5
    assert alone[both].nunique() > 1
    assert together[both].tolist() == alone[both].tolist()


# -- which results are shown ------------------------------------------------------------------------


class Unhurried(Admission):
    """Lets frames enter whenever there is room."""

    def next_look_s(self, now_s: float, under_way: Sequence[Passage]) -> float:
        return now_s if len(under_way) < self.bound else math.inf


class Sleeper:
    """Every frame takes as long as it is told; a negative time is one after which nothing comes."""

    max_in_flight = 4

    def __init__(self, times_s: Sequence[float]) -> None:
        self.times_s = times_s
        self.under_way = 0
        self.most = 0

    def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        time_s = self.times_s[frame.index]
        world.account.uplink_bytes += 1000 + frame.index
        yield world.env.timeout(abs(time_s))
        self.under_way -= 1
        if time_s < 0:
            raise Unreachable("asleep")
        return Outcome("edge", 16, 16, 0)


def sleep(
    times_s: Sequence[float],
    arrivals: Any,
    bound: int = 4,
    until_s: float | None = None,
    kind: type[Sleeper] = Sleeper,
) -> Any:
    """Outcomes, (capture, start, end) and bytes of each frame, the frames shown, and the system."""
    env = Environment()
    up, down = (Link(env, replay(rate([(0.0, 8e6)]))) for _ in range(2))
    near, far = Processor(env, "edge"), Processor(env, "cloud")
    world = CameraWorld(env, Device(near, EDGE), Device(far, CLOUD), up, down, Ewma(), probe_s=PROBE_S)
    system, table = kind(times_s), FrameTable()
    shown: list[int] = []
    camera = Camera(
        0,
        arrivals,
        system,
        world,
        table,
        on_result=lambda camera, frame, result: shown.append(frame),
        admission=Unhurried(bound, 7.0),
    )
    Simulation(env, [camera], up, down, [near], far, table).run(until_s)
    columns = table.columns()
    rows = zip(*(columns[name] for name in ("captured_s", "started_s", "completed_s")), strict=True)
    outcomes = [OUTCOMES[int(code)] for code in columns["outcome"]]
    return outcomes, list(rows), columns["uplink_bytes"].tolist(), shown, system


def test_a_result_that_comes_after_a_newer_one_is_not_shown() -> None:
    outcomes, times_s, sizes, shown, _ = sleep([0.30, 0.05, 0.02, -0.04], PeriodicLatest(10.0, 4))
    assert outcomes == ["replaced", "completed", "completed", "dropped"]
    assert shown == [1, 2]
    assert times_s[0] == pytest.approx((0.0, 0.0, 0.30))  # its times and bytes are kept
    assert times_s[1] == pytest.approx((0.1, 0.1, 0.15))
    assert sizes == [1000, 1001, 1002, 1003]


def test_results_of_the_same_instant_are_shown_in_order_of_capture() -> None:
    outcomes, _, _, shown, _ = sleep([0.25, 0.125], PeriodicLatest(8.0, 2))
    assert outcomes == ["completed", "completed"]
    assert shown == [0, 1]


def test_no_more_than_the_bound_are_under_way_and_the_newest_enters_next() -> None:
    outcomes, times_s, _, _, system = sleep([0.35] * 10, PeriodicLatest(10.0, 10), bound=2)
    assert system.most == 2
    assert outcomes == [
        *("completed", "completed", "replaced", "completed", "completed"),
        *("replaced", "replaced", "completed", "completed", "completed"),
    ]
    assert [start_s for _, start_s, _ in times_s if start_s == start_s] == pytest.approx(
        [0.0, 0.1, 0.35, 0.45, 0.7, 0.8, 1.05]
    )


def test_a_queue_is_served_in_order_as_frames_leave() -> None:
    outcomes, times_s, _, _, system = sleep([0.35] * 6, PeriodicQueue(10.0, 6, 0.0, 2), bound=2)
    assert system.most == 2
    assert outcomes == ["completed"] * 6
    assert [start_s for _, start_s, _ in times_s] == pytest.approx([0.0, 0.1, 0.35, 0.45, 0.7, 0.8])


def test_closed_loop_captures_a_frame_when_it_may_enter() -> None:
    outcomes, times_s, _, _, _ = sleep([0.2, 0.3, 0.1, 0.1], ClosedLoop(4), bound=2)
    assert outcomes == ["completed"] * 4
    assert times_s == [
        pytest.approx(row) for row in [(0, 0, 0.2), (0, 0, 0.3), (0.2, 0.2, 0.3), (0.3, 0.3, 0.4)]
    ]


def test_a_system_that_yields_something_else_is_told_where() -> None:
    class Hasty(Sleeper):
        def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
            outcome = yield from self.inner(frame)
            return outcome

        def inner(self, frame: Any) -> Generator[Any, Any, Outcome]:
            yield 0.25
            return Outcome("edge", 16, 16, 0)

    with pytest.raises(InputError, match=r"test_pipeline.py:\d+: expected yield of .* found 0.25"):
        sleep([0.1], PeriodicLatest(10.0, 1), kind=Hasty)


def test_a_run_cut_short_has_every_frame_under_way() -> None:
    outcomes, _, sizes, shown, _ = sleep(
        [0.05, 0.5, 0.5, 0.5], PeriodicLatest(10.0, 9), bound=2, until_s=0.45
    )
    assert outcomes == ["completed", "in_flight", "in_flight", "replaced", "in_flight"]
    assert sizes == [1000, 1001, 1002, 0, 0]
    assert shown == [0]
