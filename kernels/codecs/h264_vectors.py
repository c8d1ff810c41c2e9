"""The motion vectors of an H.264 stream, in place of a motion search.

A camera's encoder searches every macroblock in the previous frame anyway, and decoders can export its
vectors. They are chosen to save bits, not to follow objects, and only reach the previous frame; intra
macroblocks have none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.frame_codecs import H264Codec
from kernels.motion.field import MotionField, block_grid
from kernels.motion.search import block_difference

MACROBLOCK_PX = 16


class H264Aligner:
    """Motion fields of each frame against the one before it, from the encoder's vectors.

    A macroblock of several parts takes the part's vector, rounded to whole pixels, that leaves the smallest
    difference. What has no vector (intra macroblocks, the first frame, keyframes) is a miss: vector zero and
    difference 1, active under every threshold. All other differences are computed on the frames as they came.

    Args:
        crf, preset, keyframe_interval: of the encoder, see `H264Codec`.
    """

    def __init__(self, crf: float = 23, preset: str = "veryfast", keyframe_interval: int = 250) -> None:
        self._codec = H264Codec(crf, preset, keyframe_interval)
        self._decoder: Any = None
        self._previous: NDArray[np.uint8] | None = None
        self.packet = b""  # of the last frame: what a full offload of it would send

    def align(self, frame: NDArray[np.uint8]) -> MotionField:
        """The field of the next frame, (H, W, 3) uint8, H and W multiples of 16, against the one before it.

        Raises:
            TypeError, ValueError: another type or shape, or another size than the frames before.
        """
        height, width = (*np.shape(frame), 0, 0)[:2]
        rows, columns = block_grid(height, width, MACROBLOCK_PX)
        self.packet = self._codec.encode(frame)
        parts = self._exported_vectors(self.packet)
        previous, self._previous = self._previous, frame.copy()
        field = MotionField(np.zeros((rows, columns, 2), np.int16), np.ones((rows, columns), np.float32))
        if previous is None or parts is None:
            return field
        for at, vectors in _layers(parts, rows, columns):
            full = np.zeros((rows * columns, 2), np.int16)
            full[at] = vectors
            full = _inside(full.reshape(rows, columns, 2))
            difference = block_difference(frame, previous, full, MACROBLOCK_PX)
            better = np.zeros(rows * columns, np.bool_)
            better[at] = True
            better = better.reshape(rows, columns) & (difference < field.difference)
            field.vectors[better] = full[better]
            field.difference[better] = difference[better]
        return field

    def _exported_vectors(self, packet: bytes) -> NDArray[Any] | None:
        """The decoder's table of parts: dst_x, dst_y (centre), motion_x, motion_y, motion_scale, source …"""
        import av
        from av.sidedata.sidedata import Type

        if self._decoder is None:
            self._decoder = av.CodecContext.create("h264", "r")
            self._decoder.options = {"flags": "+low_delay", "flags2": "+export_mvs", "threads": "1"}
        frames = self._decoder.decode(av.Packet(packet))
        side_data = frames[0].side_data.get(Type.MOTION_VECTORS)
        return None if side_data is None else side_data.to_ndarray()


def _layers(parts: NDArray[Any], rows: int, columns: int) -> list[tuple[NDArray[np.intp], NDArray[np.int16]]]:
    """Split the parts so that each layer names every macroblock at most once: (flat indices, vectors)."""
    column = (parts["dst_x"].astype(np.int64) - 1) // MACROBLOCK_PX
    row = (parts["dst_y"].astype(np.int64) - 1) // MACROBLOCK_PX
    valid = (row >= 0) & (row < rows) & (column >= 0) & (column < columns) & (parts["source"] < 0)
    at = (row * columns + column)[valid]
    motion = np.stack((parts["motion_x"], parts["motion_y"]), axis=1)[valid]
    vectors = np.rint(motion / parts["motion_scale"][valid][:, None]).astype(np.int16)
    order = np.argsort(at, kind="stable")
    at, vectors = at[order], vectors[order]
    rank = np.arange(len(at)) - np.searchsorted(at, at)
    return [(at[rank == i], vectors[rank == i]) for i in range(int(rank.max(initial=-1)) + 1)]


def _inside(vectors: NDArray[np.int16]) -> NDArray[np.int16]:
    """H.264 lets vectors point beyond the border; move them so that the block lies inside."""
    rows, columns = vectors.shape[:2]
    x = np.arange(columns) * MACROBLOCK_PX
    y = np.arange(rows)[:, None] * MACROBLOCK_PX
    inside = vectors.copy()
    inside[..., 0] = np.clip(vectors[..., 0], -x, x[-1] - x)
    inside[..., 1] = np.clip(vectors[..., 1], -y, y[-1] - y)
    return inside
