"""The salience propagator and the miss classifier (remap paper, §IV-B and §IV-C).

What the last result found is moved along the motion vectors into the next frame, for either reference; how
much a block must have changed to be recomputed depends on whether it shows, or borders on, any of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernels.motion.salience import block_thresholds, foreground_share, grown, salient_blocks
from sim.components.blocks import Classifier, Match

if TYPE_CHECKING:
    from kernels.motion.field import MotionField

RULES = ("threshold", "filter")
REMEMBERED = 32  # searches, of which a frame makes two


@dataclass(frozen=True, slots=True)
class MissRule:
    """Which blocks are critical.

    Args:
        rule: "threshold": D ≥ τ, and near what was found D ≥ τ_near already (why: README.md beside this
            module); "filter": D ≥ τ and s ≥ σ, the paper's own.
        threshold: τ. near_threshold: τ_near, of which what is above τ has no effect. least_share: σ.
        reach_blocks: how many blocks around those that show it count as showing it, diagonals included.
    """

    rule: str
    threshold: float
    near_threshold: float
    least_share: float
    reach_blocks: int

    def limits(
        self, found: NDArray[np.bool_], vectors: NDArray[np.int16], block_px: int
    ) -> NDArray[np.float32]:
        """The D from which each block is critical, (rows, columns); above 1 for one that never is.

        Args:
            found: (H, W), where the last result found something, in the reference.
            vectors: (rows, columns, 2), from the frame into the reference.
        """
        if self.rule == "threshold":
            near = salient_blocks(found, vectors, block_px, self.reach_blocks)
            return block_thresholds(near, min(self.near_threshold, self.threshold), self.threshold)
        salient = grown(foreground_share(found, vectors, block_px) >= self.least_share, self.reach_blocks)
        return np.where(salient, np.float32(self.threshold), np.float32(2.0))


@dataclass(slots=True, eq=False)
class Salience:
    """Where the last result found something.

    Args:
        rule: what follows from it; None: nothing does, and every block has the same threshold.
        threshold: τ, where nothing is known or nothing follows.
        block_px: side of a block.
    """

    rule: MissRule | None
    threshold: float
    block_px: int
    _found: NDArray[np.bool_] | None = None
    _frame_index: int = -1
    _moves: deque[tuple[int, Match]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def note(self, reference_index: int, match: Match) -> None:
        """Keep how a frame has moved against a reference, with the index of the reference's frame."""
        if match.vectors is not None:
            self._moves.append((reference_index, match))

    def remember(self, result: Any, frame_index: int) -> None:
        """Keep what the result of a frame found, unless that of a later one is known.

        Args:
            result: packed, as it crosses the downlink; None: no network runs. One that is in no place, as
                of a classification, says nothing of any block.
            frame_index: of the frame.
        """
        if result is not None and self.rule is not None and frame_index > self._frame_index:
            from kernels.models.predictions.tasks import unpack

            self._found, self._frame_index = unpack(result).foreground, frame_index

    def classifier(self, reference_index: int) -> Classifier:
        """Tells the critical blocks of a frame that is searched in the reference of some frame.

        They are ordered by how far above its limit each is, the farthest first.
        """
        found = self._found_in(reference_index)

        def classify(field: MotionField) -> NDArray[np.int32]:
            if self.rule is None or found is None:
                limits = np.full(field.difference.shape, self.threshold, np.float32)
            else:
                limits = self.rule.limits(found, field.vectors, self.block_px)
            return by_urgency(field.difference, limits)

        return classify

    def _found_in(self, reference_index: int) -> NDArray[np.bool_] | None:
        """Where the last result found something, in the coordinates of a reference.

        Frames that have been searched since lead from one to the next; where the way ends early, what is
        left of the motion is not followed.
        """
        found, at = self._found, self._frame_index
        while found is not None and at != reference_index:
            step = self._step(at, reference_index)
            if step is None:
                break
            forward, match = step
            assert match.vectors is not None
            if forward:
                found, at = moved_on(found, match.vectors, self.block_px), match.frame_index
            else:
                return placed_back(found, match.vectors, self.block_px)
        return found

    def _step(self, at: int, reference_index: int) -> tuple[bool, Match] | None:
        """From a frame into the reference itself, or on to a later frame that was searched in it."""
        onward = None
        for index, match in self._moves:
            if index == reference_index and match.frame_index == at:
                return False, match
            if index == at < match.frame_index <= reference_index:
                onward = True, match
        return onward


def by_urgency(difference: NDArray[np.float32], limits: NDArray[np.float32]) -> NDArray[np.int32]:
    """Flat indices of the blocks with D ≥ their limit, those the farthest above it first.

    Args:
        difference, limits: (rows, columns).
    """
    urgency = difference.reshape(-1) / np.maximum(limits.reshape(-1), np.float32(1e-6))
    chosen = np.flatnonzero(difference.reshape(-1) >= limits.reshape(-1))
    return chosen[np.argsort(-urgency[chosen], kind="stable")].astype(np.int32)


def moved_on(found: NDArray[np.bool_], vectors: NDArray[np.int16], block_px: int) -> NDArray[np.bool_]:
    """(H, W) of a reference in the frame whose blocks' vectors point into it."""
    from kernels.motion.warp import warp_image

    moved: NDArray[np.bool_] = warp_image(found.view(np.uint8), vectors, block_px).view(np.bool_)
    return moved


def placed_back(found: NDArray[np.bool_], vectors: NDArray[np.int16], block_px: int) -> NDArray[np.bool_]:
    """(H, W) of a frame in the reference that its blocks' vectors point into."""
    height, width = found.shape
    y, x = np.nonzero(found)
    rows, columns = vectors.shape[:2]
    move = vectors[np.minimum(y // block_px, rows - 1), np.minimum(x // block_px, columns - 1)]
    placed = np.zeros_like(found)
    placed[np.clip(y + move[:, 1], 0, height - 1), np.clip(x + move[:, 0], 0, width - 1)] = True
    return placed
