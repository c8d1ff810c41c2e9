"""Changed pixels as messages, the reference they accumulate in, and the features that follow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.block_codecs import BlockCodec
from kernels.codecs.block_delta import BlockDeltaSender
from kernels.codecs.pixel_delta import PixelDeltaSender
from sim.accuracy.network import NetworkInLoop
from sim.components.blocks.features import block_map
from sim.world.frame import Frame, FrameGeometry


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """The pixels of a frame that differ from a reference, as one message: see `DeltaReference`.

    Args:
        data: the message, all of it.
        indices: (blocks,) flat indices of the blocks with at least one such pixel; all of them if `whole`.
        active_fraction: share of the pixels.
        whole: whether it needs no reference: there was none.
        reference: (H, W, 3), what the reference becomes once the delta is applied.
    """

    data: bytes
    indices: NDArray[np.int32]
    active_fraction: float
    whole: bool
    reference: NDArray[np.uint8]

    @property
    def blocks(self) -> int:
        """How many blocks it touches."""
        return len(self.indices)

    @property
    def size_bytes(self) -> int:
        """Of the message."""
        return len(self.data)


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


@dataclass(slots=True, eq=False)
class DeltaFeatures:
    """One side's network with the features of its reference.

    Args:
        network: what runs.
        geometry: size of the frames and their blocks.
    """

    network: NetworkInLoop
    geometry: FrameGeometry
    _features: Any = None

    def update(self, delta: Delta, *, densely: bool) -> Any:
        """The result for the reference that a delta leads to, with its blocks or all computed and kept."""
        if not self.network.runs:
            return None
        if densely or self._features is None:
            outputs, self._features = self.network.features(delta.reference)
        else:
            still = np.zeros((self.geometry.rows, self.geometry.columns, 2), np.int16)
            blocks = block_map(self.geometry, delta.indices)
            outputs, self._features = self.network.sparse(delta.reference, blocks, still, self._features)
        return self.network.result(outputs)
