"""The building blocks of YOLO11, named as the published architecture names them.

Attribute names (``conv``, ``bn``, ``cv1``, ``m`` …) are those of the published state dicts, so that weights
load without renaming. ``fused=True`` builds each convolution with a bias in place of its batch norm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BATCH_NORM_EPS = 1e-3  # the published checkpoints were trained with it; folding needs the same value


class ConvUnit(nn.Module):
    """Convolution, batch norm (or its folded bias), SiLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        activation: bool = True,
        fused: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=fused)
        if not fused:
            self.bn = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS, momentum=0.03)
        self.act = nn.SiLU() if activation else nn.Identity()
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if not self.fused:
            x = self.bn(x)
        out: Tensor = self.act(x)
        return out


class Bottleneck(nn.Module):
    """Two 3×3 convolutions with a skip connection; ``expansion`` is hidden over output channels."""

    def __init__(self, channels: int, expansion: float = 0.5, *, fused: bool = True) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.cv1 = ConvUnit(channels, hidden, 3, fused=fused)
        self.cv2 = ConvUnit(hidden, channels, 3, fused=fused)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.cv2(self.cv1(x))
        return x + change


class C3k(nn.Module):
    """A cross-stage-partial block: one branch through two bottlenecks, one past them."""

    def __init__(self, channels: int, depth: int = 2, *, fused: bool = True) -> None:
        super().__init__()
        hidden = channels // 2
        self.cv1 = ConvUnit(channels, hidden, fused=fused)
        self.cv2 = ConvUnit(channels, hidden, fused=fused)
        self.cv3 = ConvUnit(2 * hidden, channels, fused=fused)
        self.m = nn.Sequential(*(Bottleneck(hidden, 1.0, fused=fused) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], dim=1))
        return out


class C3k2(nn.Module):
    """Split in two, chain ``depth`` inner blocks behind the second half, concatenate every stage."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        depth: int,
        *,
        nested: bool,
        expansion: float = 0.5,
        fused: bool = True,
    ) -> None:
        super().__init__()
        hidden = int(outputs * expansion)
        self.cv1 = ConvUnit(inputs, 2 * hidden, fused=fused)
        self.cv2 = ConvUnit((2 + depth) * hidden, outputs, fused=fused)
        self.m = nn.ModuleList(
            C3k(hidden, fused=fused) if nested else Bottleneck(hidden, fused=fused) for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        first, last = torch.chunk(self.cv1(x), 2, dim=1)
        stages = [first, last]
        for block in self.m:
            last = block(last)
            stages.append(last)
        out: Tensor = self.cv2(torch.cat(stages, dim=1))
        return out


class SPPF(nn.Module):
    """Three 5×5 max pools in a row, all four maps concatenated: windows of 1, 5, 9 and 13."""

    def __init__(self, inputs: int, outputs: int, window: int = 5, *, fused: bool = True) -> None:
        super().__init__()
        hidden = inputs // 2
        self.cv1 = ConvUnit(inputs, hidden, fused=fused)
        self.cv2 = ConvUnit(4 * hidden, outputs, fused=fused)
        self.m = nn.MaxPool2d(window, stride=1, padding=window // 2)

    def forward(self, x: Tensor) -> Tensor:
        once = self.cv1(x)
        twice = self.m(once)
        thrice = self.m(twice)
        out: Tensor = self.cv2(torch.cat([once, twice, thrice, self.m(thrice)], dim=1))
        return out


class Attention(nn.Module):
    """Multi-head self-attention over all positions of a map, with a depthwise position term on the values.

    Keys have half the channels of values. No position is independent of any other: a sparse executor must
    compute this module densely.
    """

    def __init__(self, channels: int, heads: int, *, fused: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.value_channels = channels // heads
        self.key_channels = self.value_channels // 2
        self.scale = self.key_channels**-0.5
        self.qkv = ConvUnit(channels, channels + 2 * self.key_channels * heads, activation=False, fused=fused)
        self.proj = ConvUnit(channels, channels, activation=False, fused=fused)
        self.pe = ConvUnit(channels, channels, 3, groups=channels, activation=False, fused=fused)

    def forward(self, x: Tensor) -> Tensor:
        per_head = self.qkv(x).unflatten(1, (self.heads, 2 * self.key_channels + self.value_channels))
        query, key, value = per_head.split([self.key_channels, self.key_channels, self.value_channels], dim=2)
        values = value.flatten(1, 2)
        weights = torch.softmax(query.flatten(3).transpose(2, 3) @ key.flatten(3) * self.scale, dim=-1)
        mixed = value.flatten(3) @ weights.transpose(2, 3)
        out: Tensor = self.proj(mixed.reshape(values.shape) + self.pe(values))
        return out


class PSABlock(nn.Module):
    """A transformer layer on a map: attention, then a 1×1 feed-forward pair, each with a skip."""

    def __init__(self, channels: int, heads: int, *, fused: bool = True) -> None:
        super().__init__()
        self.attn = Attention(channels, heads, fused=fused)
        self.ffn = nn.Sequential(
            ConvUnit(channels, 2 * channels, fused=fused),
            ConvUnit(2 * channels, channels, activation=False, fused=fused),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        change: Tensor = self.ffn(x)
        return x + change


class C2PSA(nn.Module):
    """Half the channels through ``depth`` attention blocks, the other half past them."""

    def __init__(self, channels: int, depth: int, *, fused: bool = True) -> None:
        super().__init__()
        hidden = channels // 2
        self.cv1 = ConvUnit(channels, 2 * hidden, fused=fused)
        self.cv2 = ConvUnit(2 * hidden, channels, fused=fused)
        self.m = nn.Sequential(*(PSABlock(hidden, hidden // 64, fused=fused) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        past, through = torch.chunk(self.cv1(x), 2, dim=1)
        out: Tensor = self.cv2(torch.cat([past, self.m(through)], dim=1))
        return out


class Prototypes(nn.Module):
    """The mask prototypes of the segment head: stride 8 to stride 4 by a 2×2 transposed convolution."""

    def __init__(self, inputs: int, hidden: int, outputs: int, *, fused: bool = True) -> None:
        super().__init__()
        self.cv1 = ConvUnit(inputs, hidden, 3, fused=fused)
        self.upsample = nn.ConvTranspose2d(hidden, hidden, 2, 2)
        self.cv2 = ConvUnit(hidden, hidden, 3, fused=fused)
        self.cv3 = ConvUnit(hidden, outputs, fused=fused)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv3(self.cv2(self.upsample(self.cv1(x))))
        return out


class Expectation(nn.Module):
    """Weights 0 … bins − 1 of the box distributions' expectation, kept for its name in the state dicts.

    The expectation is taken in :func:`kernels.models.predictions.decoding.expected_distances`.
    """

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(bins, 1, 1, bias=False).requires_grad_(False)
        if not self.conv.weight.is_meta:
            self.conv.weight.copy_(torch.arange(bins, dtype=torch.float32).view(1, bins, 1, 1))
