"""``python -m kernels.models.train_tasks``: train the token and the keypoint network, and measure them.

    python -m kernels.models.train_tasks train tokens
    python -m kernels.models.train_tasks train keypoints
    python -m kernels.models.train_tasks evaluate tokens

``evaluate`` writes the table beside the weights. Scenes, augmentation and what is held out are those of
:mod:`kernels.models.train_default`. The committed weights are the default steps and seed.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.models.conversion import fold
from kernels.models.evaluation import evaluate_tasks
from kernels.models.evaluation.scene_truth import MOST_OBJECTS, labelled_objects, main_class, object_centres
from kernels.models.network import KeypointSceneNetwork
from kernels.models.networks import keypoint_network, token_network
from kernels.models.networks.keypoint_network import KeypointNetwork, load_keypoint_network
from kernels.models.networks.token_network import PATCH_PX, TokenNetwork, load_token_network
from kernels.models.train_default import HELD_OUT_SEEDS, MEASURED_FRAMES, FrameSource, batches
from kernels.models.weight_files import save_weights
from traces.video.scenes.scene import PRESETS

WEIGHTS = {"tokens": token_network.WEIGHTS, "keypoints": keypoint_network.WEIGHTS}
STEPS = {"tokens": 2000, "keypoints": 1500}
SIZES_PX: dict[str, tuple[int | tuple[int, int], ...]] = {
    "tokens": (320, 640),
    "keypoints": (320, 640, (256, 192)),  # the last is SDPose's, for which it stands in
}
PEAK_WIDTH = 1.25  # σ of a target's Gaussian, in cells of the heat map
PEAK_RATES = {"tokens": 1.5e-3, "keypoints": 3e-3}  # of learning; attention stalls at the second
PATCH_WEIGHT = 2.0  # of what tokens say of their own patches, beside what is said of the frame


def token_loss(model: TokenNetwork, aside: nn.Linear, images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the main class, plus that of what each token's own patch shows.

    The second is dropped after training, as is the layer that says it: it tells each token what it looks at
    (Jiang et al. 2021, "All tokens matter", with the share of each class in the patch as the label).

    Args:
        aside: from a token's channels to the classes.
        labels: (B, H, W), as :func:`labelled_objects` has them.
    """
    tokens = model.tokens(images)
    kinds = functional.one_hot(labels // MOST_OBJECTS, model.head.out_features).permute(0, 3, 1, 2).float()
    shares = functional.avg_pool2d(kinds, PATCH_PX)
    wanted = torch.tensor([main_class(one) for one in (labels // MOST_OBJECTS).numpy()])
    said = model.head(tokens.mean(dim=(2, 3)))
    patches = aside(tokens.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    said_of_patches = functional.cross_entropy(patches, shares)
    return functional.cross_entropy(said, wanted) + PATCH_WEIGHT * said_of_patches


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
    """Train one of the networks and return it fused; the result is a function of the arguments.

    The learning rate rises for a twentieth of the steps, then falls to zero as a cosine; the weights are an
    exponential moving average.

    Args:
        task: "tokens" or "keypoints".

    Raises:
        ValueError: fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps must be > 0 (got {steps})")
    peak_rate = PEAK_RATES[task]
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    make = TokenNetwork if task == "tokens" else KeypointNetwork
    model, average = make(fused=False).train(), make(fused=False).eval()
    aside: nn.Module = nn.Identity()
    if isinstance(model, TokenNetwork):
        aside = nn.Linear(model.head.in_features, model.head.out_features)
    elif isinstance(model, KeypointNetwork):
        assert model.head.bias is not None
        nn.init.constant_(model.head.bias, -2.19)  # a score of .1 everywhere, as Zhou et al. begin
    average.load_state_dict(model.state_dict())
    learnt = [*model.parameters(), *aside.parameters()]
    optimiser = torch.optim.AdamW(learnt, lr=peak_rate, weight_decay=0.01)
    started, smoothed = time.monotonic(), float("nan")
    for step, (images, labels) in enumerate(batches(source, presets, rng, batch, frames_per_scene, 1), 1):
        done = (step - 1) / steps
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = peak_rate * min(done / 0.05, 0.5 * (1 + np.cos(np.pi * done)))
        if isinstance(model, TokenNetwork):
            assert isinstance(aside, nn.Linear)
            value = token_loss(model, aside, images, labels)
        else:
            logits = model(images)["peaks"][0]
            stride_px = images.shape[2] // logits.shape[2]
            wanted = [peak_targets(one, logits.shape[1], stride_px) for one in labels.numpy()]
            value = peak_loss(logits, torch.from_numpy(np.stack(wanted)))
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(learnt, 5.0)
        optimiser.step()
        blend(average, model, min(0.995, step / (step + 20)))
        smoothed = float(value.detach()) if step == 1 else 0.97 * smoothed + 0.03 * float(value.detach())
        if step % 50 == 0:
            log(f"step {step:5d}  {time.monotonic() - started:5.0f} s  loss {smoothed:.4f}")
    return fold(average, make())


@torch.no_grad()
def blend(average: nn.Module, model: nn.Module, keep: float) -> None:
    """Move the average's weights towards the model's by 1 − keep."""
    own = average.state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            own[name].mul_(keep).add_(value, alpha=1 - keep)


def measure(task: str) -> list[dict[str, str]]:
    """Rows of a task's table: each preset at each size, on all held-out scenes together."""
    rows = []
    model = load_token_network() if task == "tokens" else load_keypoint_network()
    threshold = KeypointSceneNetwork.Options().score_threshold
    for preset in PRESETS:
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
        model = train(chosen.task, labelled_objects, tuple(PRESETS), steps=steps, seed=chosen.seed, log=_say)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    save_weights(model, chosen.weights or WEIGHTS[chosen.task])
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
