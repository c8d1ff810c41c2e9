"""The keypoint network: the centre of every object of the embedded scenes, as peaks of one heat map a class.

A convolutional pyramid to stride 32 and back to stride 8, of the default network's units at about half its
width. Objects are points, as in Zhou et al. 2019 ("Objects as points"): a point is the centre of the box
around what is seen of an object.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from kernels.models.networks.layers import SPPF, Bottleneck, ConvUnit
from kernels.models.predictions.labels import SCENE_CLASSES
from kernels.models.weight_files import load_weights

WEIGHTS = Path(__file__).parent.parent / "weights" / "keypoint_network.safetensors"
OUTPUT_STRIDE_PX = 8


class KeypointNetwork(nn.Module):
    """Heat-map logits at stride 8.

    ``forward(frame)`` with frame (B, 3, H, W), RGB in [0, 1], H and W multiples of 32, returns ``{"peaks":
    (maps,)}`` with maps (B, kinds, H/8, W/8): the sigmoid is the score of a keypoint of that kind there.
    """

    def __init__(self, kinds: int = len(SCENE_CLASSES), *, fused: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvUnit(3, 12, 3, 2, fused=fused), ConvUnit(12, 24, 3, 2, fused=fused))
        self.stage8 = _stage(24, 32, fused=fused)
        self.stage16 = _stage(32, 48, fused=fused)
        self.stage32 = nn.Sequential(_stage(48, 64, fused=fused), SPPF(64, 64, fused=fused))
        self.up16 = _merge(64 + 48, 40, fused=fused)
        self.up8 = _merge(40 + 32, 32, fused=fused)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.Conv2d(32, kinds, 1)

    def forward(self, frame: Tensor) -> dict[str, tuple[Tensor, ...]]:
        stride8 = self.stage8(self.stem(frame))
        stride16 = self.stage16(stride8)
        stride32 = self.stage32(stride16)
        merged = self.up16(torch.cat([self.upsample(stride32), stride16], dim=1))
        merged = self.up8(torch.cat([self.upsample(merged), stride8], dim=1))
        return {"peaks": (self.head(merged),)}


def _stage(inputs: int, outputs: int, *, fused: bool) -> nn.Sequential:
    return nn.Sequential(ConvUnit(inputs, outputs, 3, 2, fused=fused), Bottleneck(outputs, fused=fused))


def _merge(inputs: int, outputs: int, *, fused: bool) -> nn.Sequential:
    return nn.Sequential(ConvUnit(inputs, outputs, fused=fused), ConvUnit(outputs, outputs, 3, fused=fused))


def load_keypoint_network() -> nn.Module:
    """The keypoint network with the weights that come along, in evaluation mode."""
    return load_weights(KeypointNetwork(), WEIGHTS)
