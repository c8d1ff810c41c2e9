"""The default network: a small segmentation network for the embedded scenes, with its own trained weights.

A convolutional pyramid to stride 32 and back to stride 4, made of the same units as YOLO11 (convolution,
batch norm, SiLU, bottlenecks, pooled context), so that it exercises the same executor at a tenth of the cost.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from kernels.models.networks.layers import SPPF, Bottleneck, ConvUnit
from kernels.models.predictions.labels import SCENE_CLASSES
from kernels.models.weight_files import load_weights

CLASS_NAMES = ("background", *SCENE_CLASSES)
WEIGHTS = Path(__file__).parent.parent / "weights" / "default_network.safetensors"
OUTPUT_STRIDE_PX = 4


class DefaultNetwork(nn.Module):
    """Class logits at stride 4.

    ``forward(frame)`` with frame (B, 3, H, W), RGB in [0, 1], H and W multiples of 32, returns logits
    (B, classes, H/4, W/4).
    """

    def __init__(self, classes: int = len(CLASS_NAMES), *, fused: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvUnit(3, 16, 3, 2, fused=fused), ConvUnit(16, 32, 3, 2, fused=fused))
        self.stage4 = Bottleneck(32, fused=fused)
        self.stage8 = stage(32, 64, 1, fused=fused)
        self.stage16 = stage(64, 96, 2, fused=fused)
        self.stage32 = nn.Sequential(stage(96, 128, 2, fused=fused), SPPF(128, 128, fused=fused))
        self.up16 = merge(128 + 96, 64, fused=fused)
        self.up8 = merge(64 + 64, 48, fused=fused)
        self.up4 = merge(48 + 32, 24, fused=fused)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.Conv2d(24, classes, 1)

    def forward(self, frame: Tensor) -> Tensor:
        stride4 = self.stage4(self.stem(frame))
        stride8 = self.stage8(stride4)
        stride16 = self.stage16(stride8)
        stride32 = self.stage32(stride16)
        merged = self.up16(torch.cat([self.upsample(stride32), stride16], dim=1))
        merged = self.up8(torch.cat([self.upsample(merged), stride8], dim=1))
        merged = self.up4(torch.cat([self.upsample(merged), stride4], dim=1))
        logits: Tensor = self.head(merged)
        return logits


def stage(inputs: int, outputs: int, depth: int, *, fused: bool) -> nn.Sequential:
    """A stride-2 convolution, then bottlenecks."""
    blocks = (Bottleneck(outputs, fused=fused) for _ in range(depth))
    return nn.Sequential(ConvUnit(inputs, outputs, 3, 2, fused=fused), *blocks)


def merge(inputs: int, outputs: int, *, fused: bool) -> nn.Sequential:
    """What two concatenated maps pass on the way up."""
    return nn.Sequential(ConvUnit(inputs, outputs, fused=fused), ConvUnit(outputs, outputs, 3, fused=fused))


def load_default_network() -> nn.Module:
    """The default network with the weights that come along, in evaluation mode."""
    return load_weights(DefaultNetwork(), WEIGHTS)
