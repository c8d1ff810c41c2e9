"""What a system is: how one frame is dealt with.

A system is one object a camera, edge half and server half together, with one method: a generator that takes
a frame and a world, yields whatever the world answers with, and returns an outcome. It never touches
a clock, a socket or the simulation engine; the same system can be driven by real kernels and a real link.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from sim.content.interface import Frame
from sim.records.ledger import Outcome
from sim.world.camera_world import CameraWorld

RESULT_BYTES = 4096  # a frame's boxes and run-length masks on the downlink; the papers do not count them


class System(Protocol):
    """One camera's edge and server halves."""

    def process(self, frame: Frame, world: CameraWorld) -> Generator[Any, Any, Outcome]:
        """Deal with one frame.

        Raises:
            Unreachable: the result never came; the frame is booked as dropped.
        """
