"""Semantic centres: what each class has looked like so far, and how far apart a frame's classes are.

COACH keeps a running mean of the features of each label, and calls a picture separable if it is much more
similar to one label's centre than to the next (Gao et al., arXiv 2501.12388). Here every position of a map
has a label, and a frame's separability is the mean gap of its positions. Those whose nearest centre is the
background do not count: with them, separability says how much background there is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LEARNT = 0.1  # least weight of the newest frame; the first ones count by their positions
NORM = 1e-9  # least length of a feature that is divided by


@dataclass(slots=True, eq=False)
class SemanticCentres:
    """One camera's centres.

    Args:
        classes: how many labels there are; 0 is the background.
    """

    classes: int
    _centres: NDArray[np.float64] | None = None  # (classes, channels)
    _positions: NDArray[np.int64] = field(init=False)  # that each was learnt from

    def __post_init__(self) -> None:
        self._positions = np.zeros(self.classes, np.int64)

    def separability(self, embedding: NDArray[np.float32]) -> float:
        """s = mean over positions of (cosine to the nearest centre − to the second), in [0, 2].

        0 while fewer than two labels are known; 2 where every position is nearest to the background.

        Args:
            embedding: (channels, rows, columns).
        """
        known = np.flatnonzero(self._positions)
        if self._centres is None or len(known) < 2:
            return 0.0
        centres = self._centres[known] / _lengths(self._centres[known], 1)
        similar = np.einsum("kc,cyx->kyx", centres, embedding / _lengths(embedding, 0))
        two = np.partition(similar, -2, axis=0)[-2:]
        nearest = known[similar.argmax(axis=0)]
        there = nearest > 0
        return float((two[1] - two[0])[there].mean()) if there.any() else 2.0

    def learn(self, embedding: NDArray[np.float32], labels: NDArray[np.uint8]) -> None:
        """Move the centres towards a frame whose result is known.

        Args:
            embedding: (channels, rows, columns).
            labels: (rows, columns), of the result.
        """
        directions = embedding / _lengths(embedding, 0)
        if self._centres is None:
            self._centres = np.zeros((self.classes, len(embedding)))
        for label in range(self.classes):
            here = labels == label
            count = int(np.count_nonzero(here))
            if count:
                seen = int(self._positions[label]) + count
                mean = directions[:, here].mean(axis=1, dtype=np.float64)
                self._centres[label] += max(LEARNT, count / seen) * (mean - self._centres[label])
                self._positions[label] = seen


def _lengths(vectors: NDArray[np.floating], axis: int) -> NDArray[np.floating]:
    lengths: NDArray[np.floating] = np.linalg.norm(vectors, axis=axis, keepdims=True)
    at_least: NDArray[np.floating] = np.maximum(lengths, NORM)
    return at_least
