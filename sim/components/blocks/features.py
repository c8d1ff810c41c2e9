"""The features that one side keeps of the blocks it has inferred, and what takes them along with motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.accuracy.network import NetworkInLoop
from sim.components.blocks.interface import Match, Message, SharedImage
from sim.world.frame import Frame, FrameGeometry


@dataclass(slots=True, eq=False)
class BlockFeatures:
    """One side's network with its feature cache, and the cache that a dense refresh under way is making.

    Where no network runs, everything is None and costs nothing.

    Args:
        network: what runs.
        geometry: size of the frames and their blocks.
    """

    network: NetworkInLoop
    geometry: FrameGeometry
    _features: Any = None  # of the reference; None: nothing was inferred here yet
    _refreshing: Any = None  # of the image that the refresh under way has begun with, moved along since

    def dense(self, frame: Frame) -> Any:
        """The result of dense inference on a frame; no features are kept."""
        return self.network.dense(frame)

    def keep(self, frame: Frame) -> None:
        """Keep the features of dense inference on a frame: it is the reference from now on."""
        if self.network.runs:
            self._features = self.network.features(frame.pixels)[1]

    def sparse(self, frame: Frame, match: Match, processed: int) -> Any:
        """The result for a frame with the first `processed` active blocks computed and the features reused
        along the vectors elsewhere, stale blocks included. What was kept stays."""
        if not self.network.runs:
            return None
        return self.network.result(self._inferred(frame, match, processed)[0])

    def advance(self, frame: Frame, match: Match, processed: int) -> Any:
        """The same, and keep what was made: the frame is the reference from now on."""
        if not self.network.runs:
            return None
        outputs, self._features = self._inferred(frame, match, processed)
        return self.network.result(outputs)

    def _inferred(self, frame: Frame, match: Match, processed: int) -> tuple[Any, Any]:
        vectors = self._still() if match.vectors is None else match.vectors
        chosen = self._chosen(match.active[:processed])
        return self.network.sparse(frame.pixels, chosen, vectors, self._features)

    def follow(self, image: SharedImage, message: Message, *, densely: bool = False) -> Any:
        """Take the features along with a message that `image` has just taken in.

        Returns the result where the message asks for inference, over the sent and the dirty blocks or
        `densely` over all; else None.
        """
        network = self.network
        if not network.runs:
            return None
        pixels, computed = image.computed_blocks()
        if message.whole:
            self._features = self._refreshing = None  # of an epoch that is over
        if message.inferred and (densely or self._features is None):
            # Before the first inference every block is dirty, and computing all of them is dense inference.
            outputs, self._features = network.features(pixels)
            if self._refreshing is not None:
                self._refreshing = self._features
            return network.result(outputs)
        vectors = message.decoded.vectors
        if vectors is None:
            if not message.inferred:
                return None  # blocks that wait for inference change no feature
            vectors = self._still()
        blocks = self._chosen(computed)
        if self._refreshing is not None:
            _, self._refreshing = network.sparse(pixels, blocks, vectors, self._refreshing)
        if self._features is None:
            return None
        outputs, self._features = network.sparse(pixels, blocks, vectors, self._features)
        return network.result(outputs) if message.inferred else None

    def begin_refresh(self, image: SharedImage) -> None:
        """Dense inference on the image as it is now begins."""
        if self.network.runs:
            self._refreshing = self.network.features(image.computed_blocks()[0])[1]

    def end_refresh(self) -> None:
        """It has ended: what it made, taken along with the messages since, becomes the features."""
        if self._refreshing is not None:
            self._features, self._refreshing = self._refreshing, None

    def _still(self) -> NDArray[np.int16]:
        return np.zeros((self.geometry.rows, self.geometry.columns, 2), np.int16)

    def _chosen(self, indices: Any) -> NDArray[np.bool_]:
        """Flat indices as a map of blocks."""
        return block_map(self.geometry, indices)


def block_map(geometry: FrameGeometry, indices: Any) -> NDArray[np.bool_]:
    """Flat block indices as a (rows, columns) map."""
    chosen = np.zeros((geometry.rows, geometry.columns), np.bool_)
    chosen.reshape(-1)[np.asarray(indices, np.intp)] = True
    return chosen
