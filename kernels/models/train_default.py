"""``python -m kernels.models.train_default``: train the default network on composed scenes, and measure it.

    python -m kernels.models.train_default train --minutes 19
    python -m kernels.models.train_default evaluate

``evaluate`` writes the table beside the weights. This command is the one place of the folder that knows
scenes; nothing that a user of the network imports does. Training draws seeds from 1000 up;
seeds below are held out. The committed weights are about 3,000 steps: 19 minutes of one shared core, seed 0.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.models.conversion import fold
from kernels.models.evaluation.scene_truth import labels_of
from kernels.models.networks.default_network import (
    CLASS_NAMES,
    OUTPUT_STRIDE_PX,
    WEIGHTS,
    DefaultNetwork,
    load_default_network,
)
from kernels.models.predictions.decoding import class_map
from kernels.models.weight_files import save_weights
from traces.video.scenes.scene import PRESETS, Scene

FIRST_TRAINING_SEED = 1000
HELD_OUT_SEEDS = (0, 1, 2, 3)
MEASURED_FRAMES = tuple(range(0, 300, 30))
SIZES_PX = (320, 640)
TABLE = WEIGHTS.with_suffix(".csv")
PRESET_NAMES = tuple(PRESETS)
CROP_PX = 320

# (preset, seed, frame indices, side in px) → images (n, side, side, 3), classes (n, side, side), both uint8
FrameSource = Callable[[str, int, Sequence[int], int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True)
class SegmentationScore:
    """Pixels per class over some frames of one preset, and the intersection over union they give.

    Attributes:
        seeds: the scenes, as ``0`` or ``0+1+2``.
        overlap, union: pixels per class of :data:`CLASS_NAMES`, found ∩ true and found ∪ true.
    """

    preset: str
    size_px: int
    seeds: str
    frames: int
    overlap: tuple[int, ...]
    union: tuple[int, ...]

    @property
    def iou(self) -> tuple[float, ...]:
        """Intersection over union per class; NaN for a class that never occurs."""
        return tuple(o / u if u else float("nan") for o, u in zip(self.overlap, self.union, strict=True))

    @property
    def mean_iou(self) -> float:
        """Mean over the object classes, background excluded."""
        return float(np.nanmean(self.iou[1:]))


def pooled(rows: Sequence[SegmentationScore]) -> SegmentationScore:
    """All frames of rows of one preset and size as one."""
    overlap, union = (
        tuple(sum(counts) for counts in zip(*per_row, strict=True))
        for per_row in ((row.overlap for row in rows), (row.union for row in rows))
    )
    seeds = "+".join(row.seeds for row in rows)
    return SegmentationScore(
        rows[0].preset, rows[0].size_px, seeds, sum(row.frames for row in rows), overlap, union
    )


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


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus the mean Dice loss over classes (Milletari et al. 2016, section 3)."""
    truth = functional.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2).float()
    shares = torch.softmax(logits, dim=1)
    overlap = (shares * truth).sum(dim=(0, 2, 3))
    size = (shares + truth).sum(dim=(0, 2, 3))
    dice = 1 - (2 * overlap + 1) / (size + 1)
    return functional.cross_entropy(logits, labels) + dice.mean()


def train(
    source: FrameSource,
    presets: Sequence[str],
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    batch: int = 8,
    frames_per_scene: int = 40,
    peak_rate: float = 4e-3,
    log: Callable[[str], None] = print,
) -> nn.Module:
    """Train for a number of minutes, or of steps, and return the fused network.

    The learning rate follows the share of either that has passed: a short rise, then a cosine to zero. The
    returned weights are an exponential moving average. With ``steps`` the result is a function of the
    arguments; with ``minutes`` it depends on the machine's speed.

    Raises:
        ValueError: unless exactly one of ``minutes`` and ``steps`` is given, and positive.
    """
    if (minutes is None) == (steps is None) or not (minutes or steps or 0) > 0:
        raise ValueError(f"minutes or steps must be given and > 0 (got minutes={minutes}, steps={steps})")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model, average = DefaultNetwork(fused=False).train(), DefaultNetwork(fused=False).eval()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average.load_state_dict(model.state_dict())
    optimiser = torch.optim.AdamW(model.parameters(), lr=peak_rate, weight_decay=0.01)
    started, smoothed = time.monotonic(), float("nan")
    for step, (images, labels) in enumerate(batches(source, presets, rng, batch, frames_per_scene), 1):
        done = (step - 1) / steps if steps else (time.monotonic() - started) / (60 * (minutes or 0))
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = peak_rate * min(done / 0.05, 0.5 * (1 + np.cos(np.pi * done)))
        value = loss(model(images.to(memory_format=torch.channels_last)), labels)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        _blend(average, model, min(0.995, step / (step + 20)))
        smoothed = float(value.detach()) if step == 1 else 0.97 * smoothed + 0.03 * float(value.detach())
        if step % 50 == 0:
            log(f"step {step:5d}  {100 * done:5.1f} %  loss {smoothed:.4f}")
    return fold(average, DefaultNetwork())


@torch.no_grad()
def _blend(average: nn.Module, model: nn.Module, keep: float) -> None:
    own = average.state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            own[name].mul_(keep).add_(value, alpha=1 - keep)


def measure(
    model: nn.Module, source: FrameSource, preset: str, seed: int, indices: Sequence[int], size_px: int
) -> SegmentationScore:
    """Compare the network with the truth on the frames ``indices`` of one scene."""
    overlap, union = np.zeros(len(CLASS_NAMES), int), np.zeros(len(CLASS_NAMES), int)
    for image, truth in zip(*source(preset, seed, indices, size_px), strict=True):
        frame = torch.tensor(image).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            found = class_map(model(frame), *truth.shape).numpy()
        for label in range(len(CLASS_NAMES)):
            overlap[label] += np.count_nonzero((found == label) & (truth == label))
            union[label] += np.count_nonzero((found == label) | (truth == label))
    return SegmentationScore(
        preset, size_px, str(seed), len(indices), tuple(overlap.tolist()), tuple(union.tolist())
    )


def write_scores(rows: Sequence[SegmentationScore], target: Path) -> None:
    """Write one CSV row of IoUs per preset, size and set of seeds."""
    with target.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["preset", "size_px", "seeds", "frames", *CLASS_NAMES, "mean_iou"])
        for row in rows:
            values = [f"{v:.4f}" for v in (*row.iou, row.mean_iou)]
            writer.writerow([row.preset, row.size_px, row.seeds, row.frames, *values])


def main(arguments: list[str] | None = None) -> int:
    """The command; 0 on success, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m kernels.models.train_default", description=__doc__)
    parser.add_argument("action", choices=["train", "evaluate"])
    parser.add_argument("--minutes", type=float, help="wall-clock minutes of training")
    parser.add_argument("--steps", type=int, help="steps of training; the same steps give the same weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    presets = PRESET_NAMES
    if chosen.action == "train":
        try:
            model = train(
                composed_frames,
                presets,
                minutes=chosen.minutes,
                steps=chosen.steps,
                seed=chosen.seed,
                log=_say,
            )
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        save_weights(model, chosen.weights)
        return 0
    model = load_default_network()
    rows = []
    for preset in presets:
        for size_px in SIZES_PX:
            one = [
                measure(model, composed_frames, preset, seed, MEASURED_FRAMES, size_px)
                for seed in HELD_OUT_SEEDS
            ]
            rows += [*one, pooled(one)]
            _say(f"{preset:6s} {size_px} px  mean IoU {rows[-1].mean_iou:.3f}")
    write_scores(rows, TABLE)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
