"""A perfect proxy: whatever is worth sending unasked is on the server at once, and for nothing.

No system can have that; it bounds what sending more could win. Blocks that arrive in this way are like those
that are sent unasked: dirty, until inference covers them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.components.blocks import Message
from sim.components.blocks.pixels import PixelSharedImage
from sim.records.outcome import RestsOn
from sim.world.frame import Frame

KEPT_FRAMES = 64  # more than can be under way


class Gift(NamedTuple):
    """All of a frame.

    Args:
        frame: the frame.
        changed: flat indices of the blocks that differ from the image that it was searched in.
    """

    frame: Frame
    changed: NDArray[np.int32]


@dataclass(slots=True, eq=False)
class Gifts:
    """What both ends have for nothing, by the frame's index, as far as it may still be needed."""

    _gifts: dict[int, Gift] = field(default_factory=dict)

    def remember(self, frame: Frame, changed: NDArray[np.int32]) -> None:
        """Keep a frame's; the oldest is let go."""
        self._gifts[frame.index] = Gift(frame, changed)
        if len(self._gifts) > KEPT_FRAMES:
            del self._gifts[min(self._gifts)]

    def with_message(self, message: Message) -> Gift:
        """What comes with a message."""
        return self._gifts[message.frame_index]


@dataclass(slots=True, eq=False)
class GivenImage(PixelSharedImage):
    """An image that becomes the frame itself after each message, except for one that begins an epoch.

    Inference works on what the message made of the image, as ever; the next frame is searched in the frame.

    Args:
        gifts: where both ends have it from.
    """

    gifts: Gifts = field(default_factory=Gifts)
    _assembled: NDArray[np.uint8] | None = None

    def apply(self, message: Message) -> int:
        blocks = PixelSharedImage.apply(self, message)
        self._assembled = self.image
        if message.whole:  # all of a frame already
            return blocks
        frame, changed = self.gifts.with_message(message)
        self.image = frame.pixels
        assert self._dirty_since is not None
        dirty = self._dirty_since.reshape(-1)
        dirty[np.setdiff1d(changed, message.decoded.indices) if message.inferred else changed] = self.version
        return blocks

    def computed_blocks(self) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        assert self._assembled is not None
        return self._assembled, self.covered

    def rests_on(self) -> RestsOn:
        assert self._assembled is not None
        return self._assembled
