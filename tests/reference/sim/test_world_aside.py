"""Exchanges beside frames: their bytes, their give-up time, their errors; frames that go different ways."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from simpy import Environment

from sim.physics.arrivals import ClosedLoop, PeriodicLatest, PeriodicQueue
from sim.physics.estimators import Ewma
from sim.physics.events import Unreachable
from sim.physics.fair_link import FairLink
from sim.physics.link import Link
from sim.physics.processor import Processor
from sim.physics.trace_replay import replay
from sim.records.frame_table import FrameTable
from sim.records.outcome import Outcome
from sim.world.admission import Admission
from sim.world.camera import Camera
from sim.world.camera_world import CameraWorld
from sim.world.contract import checked_bound, checked_input
from sim.world.device import Device
from sim.world.simulation import RunResult, Simulation
from tests.strategies.systems import CLOUD, EDGE, PROBE_S, crashes, outages, rate
from traces.errors import InputError

Process = Generator[Any, Any, Any]
UPLINK_BPS = 8e6  # a byte a microsecond
MESSAGE_BYTES, REPLY_BYTES = 50_000, 1000


class Done(NamedTuple):
    """What is left of a run."""

    result: RunResult
    rows: dict[str, NDArray[np.float64]]
    shown: list[tuple[int, Any]]  # frame and result, in the order of showing
    world: CameraWorld

    @property
    def completed(self) -> int:
        return int((self.rows["outcome"] == 0).sum())


def run(
    system: Any,
    arrivals: Any,
    uplink: Sequence[tuple[float, float]] = ((0.0, UPLINK_BPS),),
    crashes_s: Sequence[tuple[float, float]] = (),
    patience_s: float = 5.0,
    link: type[Link] = Link,
    until_s: float | None = None,
    in_flight: int | None = None,
) -> Done:
    """One camera with this system on links without delay; dense inference takes 60 ms here, 20 ms there."""
    env = Environment()
    up, down = (link(env, replay(rate(rates))) for rates in (uplink, [(0.0, UPLINK_BPS)]))
    near, far = Processor(env, "edge"), Processor(env, "cloud", crashes_s)
    world = CameraWorld(
        env, Device(near, EDGE), Device(far, CLOUD), up, down, Ewma(), patience_s, probe_s=PROBE_S
    )
    table = FrameTable()
    shown: list[tuple[int, Any]] = []
    frames_an_input = checked_input(system)
    bound = max(in_flight or checked_bound(system), frames_an_input)
    camera = Camera(
        0,
        arrivals,
        system,
        world,
        table,
        on_result=lambda _, frame, result: shown.append((frame, result)),
        admission=Admission(bound, 7.0, frames_an_input) if bound > 1 else None,
    )
    result = Simulation(env, [camera], up, down, [near], far, table).run(until_s)
    return Done(result, table.columns(), shown, world)


class Propagates:
    """Answers at once on the edge; beside that, one frame after the other is inferred on the server."""

    def __init__(self, edge_s: float = 0.0, aside_edge_s: float = 0.0) -> None:
        self.edge_s = edge_s
        self.aside_edge_s = aside_edge_s
        self.latest: int | None = None
        self.asked = False
        self.replies: list[tuple[int, float]] = []
        self.lost: list[tuple[int, float]] = []
        self.accounts: list[Any] = []

    def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
        if not self.asked:
            self.asked = True
            world.spawn(self.ask(frame.index, world.aside()))
        yield world.work_edge(self.edge_s)
        return Outcome("reused", 16, 0, 0, result=self.latest)

    def ask(self, frame: int, aside: Any) -> Process:
        self.accounts.append(aside.account)
        try:
            if self.aside_edge_s:
                yield aside.work_edge(self.aside_edge_s)
            yield aside.send(MESSAGE_BYTES)
            yield aside.infer_cloud_dense()
            yield aside.reply(REPLY_BYTES)
        except Unreachable:
            self.lost.append((frame, aside.now_s))
        else:
            self.latest = frame
            self.replies.append((frame, aside.now_s))
        self.asked = False


def test_a_reply_serves_later_frames() -> None:
    """A round trip takes 50 + 20 + 1 ms: what is asked at frame 0 serves frame 1, 100 ms later, and so on."""
    system = Propagates(edge_s=0.001)
    done = run(system, PeriodicLatest(10.0, 5))
    assert done.completed == 5
    assert done.shown == [(0, None), (1, 0), (2, 1), (3, 2), (4, 3)]
    assert [time_s for _, time_s in system.replies] == pytest.approx([0.071, 0.171, 0.271, 0.371])
    rows = done.rows
    assert rows["completed_s"] - rows["captured_s"] == pytest.approx(np.full(5, 0.001))
    assert rows["edge_compute_s"] == pytest.approx(np.full(5, 0.001))
    for name in ("queue_s", "transmit_s", "cloud_compute_s"):  # the exchange's own times are in no row
        assert rows[name] == pytest.approx(np.zeros(5), abs=1e-12)
    assert np.isnan(rows["uplink_enqueued_s"]).all()
    # Bytes are in the row of the frame that it was asked for, whenever they were sent.
    assert rows["uplink_bytes"].tolist() == [MESSAGE_BYTES] * 5
    assert rows["downlink_bytes"].tolist() == [REPLY_BYTES] * 4 + [0]  # the run ends before the last one


def test_an_exchange_has_an_account_of_its_own() -> None:
    system = Propagates()
    run(system, PeriodicLatest(10.0, 2))
    account = system.accounts[0]
    assert account.frame == 0
    assert (account.uplink_bytes, account.downlink_bytes) == (MESSAGE_BYTES, REPLY_BYTES)
    assert account.transmit_s == pytest.approx(0.051)
    assert account.cloud_compute_s == pytest.approx(0.020)
    assert account.queue_s == 0.0


def test_its_work_on_the_edge_is_critical_work_that_frames_wait_for() -> None:
    done = run(Propagates(edge_s=0.010, aside_edge_s=0.120), PeriodicLatest(10.0, 2))
    rows = done.rows
    # Begun after frame 0's, it ends at 130 ms: frame 1 waits for 30.
    assert rows["queue_s"] == pytest.approx([0.0, 0.030])
    assert rows["completed_s"] == pytest.approx([0.010, 0.140])
    assert done.result.edge_busy_s[0] == pytest.approx(0.140)
    assert done.result.edge_background_s[0] == 0.0


def test_it_gives_up_by_itself_and_the_frames_go_on() -> None:
    system = Propagates(edge_s=0.001)
    done = run(system, PeriodicLatest(10.0, 9), uplink=[(0.0, UPLINK_BPS), (0.1, 0.0)], patience_s=0.25)
    assert system.replies == [(0, pytest.approx(0.071))]
    assert system.lost == [(1, pytest.approx(0.35)), (4, pytest.approx(0.65))]  # each 250 ms after its own
    assert done.completed == 9
    assert done.rows["uplink_bytes"].sum() == done.result.uplink.offered_bytes


def test_the_estimator_does_not_take_waiting_behind_an_exchange_for_a_slow_link() -> None:
    class Both(Propagates):
        def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
            world.spawn(self.ask(frame.index, world.aside()))
            yield world.work_edge(0.001)
            yield world.send(MESSAGE_BYTES)  # waits for the other one
            yield world.work_edge(0.2)
            self.bandwidth_bps = world.bandwidth_bps()
            return Outcome("edge", 16, 16, 0)

    system = Both()
    done = run(system, PeriodicLatest(10.0, 1))
    assert done.rows["queue_s"][0] == pytest.approx(0.049)
    assert system.bandwidth_bps == pytest.approx(UPLINK_BPS)


@settings(max_examples=50)
@given(data=st.data())
def test_no_byte_or_second_goes_missing(data: st.DataObject) -> None:
    """Whatever happens to link and server, and whenever the run is cut short."""
    arrivals = data.draw(
        st.sampled_from([PeriodicLatest(10.0, 14), PeriodicQueue(10.0, 14, 0.0, 3), ClosedLoop(14)])
    )
    system = Propagates(
        data.draw(st.sampled_from([0.0, 0.03, 0.15])), data.draw(st.sampled_from([0.0, 0.04]))
    )
    done = run(
        system,
        arrivals,
        uplink=data.draw(outages(1.4)),
        crashes_s=data.draw(crashes(1.4)),
        patience_s=0.3,
        link=data.draw(st.sampled_from([Link, FairLink])),
        until_s=data.draw(st.one_of(st.none(), st.floats(0.01, 1.3))),
        in_flight=data.draw(st.sampled_from([1, 4])),
    )
    rows, uplink = done.rows, done.result.uplink
    assert rows["uplink_bytes"].sum() == uplink.offered_bytes == uplink.delivered_bytes + uplink.queued_bytes
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
    assert done.result.edge_busy_s[0] <= done.result.simulated_s + 1e-9


# -- what a process beside a frame raises -----------------------------------------------------------


def line_of(method: Callable[..., Any], text: str) -> int:
    """The line of this file on which a method has a text."""
    lines, first = inspect.getsourcelines(method)
    return first + next(number for number, line in enumerate(lines) if text in line)


class Beside:
    """Every frame takes 10 ms on the edge and has something beside it."""

    def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
        world.spawn(self.beside(world.aside()))
        yield world.work_edge(0.010)
        return Outcome("edge", 16, 16, 0)

    def beside(self, aside: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("in_flight", [1, 4])
def test_unreachable_that_nobody_catches_ends_the_process_and_not_the_run(in_flight: int) -> None:
    ended = []

    class Careless(Beside):
        def beside(self, aside: Any) -> Process:
            try:
                yield aside.send(MESSAGE_BYTES)
            finally:
                ended.append(aside.now_s)

    done = run(
        Careless(),
        PeriodicLatest(10.0, 4),
        uplink=[(0.0, 0.0), (1.0, UPLINK_BPS)],
        patience_s=0.05,
        in_flight=in_flight,
    )
    assert done.completed == 4
    assert ended == pytest.approx([0.05, 0.15, 0.25])


@pytest.mark.parametrize("in_flight", [1, 4])
def test_any_other_error_ends_the_run_with_its_line(in_flight: int) -> None:
    class Wrong(Beside):
        def beside(self, aside: Any) -> Process:
            yield aside.send(MESSAGE_BYTES)
            yield from self.further({})

        def further(self, table: dict[str, float]) -> Process:
            yield table["no such\nkey"]

    with pytest.raises(InputError) as caught:
        run(Wrong(), PeriodicLatest(10.0, 4), in_flight=in_flight)
    message = str(caught.value)
    line = line_of(Wrong.further, "no such")
    assert message.startswith(f"{__file__}:{line}: expected ")
    assert "Wrong.beside" in message
    assert "KeyError" in message
    assert "\n" not in message


def test_a_yield_of_something_else_is_told_where() -> None:
    class Wrong(Beside):
        def beside(self, aside: Any) -> Process:
            yield 0.25

    with pytest.raises(InputError, match=r"expected yield of .*, found 0.25") as caught:
        run(Wrong(), PeriodicLatest(10.0, 4))
    assert str(caught.value).startswith(f"{__file__}:{line_of(Wrong.beside, 'yield 0.25')}: ")


def test_what_is_no_generator_is_told_where() -> None:
    class Wrong(Beside):
        def beside(self, aside: Any) -> None:
            return None

    with pytest.raises(InputError, match=r"expected world.spawn.* a generator, found None") as caught:
        run(Wrong(), PeriodicLatest(10.0, 4))
    assert str(caught.value).startswith(f"{__file__}:{line_of(Beside.process, 'world.spawn')}: ")


# -- frames that go different ways -------------------------------------------------------------------


class Alternates:
    """Even frames are answered on the edge, odd ones offloaded; the uplink is the slowest stage."""

    max_in_flight = 4

    def __init__(self, extracts: bool) -> None:
        self.extracts = extracts

    def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
        if self.extracts:
            yield world.work_edge(0.005)
        if frame.index % 2 == 0:
            yield world.work_edge(0.020)
            return Outcome("edge", 16, 16, 0)
        yield world.send(100_000)
        yield world.infer_cloud_dense()
        yield world.reply(REPLY_BYTES)
        return Outcome("cloud", 16, 16, 0)


ARRIVALS = {
    "latest": lambda: PeriodicLatest(30.0, 300),
    "queue": lambda: PeriodicQueue(30.0, 300, 0.0, 8),
    "closed loop": lambda: ClosedLoop(300),
}


@pytest.mark.parametrize("name", ARRIVALS)
@pytest.mark.parametrize("extracts", [False, True])
def test_frames_that_skip_the_slowest_stage_are_neither_held_back_nor_in_the_way(
    name: str, extracts: bool
) -> None:
    """More frames a second come through than one at a time, with more worth; hardly any is overtaken."""
    alone, together = (run(Alternates(extracts), ARRIVALS[name](), in_flight=bound) for bound in (1, 4))

    def worth_per_s(done: Done) -> float:
        latency_s = (done.rows["completed_s"] - done.rows["captured_s"])[done.rows["outcome"] == 0]
        return float(np.exp(-7.0 * latency_s).sum()) / done.result.simulated_s

    begun = int((~np.isnan(together.rows["started_s"])).sum())
    assert together.completed >= 0.96 * begun
    assert together.completed / together.result.simulated_s > (
        1.15 * alone.completed / alone.result.simulated_s
    )
    assert worth_per_s(together) > worth_per_s(alone)


def test_after_frames_have_gone_the_longer_way_for_long_the_shorter_one_is_forgotten() -> None:
    """A first frame on the edge is no reason to hold offloaded ones in order for ever."""

    class OffloadsLater(Alternates):
        def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
            frame.index = 2 if frame.index < 20 else 1
            return (yield from super().process(frame, world))

    class Offloads(Alternates):
        def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
            frame.index = 1
            return (yield from super().process(frame, world))

    later, always = (run(kind(False), PeriodicLatest(30.0, 300)) for kind in (OffloadsLater, Offloads))
    ends_s = [done.rows["completed_s"][done.rows["outcome"] == 0][-40:] for done in (later, always)]
    assert np.diff(ends_s[0]) == pytest.approx(np.full(39, 0.1), abs=1e-6)  # the uplink is never idle
    assert np.diff(ends_s[1]) == pytest.approx(np.full(39, 0.1), abs=1e-6)
