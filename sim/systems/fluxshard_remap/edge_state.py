"""The edge's state: the frame that its features belong to, and which blocks of them are behind.

The paper aligns consecutive frames and remaps the cache with every frame. A frame that the server infers
leaves the edge's features where they were: they belong to the last frame that the edge itself inferred,
until a background inference has brought them to a newer one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.components.blocks import BlockFeatures, BlockReference, Computed, Match
from sim.records.outcome import RestsOn
from sim.systems.fluxshard_remap.salience import Salience
from sim.world.frame import Frame, FrameGeometry
from sim.world.frame_world import FrameWorld

if TYPE_CHECKING:
    from kernels.motion.field import MotionField


@dataclass(slots=True, eq=False)
class EdgeState:
    """Reference and features of the edge.

    Args:
        reference: the frame that the features belong to.
        features: of it.
        geometry: size of the frames and their blocks.
        salience: tells the critical blocks.
        catches_up: whether features follow, in idle time, to frames that the server infers.
        limit_s: how old the last dense inference may grow before a frame is inferred densely.
    """

    reference: BlockReference
    features: BlockFeatures
    geometry: FrameGeometry
    salience: Salience
    catches_up: bool
    limit_s: float = math.inf
    _dense_s: float = 0.0  # when the frame of the last dense inference was captured
    _behind: NDArray[np.bool_] | None = None  # (rows, columns) of the reference: critical and not computed
    _inferred: int = 0  # counts what has changed the features
    _ready: tuple[int, Frame, Match | None] | None = None  # a frame caught up with, since which count

    @property
    def frame_index(self) -> int:
        """The frame of the reference."""
        return self.reference.frame_index

    def begin_frame(self) -> None:
        """Take over a frame that was caught up with, unless the edge has inferred another one since."""
        ready, self._ready = self._ready, None
        if ready is not None and ready[0] == self._inferred:
            _, frame, match = ready
            if match is None:
                self._renew(frame)
            else:
                self._advance(frame, match, len(match.active))

    def match(self, frame: Frame) -> Match:
        """Search a frame; critical is what the classifier says, and what is behind."""
        index, behind = self.reference.frame_index, self._behind
        classify = self.salience.classifier(index)

        def with_behind(field: MotionField) -> NDArray[np.int32]:
            critical = classify(field)
            if behind is None:
                return critical
            late = self._moved(behind, field.vectors)
            late.reshape(-1)[critical] = False
            return np.concatenate((critical, np.flatnonzero(late).astype(np.int32)))

        found = self.reference.match(frame, with_behind)
        self.salience.note(index, found)
        return found

    def needs_dense(self, frame: Frame) -> bool:
        """Sparse inference needs a cache, and one that is only ever moved and mended drifts."""
        return self.reference.frame_index < 0 or frame.captured_s - self._dense_s > self.limit_s

    def computed(self, match: Match) -> Computed:
        """What inference computes for the critical blocks of a match."""
        return self.reference.computed(match)

    def infer(self, frame: Frame, match: Match | None, k: int, densely: bool) -> tuple[Any, RestsOn | None]:
        """Compute the first k critical blocks, or all, and move the rest along; the frame is the reference
        from now on."""
        if densely or match is None:
            result = self.features.dense(frame)
            self._renew(frame)
            return result, None
        rests_on = self.reference.moved(frame, match, k)
        return self._advance(frame, match, k), rests_on

    def refresh(self, frame: Frame, match: Match | None, world: FrameWorld) -> None:
        """Bring the features to a frame that the server infers, in idle time: the critical blocks, or all
        where that is faster. It is lost if the edge infers another frame meanwhile."""
        if match is not None and (not self.catches_up or self.reference.frame_index == frame.index):
            return
        blocks = None
        if match is not None and self._inferred:
            profile = world.edge.profile
            blocks = self.computed(match).for_first(len(match.active))
            if profile.sparse_s(blocks) >= profile.dense_s:
                blocks, match = None, None
        since, searched = self._inferred, match

        def on_done() -> None:
            self._ready = since, frame, searched

        world.refresh_edge(lambda: None, on_done, blocks)

    def _advance(self, frame: Frame, match: Match, k: int) -> Any:
        result = self.features.advance(frame, match, k)
        self._behind = None
        if k < len(match.active):
            self._behind = np.zeros((self.geometry.rows, self.geometry.columns), np.bool_)
            self._behind.reshape(-1)[np.asarray(match.active[k:], np.intp)] = True
        self._refer_to(frame)
        return result

    def _renew(self, frame: Frame) -> None:
        self.features.keep(frame)
        self._behind, self._dense_s = None, frame.captured_s
        self._refer_to(frame)

    def _refer_to(self, frame: Frame) -> None:
        self.reference.replace(frame)
        self._inferred += 1

    def _moved(self, blocks: NDArray[np.bool_], vectors: NDArray[np.int16]) -> NDArray[np.bool_]:
        from kernels.motion.warp import warp_blocks_map

        moved = warp_blocks_map(blocks.astype(np.int32), vectors, self.geometry.block_px)
        return np.asarray(moved, np.int32) > 0
