"""Frames that were inferred, to be compared with new ones."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kernels.similarity import embed, most_similar
from sim.world.frame import Frame


@dataclass(frozen=True, slots=True)
class SimilarFrame:
    """The most similar frame of a history: which one, and how similar (1: the same)."""

    frame_index: int
    similarity: float


@dataclass(slots=True, eq=False)
class FrameHistory:
    """The last frames that were remembered, as their embeddings.

    Args:
        frames: how many are remembered; the oldest goes when there are too many.
    """

    frames: int
    _remembered: deque[tuple[int, NDArray[np.float32]]] = field(init=False)
    _embedded: tuple[int, NDArray[np.float32]] | None = None  # the last frame asked about

    def __post_init__(self) -> None:
        self._remembered = deque(maxlen=self.frames)

    def _embedding(self, frame: Frame) -> NDArray[np.float32]:
        if self._embedded is None or self._embedded[0] != frame.index:
            self._embedded = frame.index, embed(frame.pixels)
        return self._embedded[1]

    def most_similar(self, frame: Frame) -> SimilarFrame | None:
        """The most similar remembered frame, the latest of equals; None without any."""
        found = most_similar(self._embedding(frame), [embedding for _, embedding in self._remembered])
        return None if found is None else SimilarFrame(self._remembered[found[0]][0], found[1])

    def remember(self, frame: Frame) -> None:
        """Add a frame."""
        self._remembered.append((frame.index, self._embedding(frame)))
