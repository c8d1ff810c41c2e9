"""The features that one side keeps of its reference, as the network's own truncation carries them on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.accuracy.network import NetworkInLoop
from sim.components.blocks.features import block_map
from sim.components.deltas.reference import Delta
from sim.world.frame import FrameGeometry


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
            vectors = np.empty((self.geometry.rows, self.geometry.columns, 2), np.int16)
            vectors[:] = delta.shift_px
            blocks = block_map(self.geometry, delta.indices)
            outputs, self._features = self.network.sparse(delta.reference, blocks, vectors, self._features)
        return self.network.result(outputs)
