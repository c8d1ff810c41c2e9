"""The canvas: an accumulated image that frames are drawn onto, and the messages that carry it to the server.

Wire format: 2s magic "MC", i16 i16 by how much the canvas moves first (dx, dy, little-endian), then the
message of the blocks (`kernels/codecs/block_payload.py`), in the canvas's coordinates. The homography stays
on the edge, which reads results back along it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.block_codecs import BlockCodec
from kernels.codecs.block_payload import decode_blocks, encode_blocks
from kernels.codecs.block_pixels import gather_blocks, paste_blocks
from kernels.codecs.pixel_delta import changed_pixels, touched_blocks
from kernels.motion.homography import Matrix, sample_image, translation
from kernels.motion.image_pyramid import ImagePyramid, build_pyramid
from sim.components.blocks.alignment import prepared
from sim.components.deltas import Delta
from sim.records.outcome import RestsOn
from sim.systems.motion_deltacnn.alignment import CanvasTracker, overlap, read_back, whole_steps
from sim.world.frame import Frame, FrameGeometry

_HEAD = struct.Struct("<2shh")
_MAGIC = b"MC"
UNMOVED: Matrix = np.eye(3)
UNMOVED.setflags(write=False)


@dataclass(frozen=True, slots=True, eq=False)
class CanvasDelta(Delta):
    """A delta on the canvas; `matrix` leads from the frame's places to the canvas's."""

    frame_index: int = 0
    matrix: Matrix = field(default_factory=lambda: UNMOVED)

    @property
    def rests_on(self) -> RestsOn:
        if np.array_equal(self.matrix, UNMOVED):
            return self.reference
        return lambda: sample_image(self.reference, self.matrix)[0]

    def in_frame(self, result: Any) -> Any:
        return read_back(result, self.matrix)


@dataclass(slots=True, eq=False)
class CanvasReference:
    """One side's canvas.

    Args:
        geometry: size of frames and canvas.
        tracker: finds frames on it.
        threshold: ε, the difference on [0, 1] that a pixel must exceed to be active.
        dilation_px: side of the window whose largest difference decides, odd.
        period_px: the steps in which the canvas moves.
        min_overlap: share of the frame that a canvas centred on it must hold.
        codec: of the blocks with active pixels; None: nothing is sent, and blocks become what they are.
    """

    geometry: FrameGeometry
    tracker: CanvasTracker
    threshold: float
    dilation_px: int
    period_px: int
    min_overlap: float
    codec: BlockCodec | None
    image: NDArray[np.uint8] | None = None
    _levels: ImagePyramid | None = None

    def difference(self, frame: Frame) -> CanvasDelta:
        """What `frame` changes on the canvas once that is under it; everything where no homography is found.

        The canvas stays as it is.
        """
        found = self._align(frame)
        if found is None:
            every = np.arange(self.geometry.blocks_total, dtype=np.int32)
            return self._coded(frame, frame.pixels, every, 1.0, None)
        matrix, shift_px = found
        assert self.image is not None
        moved, new = shifted(self.image, shift_px)
        drawn, inside = sample_image(frame.pixels, np.linalg.inv(matrix))
        seen_before = ~(inside | new)
        drawn[seen_before] = moved[seen_before]  # beside the frame nothing is known to have changed
        active = changed_pixels(drawn, moved, self.threshold, self.dilation_px) | new
        blocks = touched_blocks(active, self.geometry.block_px)
        return self._coded(frame, drawn, blocks, float(active.mean()), moved, shift_px, matrix)

    def _align(self, frame: Frame) -> tuple[Matrix, tuple[int, int]] | None:
        """The frame's place on the moved canvas, and by how much that has moved; None: it begins anew."""
        if self.image is None:
            return None
        if self._levels is None:
            self._levels = build_pyramid(self.image, "canvas")
        matrix = self.tracker.find(frame.index, prepared(frame), self._levels)
        if matrix is None:
            return None
        dx, dy = whole_steps(matrix, self.geometry, self.period_px)
        if abs(dx) >= self.geometry.width_px or abs(dy) >= self.geometry.height_px:
            return None
        matrix = translation(-dx, -dy) @ matrix
        return (matrix, (dx, dy)) if overlap(matrix, self.geometry) >= self.min_overlap else None

    def _coded(
        self,
        frame: Frame,
        drawn: NDArray[np.uint8],
        blocks: NDArray[np.int32],
        active_fraction: float,
        moved: NDArray[np.uint8] | None,
        shift_px: tuple[int, int] = (0, 0),
        matrix: Matrix = UNMOVED,
    ) -> CanvasDelta:
        side = self.geometry.block_px
        after = np.zeros_like(drawn) if moved is None else moved
        if self.codec is None:
            data, pixels = b"", gather_blocks(drawn, blocks, side)
        else:
            message = encode_blocks(drawn, blocks, None, self.codec, side)
            data, pixels = _HEAD.pack(_MAGIC, *shift_px) + message, decode_blocks(message, self.codec).pixels
        paste_blocks(after, blocks, pixels)
        whole = moved is None
        return CanvasDelta(data, blocks, active_fraction, whole, after, shift_px, frame.index, matrix)

    def commit(self, delta: Delta) -> None:
        """Make the canvas what the last difference led to."""
        assert isinstance(delta, CanvasDelta)
        self.image, self._levels = delta.reference, None
        if delta.whole:
            self.tracker.begin(delta.frame_index)
        else:
            self.tracker.moved(delta.shift_px)

    def reset(self) -> None:
        """Forget the canvas: the next difference is the whole frame."""
        self.image, self._levels = None, None


class CanvasReceiver:
    """The server's canvas, from the messages alone."""

    def __init__(self, codec: BlockCodec) -> None:
        self.codec = codec
        self.reference: NDArray[np.uint8] | None = None

    def apply(self, data: bytes) -> NDArray[np.uint8]:
        """Take a message in; returns the canvas.

        Raises:
            ValueError: not such a message, or a part of a canvas that is not here.
        """
        if len(data) < _HEAD.size or data[:2] != _MAGIC:
            raise ValueError(f"canvas message must begin with {_MAGIC!r} (got {data[:2]!r})")
        _, dx, dy = _HEAD.unpack_from(data)
        decoded = decode_blocks(data[_HEAD.size :], self.codec)
        side = decoded.block_px
        shape = (decoded.rows * side, decoded.columns * side, 3)
        if len(decoded.indices) == decoded.rows * decoded.columns:
            canvas = np.zeros(shape, np.uint8)
        elif self.reference is None or self.reference.shape != shape:
            have = None if self.reference is None else self.reference.shape
            raise ValueError(f"canvas message needs a canvas of {shape} (got {have})")
        else:
            canvas, _ = shifted(self.reference, (dx, dy))
        self.reference = paste_blocks(canvas, decoded.indices, decoded.pixels)
        return self.reference


def shifted(
    image: NDArray[np.uint8], shift_px: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """out(x, y) = image(x + dx, y + dy), 0 where that lies outside; and which pixels (H, W) these are.

    A new array, also where nothing moves.
    """
    dx, dy = shift_px
    height, width = image.shape[:2]
    out, new = np.zeros_like(image), np.ones((height, width), np.bool_)
    here = slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx))
    there = slice(max(0, dy), height - max(0, -dy)), slice(max(0, dx), width - max(0, -dx))
    out[here], new[here] = image[there], False
    return out, new
