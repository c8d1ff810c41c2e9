"""``python -m kernels.models.train_tasks``: train the token and the keypoint network, and measure them.

    python -m kernels.models.train_tasks train tokens
    python -m kernels.models.train_tasks train keypoints
    python -m kernels.models.train_tasks evaluate tokens

``evaluate`` writes the table beside the weights. Scenes, augmentation and what is held out are those of
:mod:`kernels.models.composed_scenes`. The committed weights are the default steps and seed.
"""

from __future__ import annotations

import argparse
import copy
import csv
import sys
from collections.abc import Callable, Sequence
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
    labelled_objects,
)
from kernels.models.conversion import fold
from kernels.models.evaluation import evaluate_tasks
from kernels.models.evaluation.scene_truth import MOST_OBJECTS, main_class, object_centres
from kernels.models.learning import learn, say
from kernels.models.network import KeypointSceneNetwork
from kernels.models.networks import keypoint_network, token_network
from kernels.models.networks.keypoint_network import KeypointTop, load_keypoint_network
from kernels.models.networks.scene_trunks import EarlyTrunk, PyramidTrunk, take_over
from kernels.models.networks.token_network import PATCH_PX, TokenTop, load_token_network
from kernels.models.weight_files import save_weights

WEIGHTS = {"tokens": token_network.WEIGHTS, "keypoints": keypoint_network.WEIGHTS}
STEPS = {"tokens": 1000, "keypoints": 1000}
SIZES_PX: dict[str, tuple[int | tuple[int, int], ...]] = {
    "tokens": (320, 640),
    "keypoints": (320, 640, (256, 192)),  # the last is SDPose's, for which it stands in
}
PEAK_WIDTH = 1.25  # σ of a target's Gaussian, in cells of the heat map
PEAK_RATE = 2e-3  # of learning
PATCH_WEIGHT = 2.0  # of what tokens say of their own patches, beside what is said of the frame


class TokenLesson(nn.Module):
    """Frames and labels to a loss: cross-entropy of the main class, plus that of what each patch shows.

    The second is dropped after training, as is the layer that says it: it tells each token what it looks at
    (Jiang et al. 2021, "All tokens matter", with the share of each class in the patch as the label).
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.top = EarlyTrunk(), TokenTop()
        self.aside = nn.Linear(self.top.head.in_features, self.top.head.out_features)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Labels (B, H, W) as :func:`labelled_objects` has them."""
        tokens = self.top.tokens(self.trunk(images))
        classes = labels // MOST_OBJECTS
        kinds = functional.one_hot(classes, self.top.head.out_features).permute(0, 3, 1, 2).float()
        shares = functional.avg_pool2d(kinds, PATCH_PX)
        wanted = torch.tensor([main_class(one) for one in classes.numpy()])
        said = self.top.head(tokens.mean(dim=(2, 3)))
        said_of_patches = self.aside(tokens.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        patches = functional.cross_entropy(said_of_patches, shares)
        return functional.cross_entropy(said, wanted) + PATCH_WEIGHT * patches


class KeypointLesson(nn.Module):
    """Frames and labels to the loss of heat maps."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.top = PyramidTrunk(), KeypointTop(fused=False)
        assert self.top.head.bias is not None
        nn.init.constant_(self.top.head.bias, -2.19)  # a score of .1 everywhere, as Zhou et al. begin

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Labels (B, H, W) as :func:`labelled_objects` has them."""
        logits = self.top(self.trunk(images))
        stride_px = images.shape[2] // logits.shape[2]
        wanted = [peak_targets(one, logits.shape[1], stride_px) for one in labels.numpy()]
        return peak_loss(logits, torch.from_numpy(np.stack(wanted)))


def peak_targets(labels: np.ndarray, kinds: int, stride_px: int) -> np.ndarray:
    """(kinds, H/stride, W/stride): 1 in the cell of each object's centre, falling off as a Gaussian."""
    rows, columns = (side // stride_px for side in labels.shape)
    down, across = np.mgrid[:rows, :columns]
    wanted = np.zeros((kinds, rows, columns), np.float32)
    for x, y, kind in object_centres(labels):
        row, column = int(y // stride_px), int(x // stride_px)
        squared = (down - row) ** 2 + (across - column) ** 2
        wanted[kind] = np.maximum(wanted[kind], np.exp(-squared / (2 * PEAK_WIDTH**2)))
    return wanted


def peak_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """The focal loss of heat maps (Zhou et al. 2019, "Objects as points", equation 1; α = 2, β = 4).

    −1/N Σ of (1 − p)² log p where a keypoint is, (1 − y)⁴ p² log(1 − p) elsewhere; N keypoints.
    """
    log_p, log_q = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    p = torch.sigmoid(logits)
    here = wanted == 1
    hit = ((1 - p) ** 2 * log_p)[here].sum()
    miss = ((1 - wanted) ** 4 * p**2 * log_q)[~here].sum()
    return -(hit + miss) / max(1, int(here.sum()))


def train(
    task: str,
    source: FrameSource,
    presets: Sequence[str],
    *,
    steps: int,
    seed: int = 0,
    batch: int = 8,
    frames_per_scene: int = 24,
    log: Callable[[str], None] = print,
) -> nn.Module:
    """Train the top of one of the networks and return it fused; the result is a function of the arguments.

    The weights are an exponential moving average. Only the top learns: the trunk is the default network's,
    frozen.

    Args:
        task: "tokens" or "keypoints".

    Raises:
        ValueError: fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps must be > 0 (got {steps})")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    lesson = TokenLesson() if task == "tokens" else KeypointLesson()
    take_over(lesson.trunk)
    average = copy.deepcopy(lesson.top).eval()
    learnt = [weight for weight in lesson.parameters() if weight.requires_grad]
    learn(
        learnt,
        batches(source, presets, rng, batch, frames_per_scene, 1),
        lesson,
        peak_rate=PEAK_RATE,
        steps=steps,
        averaged=(average, lesson.top),
        greatest_norm=5.0,
        log=log,
    )
    return average.eval() if task == "tokens" else fold(average, KeypointTop())


def measure(task: str) -> list[dict[str, str]]:
    """Rows of a task's table: each preset at each size, on all held-out scenes together."""
    rows = []
    model = load_token_network() if task == "tokens" else load_keypoint_network()
    threshold = KeypointSceneNetwork.Options().score_threshold
    for preset in PRESET_NAMES:
        for size_px in SIZES_PX[task]:
            asked = labelled_objects, preset, HELD_OUT_SEEDS, MEASURED_FRAMES, size_px
            if task == "tokens":
                rows.append(evaluate_tasks.measure_tokens(model, *asked).row())
            else:
                rows.append(evaluate_tasks.measure_keypoints(model, *asked, threshold).row())
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def main(arguments: list[str] | None = None) -> int:
    """The command; 0 on success, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m kernels.models.train_tasks", description=__doc__)
    parser.add_argument("action", choices=["train", "evaluate"])
    parser.add_argument("task", choices=list(WEIGHTS))
    parser.add_argument("--steps", type=int, help="of training; the same steps give the same weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, help="where training writes them")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if chosen.action == "evaluate":
        rows = measure(chosen.task)
        with WEIGHTS[chosen.task].with_suffix(".csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return 0
    steps = STEPS[chosen.task] if chosen.steps is None else chosen.steps
    try:
        model = train(chosen.task, labelled_objects, PRESET_NAMES, steps=steps, seed=chosen.seed, log=say)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    save_weights(model, chosen.weights or WEIGHTS[chosen.task])
    return 0


if __name__ == "__main__":
    sys.exit(main())
