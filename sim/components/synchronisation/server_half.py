"""The server's side (FluxShard, Algorithm 2): the assembled image, and what of it is dirty."""

from __future__ import annotations

from collections.abc import Callable
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
    _early: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)

    def waits_for(self, epoch: int, builds_on: int, world: FrameWorld) -> bool:
        """Whether a message that builds on so many others of its epoch has come before one of them.

        After a crash none of them will come.
        """
        return epoch == self.epoch and self.image.version < builds_on and not self._memory.lost(world)

    def in_turn(self, epoch: int, builds_on: int, take: Callable[[], None], world: FrameWorld) -> None:
        """Take a message in once those before it have been: at once, unless one is still being decoded.

        Args:
            epoch, builds_on: of the message, and how many messages of that epoch it builds on.
            take: called then, by :meth:`take_early`, or when the epoch has ended.
        """
        if self.waits_for(epoch, builds_on, world):
            self._early.append((epoch, builds_on, take))
        else:
            take()

    def take_early(self) -> None:
        """Take in what came while the last message was being decoded; its result must have been read."""
        while self._early and self._early[0][1] <= self.image.version:
            self._early.pop(0)[2]()

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
        if message.whole:
            early, self._early = self._early, []
            for _, _, take in early:
                take()  # they find that what they build on is gone
        return blocks
