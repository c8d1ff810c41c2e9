"""Messages that each build on the one before: what one that is lost does to those behind it.

Several may be on their way at once. They are numbered on the edge; the server takes the next number only,
or a message that stands by itself, and says of any other that it is of no use.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sim.components.message_sizes import NOTICE_BYTES
from sim.components.server_memory import ServerMemory
from sim.physics.events import Unreachable
from sim.world.frame_world import FrameWorld


class ChainLink(NamedTuple):
    """A message's place: `number` in the order of sending; `whole`: it stands by itself."""

    number: int
    whole: bool


@dataclass(slots=True, eq=False)
class MessageChain:
    """Both ends' account of one camera's messages."""

    _made: int = 0
    _whole: int = 0  # number of the newest message that stands by itself
    _taken: int = -1  # newest number that the server has taken
    _memory: ServerMemory = field(default_factory=ServerMemory)

    def append(self, whole: bool) -> ChainLink:
        """The place of the next message to be sent; on the edge."""
        link = ChainLink(self._made, whole)
        self._made += 1
        if whole:
            self._whole = link.number
        return link

    def arrive(self, link: ChainLink, world: FrameWorld) -> Generator[Any, Any, None]:
        """Take a message on the server, in the order of arrival.

        Raises:
            Unreachable: it builds on what the server does not have; the notice of that has come back.
        """
        if not link.whole and (self._taken != link.number - 1 or self._memory.lost(world)):
            yield world.reply(NOTICE_BYTES)
            raise Unreachable("the server lacks what the message builds on")
        self._taken = link.number
        self._memory.fill(world)

    def broken_by(self, link: ChainLink) -> bool:
        """Whether, now that a message was in vain, the next one must stand by itself.

        Not if one that does has been sent since.
        """
        return link.number >= self._whole
