"""A camera's loop: wait for a frame, have the system deal with it, book what came of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import GeneratorType
from typing import Any

from numpy.typing import NDArray
from simpy.events import Timeout

from sim.physics.arrivals import Arrivals
from sim.physics.events import Unreachable
from sim.records.account import FrameAccount
from sim.records.frame_table import FrameTable
from sim.records.outcome import Outcome
from sim.records.overlay import ShownFrame
from sim.world.admission import Admission
from sim.world.camera_world import CameraWorld
from sim.world.contract import checked_generator, checked_outcome, place_of_process, stuck, wrong_yield
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from sim.world.pipeline import Pipeline
from sim.world.system import System
from traces.errors import InputError


@dataclass(slots=True, eq=False)
class Camera:
    """One camera with its system and its part of the world.

    Args:
        number: position among the cameras.
        arrivals: when frames come and which wait.
        system: deals with frames.
        world: what its frames share.
        table: where frames are booked.
        image: the picture of a frame by index; None where the video is statistical.
        on_frame: told (camera, frame) after each frame that ended, for progress.
        onlookers: each told of every frame whose result is shown.
        ruler: counts the stale blocks of an outcome in what it rests on, given the frame's image and the
            place of the system's code; None: the system's own count stands.
        on_result: told (camera, frame, result) of each result that is shown, where accuracy is measured.
        outside_profile: the frames are not what the latency profiles were made for: flag them all.
        admission: says when frames may enter while others are under way; None: one at a time.
    """

    number: int
    arrivals: Arrivals
    system: System
    world: CameraWorld
    table: FrameTable
    image: Callable[[int], NDArray[Any]] | None = None
    on_frame: Callable[[int, int], None] | None = None
    onlookers: Sequence[Callable[[ShownFrame], None]] = ()
    ruler: Callable[[Outcome, NDArray[Any], str], Outcome] | None = None
    on_result: Callable[[int, int, Any], None] | None = None
    outside_profile: bool = False
    admission: Admission | None = None
    under_way: bool = False  # whether a frame is, one at a time
    _view: FrameWorld = field(init=False)  # of that frame
    _pipeline: Pipeline | None = field(init=False, default=None)
    _images: dict[int, NDArray[Any] | None] = field(default_factory=dict)  # of the pipeline's frames
    _newest: int = -1  # frame whose result is out
    _place: str = ""  # of the system's code
    _process: Any = None  # the system's generator, one at a time

    def __post_init__(self) -> None:
        self._view = FrameWorld(self.world)
        self._place = place_of_process(self.system)
        self.world.book_aside = partial(self.table.add_bytes, self.number)
        self.table.add_opportunistic(self.number, self.world.activity.opportunistic)

    @property
    def in_flight(self) -> int:
        """How many of its frames may be under way."""
        return 1 if self.admission is None else self.admission.bound

    def run(self) -> Generator[Any, Any, None]:
        """The camera's process."""
        if self.admission is None:
            return self._one_at_a_time()
        self._pipeline = Pipeline(
            self.world, self.arrivals, self.admission, self._begin, self._skipped, self._ended, self._lost
        )
        return self._pipeline.run()

    def _one_at_a_time(self) -> Generator[Any, Any, None]:
        world, table, arrivals = self._view, self.table, self.arrivals
        env, account, asked = world.env, world.account, world.asked
        process, on_frame = self.system.process, self.on_frame
        watched = self.on_result is not None or self.onlookers
        while True:
            now_s = env.now
            arrival = arrivals.next(now_s, self._skipped)
            if arrival is None:
                return
            index, captured_s = arrival
            if captured_s > now_s:
                yield Timeout(env, captured_s - now_s)
            world.open(index, captured_s)
            self.under_way = True
            image = None if self.image is None else self.image(index)
            try:
                made = self._process = process(Frame(index, captured_s, image), world)
                if made.__class__ is not GeneratorType:
                    checked_generator(made, self.system)
                outcome = checked_outcome((yield from made), self.system)
                if asked.open or (asked.last is not None and asked.last.callbacks is not None):
                    asked.check(self._place)
            except Unreachable:
                table.abandon(self.number, account, "dropped")
            else:
                if outcome.rests_on is not None:
                    outcome = self._measured(outcome, image)
                if self.outside_profile:
                    outcome = outcome._replace(extrapolated=True)
                table.complete(self.number, account, env.now, outcome)
                if watched:
                    self._show(account, image, outcome)
            self.under_way = False
            if on_frame is not None:
                on_frame(self.number, index)

    def _begin(self, index: int, captured_s: float, view: FrameWorld) -> Generator[Any, Any, Outcome]:
        image = self._images[index] = None if self.image is None else self.image(index)
        return checked_generator(self.system.process(Frame(index, captured_s, image), view), self.system)

    def _lost(self, view: FrameWorld) -> None:
        """Book a frame of the pipeline whose result never came."""
        account = view.account
        del self._images[account.frame]
        self.table.abandon(self.number, account, "dropped")
        if self.on_frame is not None:
            self.on_frame(self.number, account.frame)

    def _ended(self, view: FrameWorld, returned: Any) -> None:
        """Book a frame of the pipeline; its result is shown unless a newer one is out."""
        account = view.account
        image = self._images.pop(account.frame)
        outcome = checked_outcome(returned, self.system)
        view.asked.check(self._place)
        if account.frame < self._newest:
            self.table.supersede(self.number, account, view.now_s)
        else:
            self._newest = account.frame
            if outcome.rests_on is not None:
                outcome = self._measured(outcome, image)
            if self.outside_profile:
                outcome = outcome._replace(extrapolated=True)
            self.table.complete(self.number, account, view.now_s, outcome)
            self._show(account, image, outcome)
        if self.on_frame is not None:
            self.on_frame(self.number, account.frame)

    def _measured(self, outcome: Outcome, image: NDArray[Any] | None) -> Outcome:
        """The outcome with its stale blocks counted in what it rests on; without pixels as it is."""
        if self.ruler is None or image is None:
            return outcome
        return self.ruler(outcome, image, self._place)

    def _show(self, account: FrameAccount, image: NDArray[Any] | None, outcome: Outcome) -> None:
        """Hand a result to whoever looks at it."""
        if self.on_result is not None:
            self.on_result(self.number, account.frame, outcome.result)
        if self.onlookers and image is not None:
            latency_s = float(self.world.env.now) - account.captured_s
            shown = ShownFrame(account.frame, account.captured_s, latency_s, image, outcome, account.shown)
            for look in self.onlookers:
                look(shown)

    def wrong_yield(self, found: str) -> InputError:
        """The error for a system that has yielded what the world did not give it."""
        return wrong_yield(self._process, found)

    def end_of_video(self) -> bool:
        """Let go of the frames of an input that stays incomplete; False: there are none."""
        if self._pipeline is None or self.admission is None or self.admission.frames_an_input == 1:
            return False
        return self._pipeline.end_of_video()

    def oldest(self) -> tuple[float, InputError] | None:
        """When the oldest frame under way was captured, and the error for one that waits in vain."""
        views = self._under_way()
        if not views:
            return None
        account = views[0].account
        process = self._process if self._pipeline is None else self._pipeline.under_way[0].process
        to_come = self.arrivals.available_s(self.world.env.now) is not None
        return account.captured_s, stuck(process, self.number, account.frame, len(views), to_come)

    def _under_way(self) -> Sequence[FrameWorld]:
        if self._pipeline is not None:
            return self._pipeline.under_way
        return [self._view] if self.under_way else []

    def stop(self, now_s: float) -> None:
        """Book what has been captured before `now_s` and has no result yet as in flight."""
        for view in self._under_way():
            self.table.abandon(self.number, view.account, "in_flight")
        for index, captured_s in self.arrivals.waiting(now_s, self._skipped):
            self.table.skip(self.number, index, captured_s, "in_flight")

    def _skipped(self, index: int, captured_s: float, outcome: str) -> None:
        self.table.skip(self.number, index, captured_s, outcome)
