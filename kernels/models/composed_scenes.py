"""Frames of composed scenes with their truth: what the small networks learn from, and are measured on.

Training draws seeds from 1000 up; seeds below are held out. Of all `kernels`, this module alone knows scenes,
and only commands and benchmarks import it: nothing that a user of the networks imports does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from kernels.models.evaluation.scene_truth import labels_of
from kernels.models.networks.default_network import CLASS_NAMES, OUTPUT_STRIDE_PX
from traces.video.scenes.scene import PRESETS, Scene

FIRST_TRAINING_SEED = 1000
HELD_OUT_SEEDS = (0, 1, 2, 3)
MEASURED_FRAMES = tuple(range(0, 300, 30))
PRESET_NAMES = tuple(PRESETS)
CROP_PX = 320

# (preset, seed, frame indices, side in px) → images (n, side, side, 3), classes (n, side, side), both uint8
FrameSource = Callable[[str, int, Sequence[int], int], tuple[np.ndarray, np.ndarray]]


def composed_frames(
    preset: str, seed: int, indices: Sequence[int], size_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a composed scene, and the kind of object at every pixel as an index into CLASS_NAMES.

    Raises:
        ValueError: if the scene shows a kind of object that is none of CLASS_NAMES.
    """
    scene = Scene(preset, seed=seed, frame_count=max(indices) + 1, size_px=size_px, cache_bytes=0)
    kinds = scene.object_kinds
    unknown = set(kinds) - set(CLASS_NAMES[1:])
    if unknown:
        raise ValueError(f"scene objects must be of {', '.join(CLASS_NAMES[1:])} (got {', '.join(unknown)})")
    class_of_id = np.array([0, *(CLASS_NAMES.index(kind) for kind in kinds)], dtype=np.uint8)
    labels = np.stack([class_of_id[scene.mask(i)] for i in indices])
    return np.stack([scene.image(i) for i in indices]), labels


def labelled_objects(
    preset: str, seed: int, indices: Sequence[int], size_px: int | tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a composed scene (n, H, W, 3), and each pixel's class and object (n, H, W), both uint8.

    A label is 16 · class + id (:mod:`kernels.models.evaluation.scene_truth`).

    Raises:
        ValueError: the scene shows an object of no class of the scenes', or too many.
    """
    scene = Scene(preset, seed=seed, frame_count=max(indices) + 1, size_px=size_px, cache_bytes=0)
    table = labels_of(scene.object_kinds)
    return np.stack([scene.image(i) for i in indices]), np.stack([table[scene.mask(i)] for i in indices])


def batches(
    source: FrameSource,
    presets: Sequence[str],
    rng: np.random.Generator,
    batch: int,
    frames_per_scene: int,
    label_stride_px: int = OUTPUT_STRIDE_PX,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless augmented batches: images (batch, 3, 320, 320) in [0, 1] and labels, by default at stride 4.

    Two scenes at a time feed a batch. Half of the scenes are drawn at 320 px and seen whole, half at 640 px
    and cropped, so that objects come at both scales.
    """
    seed = FIRST_TRAINING_SEED
    while True:
        pools = []
        for _ in range(2):
            size_px = int(rng.choice([CROP_PX, 2 * CROP_PX]))
            indices = rng.choice(300, frames_per_scene, replace=False).tolist()
            pools.append(source(str(rng.choice(presets)), seed, indices, size_px))
            seed += 1
        order = rng.permutation([(p, i) for p in range(2) for i in range(frames_per_scene)])
        for start in range(0, len(order) - batch + 1, batch):
            pairs = [
                _augment(pools[p][0][i], pools[p][1][i], rng, label_stride_px)
                for p, i in order[start : start + batch].tolist()
            ]
            images = torch.from_numpy(np.stack([image for image, _ in pairs]))
            yield images, torch.from_numpy(np.stack([label for _, label in pairs]))


def _augment(
    image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, label_stride_px: int
) -> tuple[np.ndarray, np.ndarray]:
    top, left = (int(rng.integers(0, (side - CROP_PX) // 4 + 1)) * 4 for side in labels.shape)
    image = image[top : top + CROP_PX, left : left + CROP_PX]
    labels = labels[top : top + CROP_PX, left : left + CROP_PX]
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    gain, offset = rng.uniform(0.85, 1.15), rng.uniform(-0.05, 0.05)
    pixels = np.clip(image.astype(np.float32) / 255 * gain + offset, 0, 1).astype(np.float32)
    at = slice(label_stride_px // 2, None, label_stride_px)
    return pixels.transpose(2, 0, 1).copy(), labels[at, at].astype(np.int64)
