"""Ground truth that comes with a video: where what counts was annotated, against where it was found.

The measure is DAVIS' region similarity J = |M ∩ G| / |M ∪ G| of the pixels M found and G annotated (Perazzi
et al., CVPR 2016), per frame, without asking for the class; where neither holds a pixel it is 1. Unlike
agreement with dense inference it knows the network's own errors: dense inference, too, stays below 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sim.accuracy.choice import NetworkChoice
from sim.configuration.reading import choose
from sim.configuration.sections import AccuracyConfig
from traces.errors import InputError

if TYPE_CHECKING:
    from traces.video.sequence import VideoSequence

MaskSource: TypeAlias = Callable[[int], NDArray[np.uint8] | None]  # ids by frame, (H, W)
IDS = 256  # of masks and of class maps, both uint8


@dataclass(frozen=True, slots=True, eq=False)
class MaskTruth:
    """One camera's masks.

    Args:
        mask: the ids of a frame's pixels, (H, W) uint8.
        counts: (256,) bool, the ids that are foreground.
        ignored: (256,) bool, the ids whose pixels are not compared.
        found: (256,) bool, the values of a class map that are foreground.
    """

    mask: MaskSource
    counts: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    found: NDArray[np.bool_]

    def similarity(self, result: bytes, index: int) -> float:
        """Region similarity of a packed result with the masks of a frame, in [0, 1]."""
        from kernels.models.evaluation.evaluate import mask_iou
        from kernels.models.predictions.results import Segmentation
        from kernels.models.predictions.tasks import unpack

        ids = self.mask(index)
        assert ids is not None  # a video has masks of all frames or of none
        said = unpack(result)
        assert isinstance(said, Segmentation)  # open_masks refuses networks of other tasks
        found = self.found[said.classes] & ~self.ignored[ids]
        value: Any = mask_iou(found, self.counts[ids])
        return float(value)


def open_masks(
    config: AccuracyConfig,
    choice: NetworkChoice,
    video: VideoSequence,
    masks: Sequence[MaskSource],
) -> list[MaskTruth]:
    """Every camera's masks, as a configuration reads them.

    Args:
        config: names the classes and ids that count.
        choice: the network that runs.
        video: the video with the masks; where they have an id of no object and no class, that is its `void`,
            and `has_background` says whether 0 belongs to no object.
        masks: of each camera, the ids of a frame by index.

    Raises:
        InputError: the network draws no masks, the video has none, labels without a background and no ids
            that count, an unknown class, an id that cannot be.
    """
    if choice.network.task != "segmentation":
        raise InputError(
            f"accuracy.reference: masks need a network that segments, found model.network {choice.name!r}"
        )
    if video.mask(0) is None:
        raise InputError(
            f"accuracy.reference: expected dense, for video {video.name!r} has no masks, "
            f"found {config.reference!r}"
        )
    void = getattr(video, "void", 0)  # 0: every pixel is compared, those of no object as background
    background = getattr(video, "has_background", not void)
    return [
        MaskTruth(mask, _ids(config, video.name, void, background), _only(void), _classes(config, choice))
        for mask in masks
    ]


def _ids(config: AccuracyConfig, name: str, void: int, background: bool) -> NDArray[np.bool_]:
    counts = np.zeros(IDS, np.bool_)
    if config.mask_ids is None:
        if not background:
            raise InputError(
                f"accuracy.mask_ids: every pixel of video {name!r} has a class: expected the ids that count "
                "as foreground, found none"
            )
        counts[1:] = True
        counts[void] = False
        return counts
    for chosen in config.mask_ids:
        if not 0 <= chosen < IDS or (void and chosen == void):
            other = f" other than {void}, the id of no class" if void else ""
            raise InputError(f"accuracy.mask_ids: expected ids from 0 to {IDS - 1}{other}, found {chosen}")
        counts[chosen] = True
    return counts


def _only(void: int) -> NDArray[np.bool_]:
    ignored = np.zeros(IDS, np.bool_)
    ignored[void] = void > 0
    return ignored


def _classes(config: AccuracyConfig, choice: NetworkChoice) -> NDArray[np.bool_]:
    """Class maps hold 0 for background and class c as c + 1."""
    names = choice.network.class_names
    found = np.zeros(IDS, np.bool_)
    for chosen in names if config.classes is None else config.classes:
        found[1 + names.index(choose("accuracy.classes", chosen, names))] = True
    return found
