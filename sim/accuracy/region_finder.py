"""A small network beside the run's own, that says where in a frame there is something.

It sees the frame at a size of its own, and what it finds is boxes in the frame's pixels. Unlike the network
in the loop it runs whichever ruler the run has: which blocks a system sends depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from kernels.codecs.result_codec import decode_result
from sim.accuracy.choice import NetworkChoice
from sim.accuracy.network import Image
from sim.configuration.sections import AccuracyConfig
from sim.shared_work import SharedWork
from sim.world.frame import FrameGeometry

Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FinderRequest:
    """Which network a system wants beside the run's.

    Args:
        card: the name of its model card.
        weights: a safetensors file for the card's network; None: its own, or the card's stand-in.
        seconds: what it takes on the edge; None: the dense latency of the card's profile of the edge.
        stand_in_px: longer side of what a stand-in sees; the card's own network sees the card's resolution.
    """

    card: str
    weights: str | None = None
    seconds: float | None = None
    stand_in_px: int = 320


class RegionFinder(Protocol):
    """Where there is something in a frame, and how long it takes to know."""

    def seconds(self) -> float:
        """What the next call takes on the edge."""

    def find(self, image: Image) -> Boxes:
        """Boxes (n, 4), x1 y1 x2 y2 in pixels of the frame, in no particular order."""


FinderMaker = Callable[[FinderRequest], RegionFinder]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkFinder:
    """A network's detections, or the connected parts of each class that it segments.

    Args:
        result: of the network, packed, for an image of `size_px`.
        size_px: (height, width) of what it sees.
        seconds: what the next call takes on the edge.
    """

    result: Callable[[Image], bytes]
    size_px: tuple[int, int]
    seconds: Callable[[], float]

    def find(self, image: Image) -> Boxes:
        height_px, width_px = self.size_px
        seen = image
        if image.shape[:2] != self.size_px:
            resized = PillowImage.fromarray(image).resize(
                (width_px, height_px), PillowImage.Resampling.BILINEAR
            )
            seen = np.asarray(resized)
        scale = np.array([image.shape[1] / width_px, image.shape[0] / height_px] * 2)
        boxes: Boxes = boxes_of(self.result(seen)) * scale
        return boxes


def boxes_of(result: bytes) -> Boxes:
    """The boxes (n, 4) of a packed result: detections, or the connected parts of each class of a class map.

    Raises:
        ValueError: it holds neither.
    """
    found: Any = decode_result(result)
    if found.kind == "boxes":
        return np.asarray(found.boxes, np.float64).reshape(-1, 4)
    if found.kind != "classes":
        raise ValueError(f"result must hold boxes or classes (got {found.kind})")
    from scipy import ndimage

    boxes = []
    for label in np.unique(found.classes[found.classes > 0]):
        parts, _ = ndimage.label(found.classes == label)
        boxes += [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(parts)]
    found_boxes: Boxes = np.array(boxes, np.float64).reshape(-1, 4)
    return found_boxes


def seen_size_px(geometry: FrameGeometry, longer_px: int, multiple_px: int) -> tuple[int, int]:
    """(height, width) of a frame scaled to a longer side, to the nearest multiples."""
    scale = longer_px / max(geometry.height_px, geometry.width_px)
    height, width = (
        max(multiple_px, multiple_px * round(side * scale / multiple_px))
        for side in (geometry.height_px, geometry.width_px)
    )
    return height, width


def open_finder(
    choice: NetworkChoice,
    geometry: FrameGeometry,
    longer_px: int,
    seconds: Callable[[], float],
    work: SharedWork,
) -> NetworkFinder:
    """A network as a finder.

    Args:
        choice: which, and its weights.
        geometry: of the frames.
        longer_px: longer side of what it sees.
        seconds: what a call takes on the edge.
        work: where results are shared with other runs.

    Raises:
        InputError: missing or unfitting weights.
    """
    from sim.accuracy.inference import open_inference
    from sim.accuracy.steps import Steps

    size = seen_size_px(geometry, longer_px, choice.network.size_multiple_px)
    inference = open_inference(choice, AccuracyConfig(), FrameGeometry(*size, geometry.block_px))
    steps = Steps(inference, work)
    return NetworkFinder(lambda image: steps.result(steps.dense(image)), size, seconds)
