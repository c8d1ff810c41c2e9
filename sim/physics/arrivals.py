"""When a camera's frames arrive, and which of them wait.

Nothing happens between the beginning of one frame and that of the next that a loop could not work out
afterwards: which frames were captured meanwhile, which were replaced by newer ones, which found the queue
full. No event is spent on a frame that is never processed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from traces.errors import InputError

# (frame index, captured_s, "replaced" or "dropped")
Skipped = Callable[[int, float, str], None]


class Arrivals(Protocol):
    """The frames of one camera, in order."""

    def available_s(self, now_s: float) -> float | None:
        """When the next frame can be had: not after `now_s` where one waits; None after the last one."""

    def next(self, now_s: float, skipped: Skipped) -> tuple[int, float] | None:
        """The frame to work on next, given that one may enter from `now_s` on.

        Returns its index and capture time (which may lie ahead: wait for it), or None after the last
        one. Frames that are passed over are reported to `skipped`.
        """

    def waiting(self, now_s: float, skipped: Skipped) -> list[tuple[int, float]]:
        """The frames captured before `now_s` that wait to enter; call it last."""


@dataclass(slots=True, eq=False)
class _Periodic:
    """A frame every 1/fps, beginning at `offset_s`."""

    fps: float
    frames: int
    offset_s: float = 0.0
    _next: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"fps: expected a frame rate > 0 frames/s, found {self.fps}")
        _check_frames(self.frames)

    def captured_s(self, index: int) -> float:
        """Capture time of a frame."""
        return self.offset_s + index / self.fps


def _check_frames(frames: int) -> None:
    if frames < 1:
        raise InputError(f"frames: expected at least 1 frame, found {frames}")


@dataclass(slots=True, eq=False)
class PeriodicLatest(_Periodic):
    """A frame every 1/fps; while one is being worked on, the newest replaces any that waits."""

    def available_s(self, now_s: float) -> float | None:
        return self.captured_s(self._next) if self._next < self.frames else None

    def next(self, now_s: float, skipped: Skipped) -> tuple[int, float] | None:
        if self._next >= self.frames:
            return None
        newest = min(math.floor((now_s - self.offset_s) * self.fps + 1e-9), self.frames - 1)
        while self._next < newest:
            skipped(self._next, self.captured_s(self._next), "replaced")
            self._next += 1
        index = self._next
        self._next += 1
        return index, self.captured_s(index)

    def waiting(self, now_s: float, skipped: Skipped) -> list[tuple[int, float]]:
        if self._next >= self.frames or self.captured_s(self._next) >= now_s:
            return []
        newest = self.next(now_s - 1e-9, skipped)
        return [] if newest is None else [newest]


@dataclass(slots=True, eq=False)
class PeriodicQueue(_Periodic):
    """A frame every 1/fps into a queue of `limit` frames; one that finds it full is dropped."""

    limit: int = 8
    _waiting: deque[int] = field(default_factory=deque, init=False)

    def __post_init__(self) -> None:
        _Periodic.__post_init__(self)  # super() does not know a class that slots have replaced
        if self.limit < 1:
            raise InputError(f"arrival.limit: expected room for at least 1 frame, found {self.limit}")

    def available_s(self, now_s: float) -> float | None:
        if self._waiting:
            return self.captured_s(self._waiting[0])
        return self.captured_s(self._next) if self._next < self.frames else None

    def next(self, now_s: float, skipped: Skipped) -> tuple[int, float] | None:
        self._admit(now_s + 1e-12, skipped)
        if self._waiting:
            index = self._waiting.popleft()
        elif self._next < self.frames:
            index = self._next
            self._next += 1
        else:
            return None
        return index, self.captured_s(index)

    def waiting(self, now_s: float, skipped: Skipped) -> list[tuple[int, float]]:
        self._admit(now_s - 1e-9, skipped)
        return [(index, self.captured_s(index)) for index in self._waiting]

    def _admit(self, now_s: float, skipped: Skipped) -> None:
        """Nothing has left the queue since the last call, so arrivals fill it up and then overflow."""
        while self._next < self.frames and self.captured_s(self._next) <= now_s:
            if len(self._waiting) < self.limit:
                self._waiting.append(self._next)
            else:
                skipped(self._next, self.captured_s(self._next), "dropped")
            self._next += 1


@dataclass(slots=True, eq=False)
class ClosedLoop:
    """The next frame is captured when it may enter: one at a time, when the last result is out."""

    frames: int
    offset_s: float = 0.0
    _next: int = 0

    def __post_init__(self) -> None:
        _check_frames(self.frames)

    def available_s(self, now_s: float) -> float | None:
        return max(now_s, self.offset_s) if self._next < self.frames else None

    def next(self, now_s: float, skipped: Skipped) -> tuple[int, float] | None:
        if self._next >= self.frames:
            return None
        index = self._next
        self._next += 1
        return index, max(now_s, self.offset_s)

    def waiting(self, now_s: float, skipped: Skipped) -> list[tuple[int, float]]:
        return []  # a frame is captured only when somebody is there for it
