"""One frame's result from two sides: each block is taken from the side that knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.components.blocks.interface import Match
from sim.records.outcome import RestsOn
from sim.world.frame import FrameGeometry
from traces.errors import InputError

SAME_OBJECT = 0.5  # IoU from which boxes of one class on two sides are one object


@dataclass(frozen=True, slots=True, eq=False)
class Division:
    """Which side computes which active blocks, and which side's result counts where.

    Args:
        both: flat indices of the blocks that are active on either side, the first to be computed first.
        on_edge, in_cloud: of these, those that each side computes; disjoint.
        cloud_counts: bool (rows, columns), where the server's result counts; elsewhere the edge's does.
    """

    both: NDArray[np.int32]
    on_edge: NDArray[np.int32]
    in_cloud: NDArray[np.int32]
    cloud_counts: NDArray[np.bool_]


def active_on_both(local: Match, remote: Match, geometry: FrameGeometry) -> NDArray[np.int32]:
    """Flat indices of the blocks that neither side can reuse, in the server's order."""
    on_edge = np.zeros(geometry.blocks_total, np.bool_)
    on_edge[np.asarray(local.active, np.intp)] = True
    active = np.asarray(remote.active, np.int32)
    return active[on_edge[active]]


def divide(
    local: Match, remote: Match, both: NDArray[np.int32], k_edge: int, k_cloud: int, geometry: FrameGeometry
) -> Division:
    """The first blocks to the server, the next ones to the edge.

    What only one side would have to compute needs no computation: the other side's result counts there.
    Where both know a block, or neither does, the server's counts.
    """
    in_cloud, on_edge = both[:k_cloud], both[k_cloud : k_cloud + k_edge]
    edge_knows, cloud_knows = (np.ones(geometry.blocks_total, np.bool_) for _ in range(2))
    edge_knows[np.asarray(local.active, np.intp)] = False
    cloud_knows[np.asarray(remote.active, np.intp)] = False
    edge_knows[on_edge], cloud_knows[in_cloud] = True, True
    counts = ~(edge_knows & ~cloud_knows)
    return Division(both, on_edge, in_cloud, counts.reshape(geometry.rows, geometry.columns))


def first(match: Match, blocks: NDArray[np.int32]) -> Match:
    """The match with some of its active blocks before all others."""
    active = np.asarray(match.active, np.int32)
    rest = active[~np.isin(active, blocks)]
    return Match(np.concatenate((blocks, rest)), match.vectors, match.frame_index, match.difference)


def only(match: Match, blocks: NDArray[np.int32]) -> Match:
    """The match with no other active blocks."""
    return Match(blocks, match.vectors, match.frame_index, match.difference)


def merged_image(edge: RestsOn, cloud: RestsOn, division: Division, block_px: int) -> RestsOn:
    """What a merged result rests on, made when asked."""

    def image() -> NDArray[np.uint8]:
        on_edge, in_cloud = (seen() if callable(seen) else seen for seen in (edge, cloud))
        return np.where(_pixels(division.cloud_counts, block_px)[..., None], in_cloud, on_edge)

    return image


def merged_result(edge: Any, cloud: Any, division: Division, block_px: int) -> Any:
    """The packed result of both sides' packed results; None where no network runs.

    A class map is put together block by block. A box counts where its centre does, and one that both sides
    found once; a keypoint likewise, of one pose where either side has as many.

    Raises:
        InputError: results are of whole frames, as of a classification, so that neither side has one.
    """
    if edge is None or cloud is None:
        return None
    from kernels.codecs.result_codec import (
        decode_result,
        encode_boxes,
        encode_classes,
        encode_keypoints,
        encode_points,
    )

    left, right = decode_result(edge), decode_result(cloud)
    counts = division.cloud_counts
    if left.kind == "classes":
        assert left.classes is not None
        assert right.classes is not None
        chosen = np.where(_pixels(counts, block_px), right.classes, left.classes)
        return encode_classes(chosen.astype(np.uint8))
    if left.kind == "points":
        assert left.points is not None
        assert right.points is not None
        if len(left.points) != len(right.points):
            return cloud
        taken = _counts_at(counts, right.points[:, :2], block_px)
        points = np.where(taken[:, None], right.points, left.points)
        return encode_points(points, left.height_px, left.width_px)
    if left.kind == "labels":
        raise InputError(
            "scheduler: expected one that picks a side, for a classification is of the whole frame, of which "
            "a split gives either side a part: found 'split'"
        )
    assert left.classes is not None
    assert right.classes is not None
    if left.kind == "keypoints":
        assert left.points is not None
        assert right.points is not None
        in_cloud = _counts_at(counts, right.points[:, :2], block_px)
        on_edge = ~_counts_at(counts, left.points[:, :2], block_px)
        both = np.concatenate((right.points[in_cloud], left.points[on_edge]))
        kinds = np.concatenate((right.classes[in_cloud], left.classes[on_edge])).astype(np.int64)
        order = np.argsort(-both[:, 2], kind="stable")
        return encode_keypoints(both[order], kinds[order], left.height_px, left.width_px)
    assert left.boxes is not None
    assert right.boxes is not None
    seen = _counts_at(counts, _centres(right.boxes), block_px)
    boxes, classes = right.boxes[seen], right.classes[seen]
    own = ~_counts_at(counts, _centres(left.boxes), block_px)
    own &= ~_found_in(left.boxes, left.classes, boxes, classes)
    return encode_boxes(
        np.concatenate((boxes, left.boxes[own])),
        np.concatenate((classes, left.classes[own])),
        left.height_px,
        left.width_px,
    )


def _pixels(blocks: NDArray[np.bool_], block_px: int) -> NDArray[np.bool_]:
    return blocks.repeat(block_px, 0).repeat(block_px, 1)


def _centres(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return (boxes[:, :2] + boxes[:, 2:]) / np.float32(2.0)


def _counts_at(counts: NDArray[np.bool_], xy: NDArray[np.floating], block_px: int) -> NDArray[np.bool_]:
    rows, columns = counts.shape
    row = np.clip(xy[:, 1] // block_px, 0, rows - 1).astype(np.intp)
    column = np.clip(xy[:, 0] // block_px, 0, columns - 1).astype(np.intp)
    found: NDArray[np.bool_] = counts[row, column]
    return found


def _found_in(
    boxes: NDArray[np.float32], classes: NDArray[Any], others: NDArray[np.float32], theirs: NDArray[Any]
) -> NDArray[np.bool_]:
    """Which boxes are one of the others, by class and overlap."""
    if not len(boxes) or not len(others):
        return np.zeros(len(boxes), np.bool_)
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    size = np.maximum(np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - top_left, 0.0)
    shared = size.prod(2)
    areas = [np.maximum(found[:, 2:] - found[:, :2], 0.0).prod(1) for found in (boxes, others)]
    union = np.maximum(areas[0][:, None] + areas[1][None, :] - shared, 1e-9)
    same = (shared / union >= SAME_OBJECT) & (classes[:, None] == theirs[None, :])
    return np.asarray(same.any(1), np.bool_)
