"""What the server still remembers of a camera: a crash wipes it, and the edge learns so only when it asks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.world.frame_world import FrameWorld


@dataclass(slots=True, eq=False)
class ServerMemory:
    """State that lives on the server between frames: a decoder, a reference image.

    A message that needs it and finds it gone is of no use; the server says so, and the next message must
    stand by itself.
    """

    _filled_s: float = math.inf  # inf: never

    def fill(self, world: FrameWorld) -> None:
        """The state is up to date as of now."""
        self._filled_s = world.now_s

    def lost(self, world: FrameWorld) -> bool:
        """Whether there never was a state, or a crash that is over has wiped it.

        During a crash the answer is False: a server that is down cannot say what it has lost.
        """
        processor = world.cloud.processor
        if processor.is_down():
            return False
        if self._filled_s == math.inf:
            return True
        return any(self._filled_s < end_s <= world.now_s for _, end_s in processor.crashes_s)
