"""Changed pixels as messages, and the reference that they accumulate in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.block_codecs import BlockCodec
from kernels.codecs.block_delta import BlockDeltaSender
from kernels.codecs.pixel_delta import PixelDeltaSender
from sim.records.outcome import RestsOn
from sim.world.frame import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """The pixels of a frame that differ from a reference, as one message: see `DeltaReference`.

    Args:
        data: the message, all of it.
        indices: (blocks,) flat indices of the blocks with at least one such pixel; all of them if `whole`.
        active_fraction: share of the pixels.
        whole: whether it needs no reference: there was none.
        reference: (H, W, 3), what the reference becomes once the delta is applied.
        shift_px: (dx, dy), by how much the reference was moved before: place before minus place now.
    """

    data: bytes
    indices: NDArray[np.int32]
    active_fraction: float
    whole: bool
    reference: NDArray[np.uint8]
    shift_px: tuple[int, int] = (0, 0)

    @property
    def blocks(self) -> int:
        """How many blocks it touches."""
        return len(self.indices)

    @property
    def size_bytes(self) -> int:
        """Of the message."""
        return len(self.data)

    @property
    def rests_on(self) -> RestsOn:
        """What a result rests on, in the frame's coordinates."""
        return self.reference

    def in_frame(self, result: Any) -> Any:
        """The result for the reference as one for the frame."""
        return result


class DeltaSource(Protocol):
    """A reference that frames are compared with: the edge's own, or its copy of the server's."""

    @property
    def image(self) -> NDArray[np.uint8] | None:
        """The accumulated image; None: there is none."""

    def difference(self, frame: Frame) -> Delta:
        """What `frame` changes; the reference stays as it is."""

    def commit(self, delta: Delta) -> None:
        """Make the reference what the last difference led to."""

    def reset(self) -> None:
        """Forget the reference: the next difference is the whole frame."""


class DeltaReceiver(Protocol):
    """The server's end."""

    def apply(self, data: bytes) -> NDArray[np.uint8]:
        """Take a message in; returns the image."""


@dataclass(slots=True, eq=False)
class DeltaReference:
    """An image that changed pixels are counted against and that takes on what was counted."""

    sender: PixelDeltaSender | BlockDeltaSender

    @classmethod
    def empty(
        cls, threshold: float, dilation_px: int, block_px: int, codec: BlockCodec | None = None
    ) -> DeltaReference:
        """No image yet.

        A pixel counts if its difference, or one within a window of `dilation_px`, exceeds `threshold` on
        [0, 1]. The blocks with such pixels are coded with `codec`, and become what they decode to; without
        one, messages are those pixels' values and a mask, and only they change.
        """
        if codec is not None:
            return cls(BlockDeltaSender(threshold, dilation_px, block_px, codec))
        return cls(PixelDeltaSender(threshold, dilation_px, block_px))

    @property
    def image(self) -> NDArray[np.uint8] | None:
        """The accumulated image."""
        return self.sender.reference

    def difference(self, frame: Frame) -> Delta:
        """What `frame` changes; the reference stays as it is."""
        sender = self.sender
        before = sender.reference
        sender.reference = None if before is None else before.copy()
        found = sender.encode(frame.pixels)
        after, sender.reference = sender.reference, before
        assert after is not None
        return Delta(found.data, found.blocks, found.active_fraction, before is None, after)

    def commit(self, delta: Delta) -> None:
        """Make the reference what the last difference led to."""
        self.sender.reference = delta.reference

    def reset(self) -> None:
        """Forget the reference: the next difference is the whole frame."""
        self.sender.reset()
