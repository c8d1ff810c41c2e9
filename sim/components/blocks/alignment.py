"""Aligners: how the blocks of a frame find their places in a reference.

Motion search looks for them; a video encoder has looked already, but only from one frame to the next, so
its vectors are chained back to the reference; "none" takes every block's own place (the ablation).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.motion.field import MotionField, predict_vectors
from kernels.motion.global_motion import estimate_global_motion
from kernels.motion.image_pyramid import ImagePyramid, build_pyramid
from kernels.motion.search import block_difference, search_motion
from sim.world.frame import Frame

HISTORY_FRAMES = 256  # longest chain of encoder vectors; an older reference is missed altogether
ALIGNERS = ("search", "h264", "none")


class Target(NamedTuple):
    """A reference as an aligner sees it: its image, its frame, and the previous search in it."""

    image: NDArray[np.uint8]
    levels: ImagePyramid | None
    frame_index: int
    last_vectors: NDArray[np.int16] | None
    last_frame_index: int


class Aligner(Protocol):
    """Finds the blocks of frames in references."""

    def align(self, frame: Frame, target: Target) -> MotionField:
        """The motion field of `frame` against `target`."""


def prepared(frame: Frame) -> ImagePyramid:
    """The frame with the levels that a search needs, made on first use."""
    if frame.prepared is None:
        assert frame.image is not None
        frame.prepared = build_pyramid(frame.image, "frame")
    image: ImagePyramid = frame.prepared
    return image


@dataclass(frozen=True, slots=True)
class SearchAligner:
    """Two-level block search around where the previous search in the same reference puts a block.

    The first search in a reference starts from the global motion instead.
    """

    radius_px: int = 16
    block_px: int = 16

    def align(self, frame: Frame, target: Target) -> MotionField:
        levels = target.levels if target.levels is not None else build_pyramid(target.image, "reference")
        predicted = self._predict(frame, target, levels)
        return search_motion(prepared(frame), levels, self.block_px, self.radius_px, predicted)

    def _predict(self, frame: Frame, target: Target, levels: ImagePyramid) -> NDArray[np.int16]:
        """Where the blocks should be by now: moved on from the previous search, or along with the camera."""
        last, age = target.last_vectors, target.last_frame_index - target.frame_index
        if last is None:
            rows, columns = (side // self.block_px for side in target.image.shape[:2])
            moved = np.array(estimate_global_motion(prepared(frame), levels), np.int16)
            return np.broadcast_to(moved, (rows, columns, 2))
        if age < 1:
            return last
        ahead = max(0, frame.index - target.last_frame_index)
        return predict_vectors(last, float(age), self.block_px, float(ahead))


@dataclass(frozen=True, slots=True)
class StillAligner:
    """No motion: every block is compared with its own place."""

    block_px: int = 16

    def align(self, frame: Frame, target: Target) -> MotionField:
        assert frame.image is not None
        rows, columns = (side // self.block_px for side in target.image.shape[:2])
        vectors = np.zeros((rows, columns, 2), np.int16)
        return MotionField(vectors, block_difference(frame.image, target.image, vectors, self.block_px))


@dataclass(slots=True, eq=False)
class EncoderAligner:
    """The vectors of the camera's H.264 encoder, chained from frame to frame back to the reference.

    A block that has no vector somewhere along its chain (an intra macroblock) is a miss. The encoder sees
    the frames that are worked on, in their order.
    """

    block_px: int = 16
    _encoder: Any = None
    _steps: deque[tuple[int, MotionField]] = field(default_factory=lambda: deque(maxlen=HISTORY_FRAMES))

    def align(self, frame: Frame, target: Target) -> MotionField:
        assert frame.image is not None
        self._observe(frame)
        vectors, found = self._chain(target.frame_index)
        difference = block_difference(frame.image, target.image, vectors, self.block_px)
        return MotionField(vectors, np.where(found, difference, np.float32(1.0)))

    def _observe(self, frame: Frame) -> None:
        """Encode a frame once, whichever references it is compared with."""
        if self._steps and self._steps[-1][0] == frame.index:
            return
        if self._encoder is None:
            from kernels.codecs.h264_vectors import H264Aligner

            self._encoder = H264Aligner()
        assert frame.image is not None
        self._steps.append((frame.index, self._encoder.align(frame.image)))

    def _chain(self, frame_index: int) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """Vectors from the newest frame back to `frame_index`, and where there are any."""
        rows, columns = self._steps[-1][1].difference.shape
        total = np.zeros((rows, columns, 2), np.int32)
        found = np.ones((rows, columns), np.bool_)
        x = np.arange(columns) * self.block_px
        y = (np.arange(rows) * self.block_px)[:, None]
        for index, step in reversed(self._steps):
            if index <= frame_index:
                break
            # The block nearest to where the content was then continues its way.
            column = np.clip(np.rint((x + total[..., 0]) / self.block_px), 0, columns - 1).astype(np.intp)
            row = np.clip(np.rint((y + total[..., 1]) / self.block_px), 0, rows - 1).astype(np.intp)
            found &= step.difference[row, column] < 1.0
            total += step.vectors[row, column]
        else:
            if self._steps[0][0] > frame_index + 1 and len(self._steps) == HISTORY_FRAMES:
                found[:] = False
        total[..., 0] = np.clip(total[..., 0], -x, x[-1] - x)
        total[..., 1] = np.clip(total[..., 1], -y, y[-1] - y)
        return total.astype(np.int16), found


def make_aligner(name: str, radius_px: int, block_px: int) -> Aligner:
    """The aligner called `name`, for one camera."""
    if name == "search":
        return SearchAligner(radius_px, block_px)
    return EncoderAligner(block_px) if name == "h264" else StillAligner(block_px)
