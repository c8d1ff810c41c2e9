"""What the world asks of a system: how one frame is dealt with.

A system is one object a camera, edge half and server half together, with one method: a generator that takes
a frame and a world, yields whatever the world answers with, and returns an outcome. It never touches
a clock, a socket or the simulation engine; the same system can be driven by real kernels and a real link.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from sim.records.outcome import Outcome
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld


class System(Protocol):
    """One camera's edge and server halves.

    A system whose frames do not build on one another may have an attribute or property `max_in_flight: int`:
    how many of its camera's frames may be under way at once. Without it that is one, and each call of
    :meth:`process` has ended before the next begins.

    A system whose input is made of several frames, a clip, may have one `frames_an_input: int`: how many. So
    many frames may always be under way, and those that do not complete an input enter as they come. They wait
    for the one that does with `world.event()` and `world.wait_for(event)`. When the video ends before an
    input is complete, Unreachable is raised where its frames wait.

    Work that outlives its frame goes beside it: `world.spawn(process)`, with a generator that asks a view of
    its own, from `world.aside()`, for what it needs.
    """

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Deal with one frame.

        Raises:
            Unreachable: the result never came; the frame is booked as dropped.
        """
