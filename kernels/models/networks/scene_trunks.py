"""Parts of the default network that other networks of the embedded scenes stand on, with its trained weights.

What tells the scenes' objects apart has been learnt once; a trunk takes it over, frozen, and what stands on
it holds nothing but its own weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kernels.models.networks.default_network import WEIGHTS, merge, stage
from kernels.models.networks.layers import SPPF, Bottleneck, ConvUnit
from kernels.models.weight_files import load_state, read_state


class EarlyTrunk(nn.Module):
    """The default network up to stride 8: ``forward(frame)`` gives (B, 64, H/8, W/8)."""

    channels = 64

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvUnit(3, 16, 3, 2), ConvUnit(16, 32, 3, 2))
        self.stage4 = Bottleneck(32)
        self.stage8 = stage(32, 64, 1, fused=True)

    def forward(self, frame: Tensor) -> Tensor:
        out: Tensor = self.stage8(self.stage4(self.stem(frame)))
        return out


class PyramidTrunk(EarlyTrunk):
    """The default network to stride 32 and back to 8: ``forward(frame)`` gives (B, 48, H/8, W/8)."""

    channels = 48

    def __init__(self) -> None:
        super().__init__()
        self.stage16 = stage(64, 96, 2, fused=True)
        self.stage32 = nn.Sequential(stage(96, 128, 2, fused=True), SPPF(128, 128))
        self.up16 = merge(128 + 96, 64, fused=True)
        self.up8 = merge(64 + 64, 48, fused=True)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, frame: Tensor) -> Tensor:
        stride8 = super().forward(frame)
        stride16 = self.stage16(stride8)
        stride32 = self.stage32(stride16)
        merged = self.up16(torch.cat([self.upsample(stride32), stride16], dim=1))
        out: Tensor = self.up8(torch.cat([self.upsample(merged), stride8], dim=1))
        return out


def take_over(trunk: EarlyTrunk) -> None:
    """Give a trunk the default network's weights, frozen."""
    own = trunk.state_dict()
    load_state(trunk, {k: v for k, v in read_state(WEIGHTS).items() if k in own}, str(WEIGHTS))
    trunk.eval().requires_grad_(False)
