"""The keypoint network: the centre of every object of the embedded scenes, as peaks of one heat map a class.

Objects are points, as in Zhou et al. 2019 ("Objects as points"): a point is the centre of the box around what
is seen of an object. On the default network's pyramid, which says at stride 8 what is where, stands a small
pyramid of its own that finds the middles. It has learnt objects whole on frames of 320 px alone (those of 640
are cut), so larger frames are halved before it looks.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from kernels.models.networks.default_network import merge, stage
from kernels.models.networks.layers import SPPF
from kernels.models.networks.scene_trunks import PyramidTrunk, take_over
from kernels.models.predictions.labels import SCENE_CLASSES
from kernels.models.weight_files import load_weights

WEIGHTS = Path(__file__).parent.parent / "weights" / "keypoint_top.safetensors"
HALVED_FROM_PX = 512


class KeypointTop(nn.Module):
    """From a trunk's map (B, channels, H/8, W/8) to heat-map logits (B, kinds, H/8, W/8)."""

    def __init__(self, channels: int = PyramidTrunk.channels, *, fused: bool = True) -> None:
        super().__init__()
        self.stage16 = stage(channels, 40, 1, fused=fused)
        self.stage32 = nn.Sequential(stage(40, 56, 1, fused=fused), SPPF(56, 56, fused=fused))
        self.up16 = merge(56 + 40, 32, fused=fused)
        self.up8 = merge(32 + channels, 32, fused=fused)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.Conv2d(32, len(SCENE_CLASSES), 1)

    def forward(self, stride8: Tensor) -> Tensor:
        stride16 = self.stage16(stride8)
        stride32 = self.stage32(stride16)
        merged = self.up16(torch.cat([self.upsample(stride32), stride16], dim=1))
        merged = self.up8(torch.cat([self.upsample(merged), stride8], dim=1))
        logits: Tensor = self.head(merged)
        return logits


class KeypointNetwork(nn.Module):
    """Heat-map logits at stride 8, or at 16 where the shorter side is :data:`HALVED_FROM_PX` or more.

    ``forward(frame)`` with frame (B, 3, H, W), RGB in [0, 1], H and W multiples of 64, returns ``{"peaks":
    (maps,)}`` with maps (B, kinds, H/8, W/8) or (…, H/16, W/16): the sigmoid is the score of a keypoint of
    that kind there.
    """

    def __init__(self, *, fused: bool = True) -> None:
        super().__init__()
        self.halve = nn.AvgPool2d(2)
        self.trunk = PyramidTrunk()
        self.top = KeypointTop(fused=fused)

    def forward(self, frame: Tensor) -> dict[str, tuple[Tensor, ...]]:
        if min(frame.shape[2:]) >= HALVED_FROM_PX:
            frame = self.halve(frame)
        return {"peaks": (self.top(self.trunk(frame)),)}


def load_keypoint_network() -> nn.Module:
    """The keypoint network with the weights that come along, in evaluation mode."""
    network = KeypointNetwork()
    take_over(network.trunk)
    load_weights(network.top, WEIGHTS)
    return network.eval()
