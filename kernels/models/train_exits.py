"""``python -m kernels.models.train_exits --steps 1000``: train the default network's exits.

Only the heads learn; the network is frozen and its file of weights is not written. They learn to say what its
final output says (distillation), which is what measured accuracy compares with. Scenes are drawn as for the
network itself, seeds from 1000 up. The committed heads are 1,000 steps, seed 0: eight minutes of one core.
``python -m kernels.bench.exits`` measures them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.models.conversion import fold
from kernels.models.networks.default_network import DefaultNetwork, load_default_network
from kernels.models.networks.exit_heads import WEIGHTS, ExitHeads
from kernels.models.networks.staged import StagedNetwork
from kernels.models.train_default import PRESET_NAMES, FrameSource, batches, composed_frames
from kernels.models.weight_files import save_weights


def distillation_loss(logits: Tensor, final: Tensor) -> Tensor:
    """How far an exit's logits are from the final ones: cross-entropy of shares, plus mean Dice of classes.

    H(p, q) = −Σ_c p_c log q_c with p = softmax(final), q = softmax(logits) (Hinton et al. 2015, at
    temperature 1), averaged over positions; Dice (Milletari et al. 2016, section 3) against the final
    classes.
    """
    wanted = torch.softmax(final, dim=1)
    entropy = functional.cross_entropy(logits, wanted)
    truth = functional.one_hot(final.argmax(dim=1), final.shape[1]).permute(0, 3, 1, 2).float()
    shares = torch.softmax(logits, dim=1)
    overlap, size = (shares * truth).sum(dim=(0, 2, 3)), (shares + truth).sum(dim=(0, 2, 3))
    return entropy + (1 - (2 * overlap + 1) / (size + 1)).mean()


def train(
    source: FrameSource,
    presets: Sequence[str],
    *,
    steps: int,
    seed: int = 0,
    batch: int = 8,
    frames_per_scene: int = 40,
    peak_rate: float = 6e-3,
    network: nn.Module | None = None,
    log: Callable[[str], None] = print,
) -> ExitHeads:
    """Train all heads at once on the frozen network's features, and return them fused.

    The learning rate rises for a twentieth of the steps, then falls to zero as a cosine. The result is a
    function of the arguments.

    Args:
        network: whose exits they are; None: the default network with its own weights.

    Raises:
        ValueError: fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps must be > 0 (got {steps})")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    frozen = (load_default_network() if network is None else network).eval().requires_grad_(False)
    assert isinstance(frozen, DefaultNetwork)
    heads = ExitHeads(fused=False).train()
    staged = StagedNetwork(frozen, ExitHeads())
    optimiser = torch.optim.AdamW(heads.parameters(), lr=peak_rate, weight_decay=0.01)
    started, smoothed = time.monotonic(), float("nan")
    for step, (images, _) in enumerate(batches(source, presets, rng, batch, frames_per_scene), 1):
        done = (step - 1) / steps
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = peak_rate * min(done / 0.05, 0.5 * (1 + np.cos(np.pi * done)))
        maps, final = staged.everything(images)
        value = torch.stack([distillation_loss(found, final) for found in heads(maps).values()]).sum()
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        smoothed = float(value.detach()) if step == 1 else 0.97 * smoothed + 0.03 * float(value.detach())
        if step % 50 == 0:
            log(f"step {step:5d}  {time.monotonic() - started:5.0f} s  loss {smoothed:.4f}")
    fused = fold(heads.eval(), ExitHeads())
    assert isinstance(fused, ExitHeads)
    return fused


def main(arguments: list[str] | None = None) -> int:
    """The command; 0 on success, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m kernels.models.train_exits", description=__doc__)
    parser.add_argument("--steps", type=int, default=1000, help="the same steps give the same weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        heads = train(composed_frames, PRESET_NAMES, steps=chosen.steps, seed=chosen.seed, log=_say)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    save_weights(heads, chosen.weights)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
