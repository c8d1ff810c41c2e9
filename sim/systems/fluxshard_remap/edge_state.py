"""The edge's state: the frame that its features belong to, and which blocks of them are behind.

The paper aligns consecutive frames and remaps the cache with every frame. A frame that the server infers
leaves the edge's features where they were: they belong to the last frame that the edge itself inferred,
until a background inference has brought them to a newer one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.components.blocks import BlockFeatures, BlockReference, Computed, Match
from sim.records.outcome import RestsOn
from sim.systems.fluxshard_remap.salience import Salience
from sim.world.frame import Frame, FrameGeometry

if TYPE_CHECKING:
    from kernels.motion.field import MotionField


@dataclass(slots=True, eq=False)
class EdgeState:
    """Reference and features of the edge.

    Args:
        reference: the frame that the features belong to.
        features: of it.
        geometry: size of the frames and their blocks.

    `inferred` counts what has changed them.
    """

    reference: BlockReference
    features: BlockFeatures
    geometry: FrameGeometry
    inferred: int = 0
    _behind: NDArray[np.bool_] | None = None  # (rows, columns) of the reference: critical and not computed

    @property
    def begun(self) -> bool:
        """Whether it has features of any frame."""
        return self.inferred > 0

    def match(self, frame: Frame, salience: Salience) -> Match:
        """Search a frame; critical is what the classifier says, and what is behind."""
        classify = salience.classifier(self.reference.frame_index)
        behind = self._behind
        if behind is None:
            return self.reference.match(frame, classify)

        def with_behind(field: MotionField) -> NDArray[np.int32]:
            critical = classify(field)
            late = self._moved(behind, field.vectors)
            late.reshape(-1)[critical] = False
            return np.concatenate((critical, np.flatnonzero(late).astype(np.int32)))

        return self.reference.match(frame, with_behind)

    def computed(self, match: Match) -> Computed:
        """What inference computes for the critical blocks of a match."""
        return self.reference.computed(match)

    def rests_on(self, frame: Frame, match: Match, processed: int) -> RestsOn | None:
        """The image that a result with the first blocks computed rests on."""
        return self.reference.moved(frame, match, processed)

    def advance(self, frame: Frame, match: Match, processed: int) -> Any:
        """Compute the first blocks of a match, move the rest along; the frame is the reference from now on.

        Returns the result, None where no network runs.
        """
        result = self.features.advance(frame, match, processed)
        self._behind = None
        if processed < len(match.active):
            self._behind = np.zeros((self.geometry.rows, self.geometry.columns), np.bool_)
            self._behind.reshape(-1)[np.asarray(match.active[processed:], np.intp)] = True
        self._refer_to(frame)
        return result

    def renew(self, frame: Frame) -> None:
        """Dense inference on a frame: it is the reference from now on, and nothing is behind."""
        self.features.keep(frame)
        self._behind = None
        self._refer_to(frame)

    def _refer_to(self, frame: Frame) -> None:
        self.reference.replace(frame)
        self.inferred += 1

    def _moved(self, blocks: NDArray[np.bool_], vectors: NDArray[np.int16]) -> NDArray[np.bool_]:
        from kernels.motion.warp import warp_blocks_map

        moved = warp_blocks_map(blocks.astype(np.int32), vectors, self.geometry.block_px)
        return np.asarray(moved, np.int32) > 0
