"""``python -m kernels.models.train_default``: train the default network on composed scenes, and measure it.

    python -m kernels.models.train_default train --minutes 19
    python -m kernels.models.train_default evaluate

``evaluate`` writes the table beside the weights. The committed weights are about 3,000 steps: 19 minutes of
one shared core, seed 0.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.models.composed_scenes import (
    HELD_OUT_SEEDS,
    MEASURED_FRAMES,
    PRESET_NAMES,
    FrameSource,
    batches,
    composed_frames,
)
from kernels.models.conversion import fold
from kernels.models.learning import learn, say
from kernels.models.networks.default_network import (
    CLASS_NAMES,
    WEIGHTS,
    DefaultNetwork,
    load_default_network,
)
from kernels.models.predictions.decoding import class_map
from kernels.models.weight_files import save_weights

SIZES_PX = (320, 640)
TABLE = WEIGHTS.with_suffix(".csv")


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

    The returned weights are an exponential moving average. With ``steps`` the result is a function of the
    arguments; with ``minutes`` it depends on the machine's speed.

    Raises:
        ValueError: as :func:`kernels.models.learning.learn`.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model, average = DefaultNetwork(fused=False).train(), DefaultNetwork(fused=False).eval()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average.load_state_dict(model.state_dict())
    learn(
        model.parameters(),
        batches(source, presets, rng, batch, frames_per_scene),
        lambda images, labels: loss(model(images.to(memory_format=torch.channels_last)), labels),
        peak_rate=peak_rate,
        steps=steps,
        minutes=minutes,
        averaged=(average, model),
        log=log,
    )
    return fold(average, DefaultNetwork())


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
                log=say,
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
            say(f"{preset:6s} {size_px} px  mean IoU {rows[-1].mean_iou:.3f}")
    write_scores(rows, TABLE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
