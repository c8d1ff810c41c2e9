"""Several frames of one camera under way: each with its own account, entering when admission says so.

Stages of successive frames overlap on edge, link and server. Frames are driven by callbacks rather than by a
SimPy process each, which would cost two more events a frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias

from simpy.events import Event, Timeout

from sim.physics.arrivals import Arrivals, Skipped
from sim.physics.events import SharedEvent, Unreachable
from sim.physics.link import Transfer
from sim.records.outcome import Outcome
from sim.world.admission import CLOUD, DOWNLINK, EDGE, FELLOWS, TOLERANCE_S, UPLINK, Admission, Passage
from sim.world.camera_world import CameraWorld
from sim.world.codec_lane import CodecLane
from sim.world.contract import wrong_yield
from sim.world.frame_work import Awaitable
from sim.world.frame_world import FrameWorld

FrameProcess: TypeAlias = Generator[Any, Any, Outcome]


class TrackedFrameWorld(FrameWorld):
    """A frame's view that also notes which stage the frame has come to.

    Args:
        camera: what the frame shares with the other frames of its camera.
        passage: where it is noted.
        admission: learns from each stage that the frame has left.
        on_left: called where a link says only afterwards that the frame has left it.
    """

    __slots__ = ("_admission", "_on_left", "awaited", "passage", "process")

    def __init__(
        self, camera: CameraWorld, passage: Passage, admission: Admission, on_left: Callable[[], None]
    ) -> None:
        super().__init__(camera)
        self.passage = passage
        self.process: FrameProcess | None = None  # its system's, once begun
        self.awaited: Event | None = None  # what that waits for
        self._admission = admission
        self._on_left = on_left

    def send(self, size_bytes: int) -> Awaitable:
        self._come_to(UPLINK)
        return super().send(size_bytes)

    def reply(self, size_bytes: int) -> Awaitable:
        self._come_to(DOWNLINK)
        return super().reply(size_bytes)

    def wait_for(self, event: SharedEvent) -> Awaitable:
        if event.callbacks is not None:
            self._come_to(FELLOWS)
        return super().wait_for(event)

    def wait_turn(self, event: SharedEvent) -> Awaitable:
        if event.callbacks is not None:
            self._come_to(EDGE)
        return super().wait_turn(event)

    def _waited(self, since_s: float) -> None:
        super()._waited(since_s)
        now_s = float(self.env.now)
        self.passage.book(now_s, now_s)

    def give_up(self) -> None:
        self.passage.gave_up = True
        super().give_up()

    def leave(self) -> None:
        """The frame is through with the stage that it is in."""
        if self.passage.stop[0] >= 0:
            self._admission.leave(self.passage)

    def _on_edge(self, kind: str, service_s: float) -> Awaitable:
        self._come_to(EDGE)
        queued_s = self.account.queue_s
        event = super()._on_edge(kind, service_s)
        began_s = self.env.now + self.account.queue_s - queued_s
        self.passage.book(began_s, began_s + service_s)
        return event

    def _on_codec(self, side: str, lane: CodecLane, way: str, service_s: float) -> Awaitable:
        if service_s == 0.0:
            return super()._on_codec(side, lane, way, service_s)
        self._come_to(f"{side} codec")
        account = self.account
        queued_s, coded_s = account.queue_s, account.encode_s + account.decode_s
        event = super()._on_codec(side, lane, way, service_s)
        if account.encode_s + account.decode_s > coded_s:  # otherwise no answer will come
            began_s = self.env.now + account.queue_s - queued_s
            self.passage.book(began_s, began_s + service_s)
        return event

    def _on_cloud(self, service_s: float) -> Awaitable:
        self._come_to(CLOUD)
        queued_s, computed_s = self.account.queue_s, self.account.cloud_compute_s
        event = super()._on_cloud(service_s)
        if self.account.cloud_compute_s > computed_s:  # otherwise no answer will come
            began_s = self.env.now + self.account.queue_s - queued_s
            self.passage.book(began_s, began_s + service_s)
        return event

    def _come_to(self, place: str) -> None:
        if self.passage.stop[1] != place:
            self.leave()
            self.passage.arrive(place, float(self.env.now))
        self.passage.ended_s = math.inf

    def _book_uplink(self, transfer: Transfer) -> None:
        super()._book_uplink(transfer)
        self._book(transfer)

    def _book_downlink(self, transfer: Transfer) -> None:
        super()._book_downlink(transfer)
        self._book(transfer)

    def _book(self, transfer: Transfer) -> None:
        self.passage.book(transfer.began_s, transfer.delivered_s, transfer.shared_s)
        if transfer.delivered_s <= self.env.now:
            self._on_left()


class Pipeline:
    """A camera's frames under way.

    Args:
        world: what they share.
        arrivals: when frames come and which wait.
        admission: when the next may enter.
        begin: a frame's process, of its index, capture time and view.
        skipped: told of frames that are never begun.
        ended: told of each frame's view as it ends, and what its process returned.
        lost: told of each frame's view whose result will never come.
    """

    __slots__ = (
        "_admission",
        "_arrivals",
        "_begin",
        "_ended",
        "_look_s",
        "_lost",
        "_skipped",
        "_through",
        "_under_way",
        "_world",
    )

    def __init__(
        self,
        world: CameraWorld,
        arrivals: Arrivals,
        admission: Admission,
        begin: Callable[[int, float, FrameWorld], FrameProcess],
        skipped: Skipped,
        ended: Callable[[FrameWorld, Any], None],
        lost: Callable[[FrameWorld], None],
    ) -> None:
        self._world = world
        self._arrivals = arrivals
        self._admission = admission
        self._begin = begin
        self._skipped = skipped
        self._ended = ended
        self._lost = lost
        self._under_way: list[TrackedFrameWorld] = []
        self._look_s = math.inf  # when the timer that counts fires
        self._through = Event(world.env)  # succeeds with the end of the last frame

    @property
    def under_way(self) -> Sequence[TrackedFrameWorld]:
        """The views of the frames under way, in order of capture."""
        return self._under_way

    def run(self) -> Generator[Any, Any, None]:
        """The camera's process: it ends with the last frame."""
        self._admit()
        yield self._through

    def _admit(self) -> None:
        """Have every frame enter that may enter now, and look again when the next one could."""
        now_s = float(self._world.env.now)
        while True:
            available_s = self._arrivals.available_s(now_s)
            if available_s is None:
                if not self._under_way and not self._through.triggered:
                    self._through.succeed()
                return
            if now_s + TOLERANCE_S < available_s >= self._look_s:
                return
            passages = [view.passage for view in self._under_way]
            look_s = max(available_s, self._admission.next_look_s(now_s, passages))
            if look_s > now_s + TOLERANCE_S:
                if look_s < self._look_s:
                    self._look_at(look_s)
                return
            self._enter(now_s, bool(passages))

    def _enter(self, now_s: float, overlaps: bool) -> None:
        arrival = self._arrivals.next(now_s, self._skipped)
        assert arrival is not None
        view = TrackedFrameWorld(self._world, Passage(now_s, overlaps), self._admission, self._look_now)
        view.open(*arrival)
        self._under_way.append(view)
        view.process = self._begin(*arrival, view)
        self._step(view, view.process, None)

    def _step(self, view: TrackedFrameWorld, process: FrameProcess, event: Event | None) -> None:
        """Run a frame's process until the next event that it must wait for, or to its end."""
        while True:
            try:
                if event is None:
                    awaited = next(process)
                elif isinstance(event.value, BaseException):
                    event.defused = True
                    view.passage.gave_up = True
                    awaited = process.throw(event.value)
                else:
                    awaited = process.send(event.value)
            except StopIteration as stop:
                self._end_after_fellows(view, stop.value)
                return
            except Unreachable:
                self._under_way.remove(view)
                self._lost(view)
                return
            if not isinstance(awaited, Event):
                raise wrong_yield(process, repr(awaited))
            if awaited.callbacks is not None:
                view.awaited = awaited
                awaited.callbacks.append(lambda event: self._resume(view, process, event))
                return
            event = awaited  # it has happened already

    def _resume(self, view: TrackedFrameWorld, process: FrameProcess, event: Event) -> None:
        self._step(view, process, event)
        self._admit()

    def _end_after_fellows(self, view: TrackedFrameWorld, outcome: Outcome) -> None:
        """End a frame; if it has just told others what they wait for, they come first: they may be older."""
        told = self._world.last_told
        if told is None or told.callbacks is None:
            self._end(view, outcome)
            return

        def end(_: Event) -> None:
            self._end(view, outcome)
            self._admit()

        told.callbacks.append(end)

    def end_of_video(self) -> bool:
        """Let go of frames that wait for others of their input, since no other comes; False: none does."""
        if self._arrivals.available_s(self._world.env.now) is not None:
            return False
        waiting = False
        for view in self._under_way:
            event = view.awaited
            if isinstance(event, SharedEvent) and not event.triggered:
                event.fail(Unreachable("the video has ended before the input was complete"))
                waiting = True
        return waiting

    def _end(self, view: TrackedFrameWorld, outcome: Outcome) -> None:
        self._under_way.remove(view)
        view.leave()
        self._admission.finish(view.passage, view.now_s)
        self._ended(view, outcome)

    def _look_now(self) -> None:
        """Not at once: a link that is handing over messages must not be given new ones meanwhile."""
        self._look_at(float(self._world.env.now))

    def _look_at(self, look_s: float) -> None:
        env = self._world.env
        self._look_s = look_s
        timer = Timeout(env, max(0.0, look_s - env.now))
        assert timer.callbacks is not None
        timer.callbacks.append(self._look)

    def _look(self, _: Event) -> None:
        if self._look_s <= self._world.env.now + TOLERANCE_S:
            self._look_s = math.inf  # otherwise an earlier timer, which has been overtaken
        self._admit()
