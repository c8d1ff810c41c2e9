"""How the small networks learn: one schedule, one optimiser, one moving average for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

WARM_UP = 0.05  # share of the training in which the rate rises
WEIGHT_DECAY = 0.01


def learn(
    weights: Iterable[nn.Parameter],
    batches: Iterable[tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    peak_rate: float,
    steps: int | None = None,
    minutes: float | None = None,
    averaged: tuple[nn.Module, nn.Module] | None = None,
    greatest_norm: float | None = None,
    log: Callable[[str], None] = print,
) -> None:
    """Change weights by AdamW, batch after batch, until as many steps or minutes have passed.

    With d the share that has passed, the rate is peak_rate · min(d / 0.05, (1 + cos πd) / 2): a short rise,
    then a cosine to zero (Loshchilov & Hutter 2017, "SGDR", equation 5, without restarts).

    Args:
        weights: that change.
        batches: images and labels, without end.
        loss: of a batch.
        steps, minutes: exactly one of them, > 0. With minutes the result depends on the machine's speed.
        averaged: two modules of the same layers: the first becomes the exponential moving average of the
            second, which holds the weights.
        greatest_norm: to which all gradients together are clipped; None: they are not.
        log: is told of every 50th step.

    Raises:
        ValueError: unless exactly one of `minutes` and `steps` is given, and positive.
    """
    if (minutes is None) == (steps is None) or not (minutes or steps or 0) > 0:
        raise ValueError(f"minutes or steps must be given and > 0 (got minutes={minutes}, steps={steps})")
    weights = list(weights)
    optimiser = torch.optim.AdamW(weights, lr=peak_rate, weight_decay=WEIGHT_DECAY)
    started, smoothed = time.monotonic(), float("nan")
    for step, (images, labels) in enumerate(batches, 1):
        taken_s = time.monotonic() - started
        done = (step - 1) / steps if steps else taken_s / (60 * (minutes or 0))
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = peak_rate * min(done / WARM_UP, 0.5 * (1 + np.cos(np.pi * done)))
        value = loss(images, labels)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        if greatest_norm is not None:
            nn.utils.clip_grad_norm_(weights, greatest_norm)
        optimiser.step()
        if averaged is not None:
            _blend(*averaged, min(0.995, step / (step + 20)))
        smoothed = float(value.detach()) if step == 1 else 0.97 * smoothed + 0.03 * float(value.detach())
        if step % 50 == 0:
            log(f"step {step:5d}  {100 * done:5.1f} %  {taken_s:5.0f} s  loss {smoothed:.4f}")


@torch.no_grad()
def _blend(average: nn.Module, model: nn.Module, keep: float) -> None:
    """Move the average's weights towards the model's by 1 − keep; whole numbers, such as counts, stay."""
    own = average.state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            own[name].mul_(keep).add_(value, alpha=1 - keep)


def say(line: str) -> None:
    """Print a line at once, for a command whose output goes to a file."""
    print(line, flush=True)
