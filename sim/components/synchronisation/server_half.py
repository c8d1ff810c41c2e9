"""The server's side (FluxShard, Algorithm 2): the assembled image, and what of it is dirty."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sim.components.blocks import BlockFeatures, Message, SharedImage
from sim.components.server_memory import ServerMemory
from sim.world.frame_world import FrameWorld


@dataclass(slots=True, eq=False)
class ServerHalf:
    """What the server holds of one camera.

    Args:
        image: assembled from the messages.
        features: of that image.

    `result` is what its network made of the last message.
    """

    image: SharedImage
    features: BlockFeatures
    epoch: int = -1
    refreshed_version: int = 0
    result: Any = None
    _memory: ServerMemory = field(default_factory=ServerMemory)

    def receive(self, message: Message, world: FrameWorld, *, densely: bool = False) -> int | None:
        """Take a message in; return the blocks to compute, or None if it builds on a state that is lost.

        A crash wipes the state; so does the start of a new epoch.
        """
        if self._memory.lost(world):
            self.epoch = -1
        if message.whole and message.epoch > self.epoch:
            self.epoch = message.epoch
        if message.epoch != self.epoch:
            return None
        self._memory.fill(world)
        blocks = self.image.apply(message)
        self.result = self.features.follow(self.image, message, densely=densely)
        return blocks
