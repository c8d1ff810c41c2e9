"""Masks of active blocks to measure with: k blocks at random, in clusters, or as they change in a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError

if TYPE_CHECKING:
    from traces.video.sequence import VideoSequence

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FramePairs:
    """Pairs of successive frames spread over a video, with the motion between them.

    Attributes:
        frames: (S, H, W, 3) uint8 images.
        references: (S, H, W, 3), the frame before each.
        vectors: (S, rows, columns, 2) of each frame against its reference.
        difference: (S, rows, columns) mean absolute difference of each block.
        name: of the video.
        synthetic: composed, not filmed.
    """

    frames: NDArray[np.uint8]
    references: NDArray[np.uint8]
    vectors: NDArray[np.int16]
    difference: NDArray[np.float32]
    name: str
    synthetic: bool


def random_mask(k: int, rows: int, columns: int, generator: np.random.Generator) -> Mask:
    """k blocks drawn without replacement."""
    mask = np.zeros(rows * columns, bool)
    mask[generator.choice(rows * columns, k, replace=False)] = True
    return mask.reshape(rows, columns)


def clustered_mask(k: int, rows: int, columns: int, generator: np.random.Generator) -> Mask:
    """k blocks in one to four discs with ragged edges, as objects are."""
    y, x = np.mgrid[:rows, :columns]
    centres = generator.uniform((0, 0), (rows, columns), (int(generator.integers(1, 5)), 2))
    away = np.min([np.hypot(y - cy, x - cx) for cy, cx in centres], axis=0)
    away = away + generator.uniform(0, 1.5, away.shape)
    mask = np.zeros(rows * columns, bool)
    mask[np.argsort(away, axis=None, kind="stable")[:k]] = True
    return mask.reshape(rows, columns)


def recorded_mask(k: int, difference: NDArray[np.float32]) -> Mask:
    """The k blocks that changed most in a real frame: the order in which a scheduler takes them."""
    mask = np.zeros(difference.size, bool)
    mask[np.argsort(-difference, axis=None, kind="stable")[:k]] = True
    return mask.reshape(difference.shape)


def with_margin(active: Mask, reach_blocks: int) -> Mask:
    """The blocks within so many rows and columns of an active one: what is computed around them."""
    rows, columns = active.shape
    grown = np.zeros((rows + 2 * reach_blocks, columns + 2 * reach_blocks), bool)
    for down in range(2 * reach_blocks + 1):
        for across in range(2 * reach_blocks + 1):
            grown[down : down + rows, across : across + columns] |= active
    inside: Mask = grown[reach_blocks : reach_blocks + rows, reach_blocks : reach_blocks + columns]
    return inside


def draw_mask(kind: str, k: int, difference: NDArray[np.float32], generator: np.random.Generator) -> Mask:
    """One mask of a kind over the block grid of a frame."""
    rows, columns = difference.shape
    if kind == "random":
        return random_mask(k, rows, columns, generator)
    if kind == "clustered":
        return clustered_mask(k, rows, columns, generator)
    if kind == "recorded":
        return recorded_mask(k, difference)
    raise ValueError(f"kind must be random, clustered or recorded (got {kind!r})")


def collect_frame_pairs(
    video: str | Path | None, resolution_px: tuple[int, int], block_px: int, pairs: int = 8
) -> FramePairs:
    """Read pairs of frames spread over a video, or the embedded scene by default; search their motion.

    Args:
        video: a clip or a folder of images.
        resolution_px: (height, width) that frames are resized to.
        pairs: how many, if the video has as many.

    Raises:
        InputError: the video cannot be read, or has no two frames.
    """
    from kernels.motion.search import search_motion
    from traces.video.loading import load_video

    sequence: VideoSequence
    if video is None:
        from traces.video.scenes.scene import Scene

        sequence = Scene(frame_count=8 * pairs, size_px=resolution_px)
    else:  # cropped, as the bars of a letterbox never move
        sequence = load_video(video, size_px=resolution_px, fit="crop")
    if sequence.frame_count < 2:
        raise InputError(f"video: {video}: expected at least 2 frames, found {sequence.frame_count}")
    chosen = np.unique(np.linspace(1, sequence.frame_count - 1, pairs).round().astype(int))
    references = np.stack([sequence.image(int(i) - 1) for i in chosen])
    frames = np.stack([sequence.image(int(i)) for i in chosen])
    fields = [search_motion(*both, block_px=block_px) for both in zip(frames, references, strict=True)]
    return FramePairs(
        frames,
        references,
        np.stack([field.vectors for field in fields]),
        np.stack([field.difference for field in fields]),
        sequence.name,
        sequence.synthetic,
    )


def available_masks(pairs: FramePairs) -> Sequence[str]:
    """The kinds of mask that the frames support: `recorded` needs a real video, not a composed scene."""
    return ("random", "clustered") if pairs.synthetic else ("random", "clustered", "recorded")
