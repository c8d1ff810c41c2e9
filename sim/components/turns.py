"""Turns: what frames of one camera that overlap do to a shared state, one after the other.

A frame that builds on the state that the one before it leaves must not look at it earlier. It waits for its
turn, and passes it on once its own mark is made, which may be long before its result is there.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from sim.physics.events import SharedEvent
from sim.world.frame_world import FrameWorld

FRAMES_UNDER_WAY = 4  # of one camera, where they may overlap


@dataclass(slots=True, eq=False)
class Turn:
    """A frame's turn, until it is passed on."""

    ended: SharedEvent
    passed: bool = False

    def pass_on(self) -> None:
        """Let the next frame go; later calls do nothing."""
        if not self.passed:
            self.passed = True
            self.ended.succeed(None)


@dataclass(slots=True, eq=False)
class Turns:
    """Who goes next: in the order in which they ask."""

    _last: Turn | None = None

    def take(self, world: FrameWorld) -> Generator[Any, Any, Turn]:
        """Wait for the turn; whoever has it must pass it on, whatever happens."""
        before, self._last = self._last, Turn(world.event())
        mine = self._last
        try:
            if before is not None and not before.passed:
                yield world.wait_turn(before.ended)
        except BaseException:
            mine.pass_on()
            raise
        return mine
