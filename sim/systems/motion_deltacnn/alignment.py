"""Where a frame lies on the canvas that the features belong to: one homography, from block vectors.

The canvas has the frame's size and moves over the scene in whole steps of the network's period, so that its
features move exactly; what is left of the camera's motion is in the homography, along which the frame is
drawn onto the canvas, and results are read back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.result_codec import (
    decode_result,
    encode_boxes,
    encode_classes,
    encode_keypoints,
    encode_points,
)
from kernels.motion.homography import Matrix, fit_homography, map_points, sample_labels, translation
from kernels.motion.image_pyramid import ImagePyramid
from kernels.motion.search import search_motion
from sim.world.frame import FrameGeometry

TEXTURE = 4.0  # grey levels; a block whose pixels spread less says nothing of motion
MOST_POINTS = 400  # blocks that a homography is fitted to, the most textured: as corners are chosen elsewhere
FEWEST_POINTS = 16  # with fewer textured blocks nothing says that the camera has moved
SNAP_PX = 0.25  # a homography that is a whole translation but for this at every corner is one
SMALLEST = 0.8  # area of the frame on the canvas over its own; drawn smaller, it would lose detail


@dataclass(slots=True, eq=False)
class CanvasTracker:
    """Finds frames on one canvas, each from where the ones before it were.

    Args:
        geometry: size of frames and canvas.
        radius_px: half the side of the search window.
        min_inliers: share of the blocks looked at that the homography must explain.
        rng: draws samples of blocks.
    """

    geometry: FrameGeometry
    radius_px: int
    min_inliers: float
    rng: np.random.Generator
    _known: list[tuple[int, Matrix]] = field(default_factory=list)  # the newest two, by frame

    def begin(self, frame_index: int) -> None:
        """The canvas is this frame."""
        self._known = [(frame_index, np.eye(3))]

    def moved(self, shift_px: tuple[int, int]) -> None:
        """The canvas has moved: what was at `shift_px` is at its corner now."""
        back = translation(-shift_px[0], -shift_px[1])
        self._known = [(index, back @ matrix) for index, matrix in self._known]

    def find(self, frame_index: int, frame: ImagePyramid, canvas: ImagePyramid) -> Matrix | None:
        """From the frame's places to the canvas's; None where no homography explains the motion."""
        side, geometry = self.geometry.block_px, self.geometry
        centres = _block_centres(geometry)
        predicted = self._predict(frame_index, centres)
        field_ = search_motion(frame, canvas, side, self.radius_px, predicted)
        grey = frame.grey.reshape(geometry.rows, side, geometry.columns, side)
        spread = grey.std(axis=(1, 3)).reshape(-1)
        chosen = np.argsort(-spread, kind="stable")[:MOST_POINTS]
        chosen = chosen[spread[chosen] >= TEXTURE]
        if len(chosen) < FEWEST_POINTS:
            matrix = self._known[-1][1]
        else:
            points = centres.reshape(-1, 2)[chosen]
            fit = fit_homography(points, points + field_.vectors.reshape(-1, 2)[chosen], self.rng)
            if fit is None or fit.inliers.mean() < self.min_inliers:
                return None
            settled = self._settled(fit.matrix)
            if settled is None:
                return None
            matrix = settled
        self._known = [*self._known[-1:], (frame_index, matrix)]
        return matrix

    def _predict(self, frame_index: int, centres: NDArray[np.float64]) -> NDArray[np.int16]:
        """Where the blocks should be: moved on as they have from the frame before the last to the last."""
        index, matrix = self._known[-1]
        place = map_points(matrix, centres)
        if len(self._known) == 2:
            before, earlier = self._known[0]
            step = (place - map_points(earlier, centres)) / max(1, index - before)
            place = place + step * (frame_index - index)
        vectors = np.rint(place - centres)
        return np.clip(vectors, -32767, 32767).astype(np.int16)

    def _settled(self, matrix: Matrix) -> Matrix | None:
        """The homography, as a whole translation if it is one but for noise; None if it shrinks too much."""
        height, width = self.geometry.height_px, self.geometry.width_px
        corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float64)
        places = map_points(matrix, corners)
        if not np.isfinite(places).all():
            return None
        ahead = np.roll(places, -1, axis=0)
        area = 0.5 * float((places[:, 0] * ahead[:, 1] - ahead[:, 0] * places[:, 1]).sum())
        if area < SMALLEST * (width - 1) * (height - 1):
            return None
        whole = np.rint((places - corners).mean(axis=0))
        if np.abs(places - corners - whole).max() <= SNAP_PX:
            return translation(*whole)
        return matrix


def whole_steps(matrix: Matrix, geometry: FrameGeometry, period_px: int) -> tuple[int, int]:
    """By how many pixels, in steps of the period, the canvas must move to be under the frame again."""
    centre = _centre(geometry)
    dx, dy = (period_px * np.rint((map_points(matrix, centre) - centre) / period_px)).astype(int).tolist()
    return dx, dy


def overlap(matrix: Matrix, geometry: FrameGeometry) -> float:
    """Share of the frame's blocks that a canvas centred on it would hold: what zoom and turning leave."""
    centre = _centre(geometry)
    place = map_points(matrix, _block_centres(geometry)) - (map_points(matrix, centre) - centre)
    size = np.array([geometry.width_px, geometry.height_px])
    return float(((place >= -0.5) & (place <= size - 0.5)).all(axis=-1).mean())


def read_back(result: Any, matrix: Matrix) -> Any:
    """A packed result on the canvas as one in the frame.

    Args:
        result: (:mod:`kernels.codecs.result_codec`); None stays None.
        matrix: from the frame's places to the canvas's.
    """
    if result is None or np.array_equal(matrix, np.eye(3)):
        return result
    found: Any = decode_result(result)
    if found.kind == "classes":
        return encode_classes(sample_labels(found.classes, matrix))
    if found.kind == "labels":
        return result  # of the whole frame, wherever it lies
    inverse = np.linalg.inv(matrix)
    height, width = found.height_px, found.width_px
    if found.kind == "points":
        places = map_points(inverse, found.points[:, :2])
        return encode_points(np.concatenate([places, found.points[:, 2:]], axis=1), height, width)
    if found.kind == "keypoints":
        places = map_points(inverse, found.points[:, :2])
        inside = ((places >= 0) & (places < (width, height))).all(axis=1)  # the canvas holds more
        points = np.concatenate([places, found.points[:, 2:]], axis=1)[inside]
        return encode_keypoints(points, found.classes[inside], height, width)
    x1, y1, x2, y2 = np.asarray(found.boxes, np.float64).T
    corners = map_points(inverse, np.stack([[x1, x2, x2, x1], [y1, y1, y2, y2]], axis=-1))  # (4, n, 2)
    limit = np.array([width, height], np.float64)
    low, high = np.clip(corners.min(axis=0), 0, limit), np.clip(corners.max(axis=0), 0, limit)
    return encode_boxes(np.concatenate([low, high], axis=1), found.classes, height, width)


def _centre(geometry: FrameGeometry) -> NDArray[np.float64]:
    return np.array([(geometry.width_px - 1) / 2, (geometry.height_px - 1) / 2])


def _block_centres(geometry: FrameGeometry) -> NDArray[np.float64]:
    """(rows, columns, 2)."""
    middle = (geometry.block_px - 1) / 2
    x = np.arange(geometry.columns) * geometry.block_px + middle
    y = np.arange(geometry.rows) * geometry.block_px + middle
    return np.stack(np.broadcast_arrays(x[None], y[:, None]), axis=-1)
