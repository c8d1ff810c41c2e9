"""``python -m kernels.models.train_exits --steps 1000``: train the default network's exits.

Only the heads learn; the network is frozen and its file of weights is not written. They learn to say what its
final output says (distillation), which is what measured accuracy compares with. Scenes are drawn as for the
network itself, seeds from 1000 up. The committed heads are 1,000 steps, seed 0: eight minutes of one core.
``python -m kernels.bench.exits`` measures them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.models.composed_scenes import PRESET_NAMES, FrameSource, batches, composed_frames
from kernels.models.conversion import fold
from kernels.models.learning import learn, say
from kernels.models.networks.default_network import DefaultNetwork, load_default_network
from kernels.models.networks.exit_heads import WEIGHTS, ExitHeads
from kernels.models.networks.staged import StagedNetwork
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

    The result is a function of the arguments.

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

    def loss(images: Tensor, _: Tensor) -> Tensor:
        maps, final = staged.everything(images)
        return torch.stack([distillation_loss(found, final) for found in heads(maps).values()]).sum()

    learn(
        heads.parameters(),
        batches(source, presets, rng, batch, frames_per_scene),
        loss,
        peak_rate=peak_rate,
        steps=steps,
        log=log,
    )
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
        heads = train(composed_frames, PRESET_NAMES, steps=chosen.steps, seed=chosen.seed, log=say)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    save_weights(heads, chosen.weights)
    return 0


if __name__ == "__main__":
    sys.exit(main())
