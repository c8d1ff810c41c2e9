"""Blocks as counts: how many blocks are active and how many bytes they take, drawn from a recording.

Which blocks are active is not known here, only how many. With s stale blocks left over from the last
message and a share q of newly active ones at the reference's age, a frame has s + (n − s)·q active blocks of
n, as if the new ones fell on stale and fresh blocks alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.components.blocks.interface import NOTHING_MORE, Classifier, Computed, Match, Message, SharedImage
from sim.components.payload import Payload
from sim.world.frame import Frame
from traces.video.block_statistics import BlockSampler

HEADER_BYTES = 24  # of a message without vectors, beside its bitmap (kernels/codecs/block_payload.py)


@dataclass(slots=True, eq=False)
class CountReference:
    """The age of a reference, and what a frame of that age has to recompute."""

    sampler: BlockSampler
    blocks_total: int
    frame_index: int = -1
    stale: int = 0

    def match(self, frame: Frame, classify: Classifier | None = None) -> Match:
        if self.frame_index < 0:
            return Match(range(self.blocks_total), None, frame.index)
        age = frame.index - self.frame_index
        fraction = self.sampler.active_fraction(frame.index, age) if age > 0 else 0.0
        active = self.stale + (self.blocks_total - self.stale) * fraction
        return Match(range(int(active + 0.5)), None, frame.index)

    def replace(self, frame: Frame) -> None:
        self.frame_index = frame.index
        self.stale = 0

    def computed(self, match: Match) -> Computed:
        return NOTHING_MORE

    def moved(self, frame: Frame, match: Match, processed: int) -> None:
        return None


@dataclass(slots=True, eq=False)
class CountSharedImage(CountReference):
    """The server's image as counts: how old, how much of it stale, how much of it dirty since when."""

    version: int = 0
    _dirty: list[tuple[int, int]] = field(default_factory=list)  # (version, blocks)

    def apply(self, message: Message) -> int:
        self.version = 1 if message.whole else self.version + 1
        if message.whole:
            self._dirty.clear()
            self.frame_index = message.frame_index
            self.stale = 0
        elif message.realigned:
            self.frame_index = message.frame_index
            self.stale = message.unsent
        else:
            self.stale = max(0, self.stale - message.blocks)
        if not message.inferred:
            self._dirty.append((self.version, message.blocks))
            if self.dirty_blocks() == self.blocks_total:
                self._dirty = [(self.version, self.blocks_total)]
            return 0
        computed = min(self.blocks_total, message.blocks + self.dirty_blocks())
        self._dirty.clear()
        return computed

    def computed(self, match: Match) -> Computed:
        return Computed(self.dirty_blocks())

    def dirty_blocks(self, match: Match | None = None) -> int:
        return min(self.blocks_total, sum(blocks for _, blocks in self._dirty)) if self._dirty else 0

    def clean(self, version: int) -> None:
        self._dirty = [entry for entry in self._dirty if entry[0] > version]

    def computed_blocks(self) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        raise TypeError("blocks without pixels have no image to compute on")

    def rests_on(self) -> None:
        return None

    def same_as(self, other: SharedImage) -> bool:
        assert isinstance(other, CountSharedImage)
        return (self.frame_index, self.stale, self.dirty_blocks()) == (
            other.frame_index,
            other.stale,
            other.dirty_blocks(),
        )


@dataclass(frozen=True, slots=True)
class CountedBlocks:
    """Blocks drawn from a recording, for one camera; sizes are those of the codec of `payload`."""

    sampler: BlockSampler
    blocks_total: int
    payload: Payload

    def reference(self) -> CountReference:
        """An empty reference."""
        return CountReference(self.sampler, self.blocks_total)

    def shared_image(self) -> CountSharedImage:
        """An empty shared image."""
        return CountSharedImage(self.sampler, self.blocks_total)

    def message(
        self,
        frame: Frame,
        blocks: Any,
        match: Match,
        epoch: int,
        *,
        inferred: bool,
        realign: bool,
        against: SharedImage | None = None,
    ) -> Message:
        """Size a message of blocks, with all vectors if `realign`."""
        overhead = HEADER_BYTES
        if realign:
            overhead = int(self.sampler.overhead_bytes(frame.index) + 0.5)
        else:
            overhead += -(-self.blocks_total // 8)
        count = len(blocks)
        pixels = int(count * self.sampler.block_bytes(frame.index, self.payload.codec) + 0.5)
        return Message(
            epoch=epoch,
            frame_index=frame.index,
            size_bytes=overhead + pixels,
            overhead_bytes=overhead,
            blocks=count,
            whole=False,
            inferred=inferred,
            realigned=realign,
            unsent=len(match.active) - count,
        )

    def whole_message(self, frame: Frame, epoch: int, *, inferred: bool = True) -> Message:
        """Size a message of all blocks: the start of an epoch."""
        everything = Match(range(self.blocks_total), None, frame.index)
        message = self.message(frame, everything.active, everything, epoch, inferred=inferred, realign=False)
        message.whole = True
        return message

    def block_bytes(self) -> float:
        """Typical bytes of a block: the recording's median."""
        row = self.sampler.statistics.block_bytes[self.payload.codec]
        return row[len(row) // 2]
