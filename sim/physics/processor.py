"""A processor: critical work first come, first served; background work in whatever time is left.

Like a cook with one stove: orders are cooked in the order they come, stock simmers in between, and a
pot of stock is only taken off between two steps of its recipe. Because nothing overtakes a critical job,
its end is known when it is submitted: one event a job. Background jobs are settled lazily, as on a link.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

from simpy import Environment
from simpy.events import Timeout

from sim.physics.trace_replay import LOOK_AFTER_S
from traces.errors import InputError


class Reservation(NamedTuple):
    """When a critical job runs: it waits until `began_s` and is through at `ended_s`."""

    began_s: float
    ended_s: float


@dataclass(slots=True, eq=False)
class BackgroundJob:
    """A dense refresh: operators that run one after the other; what is finished stays finished."""

    ends_s: Sequence[float]  # work done by the end of each operator, from 0 for none; ascending
    on_begun: Callable[[], None]
    on_done: Callable[[], None]
    on_lost: Callable[[], None]
    began_s: float = 0.0
    done: int = 0  # operators finished or running


def _nothing() -> None:
    """What happens where nobody asked to be told."""


@lru_cache(maxsize=64)  # one object for refreshes that are alike: a processor adds them up once
def operators(total_s: float, count: int) -> tuple[float, ...]:
    """`count` operators of equal length that last `total_s` together."""
    if count < 1:
        raise InputError(f"refresh.operators: expected at least 1 operator, found {count}")
    return (total_s / count,) * count


@dataclass(slots=True, eq=False)
class Processor:
    """One device that runs one thing at a time.

    Args:
        env: the SimPy environment.
        name: for messages.
        crashes_s: [start, end) intervals during which the device is down; work in it is lost.
    """

    env: Environment
    name: str
    crashes_s: Sequence[tuple[float, float]] = ()
    refreshes: int = 0
    _critical_s: float = 0.0  # booked, what lies ahead included
    _background_s: float = 0.0  # the operators begun, to their ends
    _busy_since_s: float = 0.0  # since when critical jobs follow one another without a gap
    _operator_end_s: float = 0.0  # of the operator begun last
    _free_s: float = 0.0
    _background: BackgroundJob | None = None
    _waiting: deque[BackgroundJob] = field(default_factory=deque)
    _resume_s: float = 0.0  # when the background job's next operator began or may begin
    _timer_armed: bool = field(default=False)
    _operators_s: tuple[float, ...] = ()  # of the last refresh, and what they add up to
    _ends_s: tuple[float, ...] = (0.0,)

    # -- critical work ------------------------------------------------------------------------------

    def reserve(self, service_s: float) -> Reservation:
        """Queue a critical job now; return when it runs."""
        now_s = self.env.now
        began_s = self._free_s if self._free_s > now_s else now_s
        if self._background is not None:
            began_s = max(began_s, self._settle(now_s))
            if self._background.done < len(self._background.ends_s) - 1:
                self._resume_s = began_s + service_s
        if began_s > self._free_s:
            self._busy_since_s = began_s
        self._free_s = ended_s = began_s + service_s
        self._critical_s += service_s
        return Reservation(began_s, ended_s)

    def loses(self, reserved: Reservation) -> bool:
        """Whether a crash swallows a job that is queued now and ends with `reserved`."""
        return any(start_s < reserved.ended_s and self.env.now < end_s for start_s, end_s in self.crashes_s)

    def is_down(self) -> bool:
        """Whether the device is crashed now."""
        if not self.crashes_s:  # asked of every message
            return False
        now_s = self.env.now
        return any(start_s <= now_s < end_s for start_s, end_s in self.crashes_s)

    def backlog_s(self) -> float:
        """Seconds of critical work that wait or run."""
        return max(0.0, self._free_s - self.env.now)

    def critical_busy_s(self) -> float:
        """Seconds spent on critical work so far; what is booked for later does not count yet."""
        return self._critical_s - max(0.0, self._free_s - max(self.env.now, self._busy_since_s))

    def background_busy_s(self) -> float:
        """Seconds spent on background work so far."""
        if self._background is not None:
            self._settle(self.env.now)
        return self._background_s - max(0.0, self._operator_end_s - self.env.now)

    # -- background work ----------------------------------------------------------------------------

    @property
    def refreshing(self) -> bool:
        """Whether a background job is under way or waits."""
        return self._background is not None or bool(self._waiting)

    def refresh(
        self,
        operators_s: Sequence[float],
        on_done: Callable[[], None],
        on_begun: Callable[[], None] = _nothing,
        on_lost: Callable[[], None] = _nothing,
    ) -> None:
        """Queue a background job; it gives way to critical work at the next operator's end.

        Background jobs run one after the other in the order they came, so that cameras take turns.
        `on_begun` runs when the job begins, then either `on_done` or, after a crash in between, `on_lost`.
        """
        asked_s = tuple(operators_s)  # a tuple itself
        if asked_s is not self._operators_s:
            self._operators_s, self._ends_s = asked_s, tuple(accumulate(asked_s, initial=0.0))
        self._waiting.append(BackgroundJob(self._ends_s, on_begun, on_done, on_lost))
        self._begin_next()

    def _begin_next(self) -> None:
        if self._background is None and self._waiting:
            job = self._background = self._waiting.popleft()
            job.began_s = self.env.now
            self._resume_s = max(self.env.now, self._free_s)
            job.on_begun()
        self._arm()

    def _settle(self, now_s: float) -> float:
        """Count the operators begun before `now_s`; return when the one that is running then ends."""
        job = self._background
        assert job is not None
        before_s = job.ends_s[job.done]
        # The first operator whose end is not before now_s has begun, and runs to its end.
        done = min(bisect_left(job.ends_s, now_s - self._resume_s + before_s), len(job.ends_s) - 1)
        if self._resume_s < now_s and done > job.done:
            worked_s = job.ends_s[done] - before_s
            self._resume_s += worked_s
            self._operator_end_s = self._resume_s
            self._background_s += worked_s
            job.done = done
        return self._resume_s if job.done else now_s

    def _arm(self) -> None:
        job = self._background
        if job is None or self._timer_armed:
            return
        end_s = self._resume_s + job.ends_s[-1] - job.ends_s[job.done]
        timer = Timeout(self.env, max(0.0, end_s - self.env.now) + LOOK_AFTER_S)
        timer.callbacks.append(self._look)
        self._timer_armed = True

    def _look(self, _: Any) -> None:
        """The job may be through: if it was held up, look again later."""
        self._timer_armed = False
        job = self._background
        if job is None:
            return
        self._settle(self.env.now)
        if job.done == len(job.ends_s) - 1 and self._resume_s <= self.env.now:
            self._background = None
            if any(start_s < self.env.now and job.began_s < end_s for start_s, end_s in self.crashes_s):
                job.on_lost()
            else:
                self.refreshes += 1
                job.on_done()
        self._begin_next()
