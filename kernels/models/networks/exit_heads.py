"""Exits of the default network: small segmentation heads at three depths, with weights of their own.

Each answers as the whole network does, in class logits at stride 4, from what has been computed so far. The
network's own weights are not touched: heads were trained on its frozen features, to agree with its final
output (`python -m kernels.models.train_exits`), and lie in a file beside its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.models.networks.default_network import CLASS_NAMES, OUTPUT_STRIDE_PX
from kernels.models.networks.layers import Bottleneck, ConvUnit
from kernels.models.weight_files import load_weights

WEIGHTS = Path(__file__).parent.parent / "weights" / "exit_heads.safetensors"
EMBEDDING_CHANNELS = 24
CONTEXT_CHANNELS = 32
CONTEXT_STRIDE_PX = 32  # the coarsest map of a head's own pyramid


@dataclass(frozen=True, slots=True)
class ExitPlace:
    """Where an exit sits.

    Args:
        after: the stage behind which it can answer.
        fine, fine_channels, fine_stride_px: the map that its answer is drawn on.
        deep_channels, deep_stride_px: the deepest map, that of `after`.
    """

    after: str
    fine: str
    fine_channels: int
    fine_stride_px: int
    deep_channels: int
    deep_stride_px: int


EXITS = (
    ExitPlace("stage4", "stage4", 32, 4, 32, 4),
    ExitPlace("stage8", "stage8", 64, 8, 64, 8),
    ExitPlace("stage16", "stage8", 64, 8, 96, 16),
)


class ExitHead(nn.Module):
    """Class logits at stride 4 from the maps that are there at one depth.

    The deepest map is carried down to stride 32, so that a position sees a few hundred pixels around it;
    coarse maps are added to finer ones on the way back (a feature pyramid), and the answer is drawn on the
    fine map.
    """

    def __init__(self, place: ExitPlace, classes: int = len(CLASS_NAMES), *, fused: bool = True) -> None:
        super().__init__()
        self.place = place
        self.fine = ConvUnit(place.fine_channels, EMBEDDING_CHANNELS, fused=fused)
        levels = []
        channels, stride_px = place.deep_channels, place.deep_stride_px
        if stride_px > place.fine_stride_px:
            levels.append(ConvUnit(channels, CONTEXT_CHANNELS, fused=fused))
            channels = CONTEXT_CHANNELS
        while stride_px < CONTEXT_STRIDE_PX:
            levels.append(ConvUnit(channels, CONTEXT_CHANNELS, 3, 2, fused=fused))
            channels, stride_px = CONTEXT_CHANNELS, 2 * stride_px
        self.levels = nn.ModuleList(levels)
        self.context = Bottleneck(CONTEXT_CHANNELS, 1.0, fused=fused)
        self.merge = ConvUnit(EMBEDDING_CHANNELS + CONTEXT_CHANNELS, EMBEDDING_CHANNELS, fused=fused)
        self.logits = nn.Conv2d(EMBEDDING_CHANNELS, classes, 1)

    def embedding(self, maps: Mapping[str, Tensor]) -> Tensor:
        """What the classes are told apart by, (B, 24, H/s, W/s) with s the fine map's stride."""
        fine = self.fine(maps[self.place.fine])
        pyramid = []
        coarse = maps[self.place.after]
        for level in self.levels:
            coarse = level(coarse)
            pyramid.append(coarse)
        coarse = self.context(pyramid.pop())
        while pyramid:
            finer = pyramid.pop()
            coarse = finer + _resized(coarse, finer)
        merged: Tensor = self.merge(torch.cat([fine, _resized(coarse, fine)], dim=1))
        return merged

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        logits: Tensor = self.logits(self.embedding(maps))
        return to_output_stride(logits, self.place.fine_stride_px)


class ExitHeads(nn.Module):
    """All heads by the stage behind which they answer."""

    def __init__(self, *, fused: bool = True) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({place.after: ExitHead(place, fused=fused) for place in EXITS})

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {after: head(maps) for after, head in self.heads.items()}


def _resized(coarse: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(coarse, size=like.shape[2:], mode="nearest")


def to_output_stride(values: Tensor, stride_px: int) -> Tensor:
    """Maps at a stride as the network's output has them, at stride 4, bilinearly."""
    if stride_px == OUTPUT_STRIDE_PX:
        return values
    return functional.interpolate(
        values, scale_factor=stride_px // OUTPUT_STRIDE_PX, mode="bilinear", align_corners=False
    )


def confidence(logits: Tensor) -> float:
    """How sure an exit is of one frame: the intersection over union that it expects of its own answer.

    C = mean over the classes c found of O_c / (Σ_x p_c(x) + n_c − O_c) with O_c = Σ_{x: ŷ(x)=c} p_c(x): p is
    the softmax, ŷ its largest class and n_c the number of positions of class c. Background does not count, as
    in the agreement of results, and C = 1 where nothing was found; else it is 1 only where p is 0 or 1.

    Where a picture has one class, exits compare its share (Laskaridis et al. 2020). Where every position has
    one, the mean of the largest shares says how much background there is: on scenes 100 to 103 it correlates
    with agreement by −.02 (after stage4), .19 and .16, this one by .91, .94 and .95.

    Args:
        logits: (1, classes, H, W).
    """
    shares = torch.softmax(logits[0], dim=0).double()
    found = shares.argmax(dim=0)
    expected = []
    for label in range(1, len(shares)):
        here = found == label
        count = int(here.sum())
        if count:
            overlap = float(shares[label][here].sum())
            expected.append(overlap / (float(shares[label].sum()) + count - overlap))
    return min(1.0, sum(expected) / len(expected)) if expected else 1.0


def load_exit_heads(weights: Path = WEIGHTS) -> ExitHeads:
    """The heads with the weights that come along, in evaluation mode."""
    heads = ExitHeads()
    load_weights(heads, weights)
    return heads
