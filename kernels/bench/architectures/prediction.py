"""Networks that predict something for every place: detectors, segmentation, images from images, flow."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.bench.architectures.blocks import (
    Residual,
    unit,
)


class Parts(nn.Module):
    """A detector as YOLO builds them: split, bottlenecks, concatenation, pooling, upsampling."""

    class _Partial(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.first = unit(inputs, outputs, 1, activation=nn.SiLU)
            self.body = nn.Sequential(
                unit(outputs // 2, outputs // 4, activation=nn.SiLU),
                unit(outputs // 4, outputs // 2, activation=nn.SiLU),
            )
            self.last = unit(outputs * 3 // 2, outputs, 1, activation=nn.SiLU)

        def forward(self, x: Tensor) -> Tensor:
            one, other = self.first(x).chunk(2, 1)
            made: Tensor = self.last(torch.cat([one, other, other + self.body(other)], 1))
            return made

    def __init__(self) -> None:
        super().__init__()
        silu = nn.SiLU
        self.stem = nn.Sequential(
            unit(3, 16, 3, 2, activation=silu), unit(16, 32, 3, 2, activation=silu), self._Partial(32, 32)
        )
        self.third = nn.Sequential(unit(32, 64, 3, 2, activation=silu), self._Partial(64, 64))
        self.fourth = nn.Sequential(unit(64, 96, 3, 2, activation=silu), self._Partial(96, 96))
        self.pooled = unit(96 * 2, 96, 1, activation=silu)
        self.up = self._Partial(160, 64)
        self.heads = nn.ModuleList([nn.Conv2d(64, 16, 1), nn.Conv2d(96, 16, 1)])

    def forward(self, x: Tensor) -> list[Tensor]:
        third = self.third(self.stem(x))
        fourth = self.fourth(third)
        fourth = self.pooled(torch.cat([fourth, functional.max_pool2d(fourth, 5, 1, 2)], 1))
        larger = functional.interpolate(fourth, size=third.shape[2:])
        third = self.up(torch.cat([third, larger], 1))
        return [head(x) for head, x in zip(self.heads, (third, fourth), strict=True)]


class Pyramid(nn.Module):
    """A ResNet with a feature pyramid and a head of its own at each level."""

    def __init__(self) -> None:
        super().__init__()
        widths = (32, 64, 128)
        self.stem = nn.Sequential(unit(3, 24, 3, 2), unit(24, 32, 3, 2))
        self.stages = nn.ModuleList(
            Residual(inputs, outputs, 2) for inputs, outputs in zip((32, *widths), widths, strict=False)
        )
        self.side = nn.ModuleList(nn.Conv2d(width, 48, 1) for width in widths)
        self.smooth = nn.ModuleList(unit(48, 48) for _ in widths)
        self.head = nn.Conv2d(48, 6, 3, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        found = []
        for stage, side in zip(self.stages, self.side, strict=True):
            x = stage(x)
            found.append(side(x))
        outputs = []
        above: Tensor | None = None
        for here, smooth in zip(reversed(found), self.smooth, strict=True):
            if above is not None:
                here = here + functional.interpolate(above, size=here.shape[2:])
            above = here
            outputs.append(self.head(smooth(here)))
        return outputs


class UNet(nn.Module):
    """Down and up again, with skips that are cropped where nothing was padded."""

    def __init__(self, padding: int, width: int = 16, upsampled: bool = False) -> None:
        super().__init__()
        self.padding = padding
        widths = [width, width * 2, width * 4]
        self.down = nn.ModuleList(
            self._pair(inputs, outputs) for inputs, outputs in zip([3, *widths], widths, strict=False)
        )
        self.raise_ = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(wide, narrow, 1))
            if upsampled
            else nn.ConvTranspose2d(wide, narrow, 2, 2)
            for narrow, wide in pairwise(widths)
        )
        self.up = nn.ModuleList(self._pair(2 * narrow, narrow) for narrow in widths[:-1])
        self.last = nn.Conv2d(width, 2, 1)

    def _pair(self, inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=self.padding),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=self.padding),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for step, layer in enumerate(self.down):
            x = layer(x if step == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        for step in reversed(range(len(self.up))):
            x, skip = self.raise_[step](x), skips[step]
            if self.padding:
                x = functional.pad(x, (0, skip.shape[3] - x.shape[3], 0, skip.shape[2] - x.shape[2]))
            else:
                top, left = (skip.shape[2] - x.shape[2]) // 2, (skip.shape[3] - x.shape[3]) // 2
                skip = skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]
            x = self.up[step](torch.cat([skip, x], 1))
        made: Tensor = self.last(x)
        return made


class Atrous(nn.Module):
    """DeepLab's pyramid of dilations, most of them wider than the map, with a pooled branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            unit(3, 24, 3, 2), Residual(24, 32, 2), Residual(32, 64, 2), Residual(64, 96, 2)
        )
        self.branches = nn.ModuleList(
            [unit(96, 48, 1), *(unit(96, 48, 3, dilation=dilation) for dilation in (12, 24, 36))]
        )
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(96, 48, 1), nn.ReLU())
        self.head = nn.Sequential(unit(48 * 5, 64, 1), nn.Conv2d(64, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        size = x.shape[2:]
        pooled = functional.interpolate(self.pooled(x), size=size, mode="bilinear", align_corners=False)
        made: Tensor = self.head(torch.cat([*(branch(x) for branch in self.branches), pooled], 1))
        return made


class HighResolution(nn.Module):
    """HRNet's exchange between branches of three resolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(unit(3, 24, 3, 2), unit(24, 24, 3, 2))
        self.second, self.third = unit(24, 48, 3, 2), unit(48, 96, 3, 2)
        self.bodies = nn.ModuleList(Residual(width, width) for width in (24, 48, 96))
        self.to_first = nn.ModuleList([unit(48, 24, 1, activation=None), unit(96, 24, 1, activation=None)])
        self.last = nn.Conv2d(24, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.stem(x)
        second = self.second(first)
        third = self.third(second)
        first, second, third = (body(x) for body, x in zip(self.bodies, (first, second, third), strict=True))
        size = first.shape[2:]
        for layer, lower in zip(self.to_first, (second, third), strict=True):
            first = first + functional.interpolate(
                layer(lower), size=size, mode="bilinear", align_corners=False
            )
        made: Tensor = self.last(functional.relu(first))
        return made


def autoencoder() -> nn.Module:
    """Few channels at large maps, made larger by transposed convolutions that do not overlap."""
    return nn.Sequential(
        unit(3, 8, 4, 2),
        unit(8, 16, 3, 2),
        unit(16, 32, 3, 2),
        nn.ConvTranspose2d(32, 16, 2, 2),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 2, 2),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 3, 2, 2),
        nn.Sigmoid(),
    )


class Thin(nn.Module):
    """Light enhancement: depthwise convolutions of few channels at the frame's own resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for inputs, outputs in ((3, 4), (4, 8), (8, 12)):
            self.layers.append(unit(inputs, outputs, 1))
            self.layers.append(unit(outputs, outputs, 3, 1, outputs))
        self.last = nn.Conv2d(12, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = x
        for layer in self.layers:
            found = layer(found)
        return x + torch.tanh(self.last(found)) * (x - x * x)


class Style(nn.Module):
    """Style transfer: mirrored padding, instance norm, upsampling."""

    def __init__(self) -> None:
        super().__init__()

        def layer(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(
                nn.ReflectionPad2d(kernel // 2),
                nn.Conv2d(inputs, outputs, kernel, stride),
                nn.InstanceNorm2d(outputs, affine=True),
                nn.ReLU(),
            )

        self.body = nn.Sequential(
            layer(3, 12, 5),
            layer(12, 24, 3, 2),
            layer(24, 48, 3, 2),
            layer(48, 48, 3),
            nn.Upsample(scale_factor=2),
        )
        self.last = nn.Sequential(layer(48, 24, 3), nn.Conv2d(24, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.last(self.body(x))
        return made


class SuperResolution(nn.Module):
    """Residual blocks at the frame's own resolution, and twice of it at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
            for _ in range(3)
        )
        self.last = nn.Sequential(nn.Conv2d(16, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        found = first = self.first(x)
        for body in self.body:
            found = found + body(found)
        made: Tensor = self.last(found + first)
        return made


class Flow(nn.Module):
    """Optical flow from two frames, six channels: one encoder, a cost volume, estimates refined upwards."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(unit(3, 16, 3, 2), unit(16, 32, 3, 2), unit(32, 48, 3, 2))
        self.estimate = nn.Sequential(unit(48 + 25, 64), unit(64, 32), nn.Conv2d(32, 2, 3, padding=1))
        self.refine = nn.Sequential(unit(50, 32), nn.Conv2d(32, 2, 3, padding=1))

    def forward(self, frames: Tensor) -> Tensor:
        one, other = self.encoder(frames[:, :3]), self.encoder(frames[:, 3:])
        height, width = one.shape[2:]
        padded = functional.pad(other, (2, 2, 2, 2))
        costs = [
            (one * padded[:, :, dy : dy + height, dx : dx + width]).mean(1, keepdim=True)
            for dy in range(5)
            for dx in range(5)
        ]
        flow = self.estimate(torch.cat([one, *costs], 1))
        flow = flow + self.refine(torch.cat([one, flow], 1))
        return functional.interpolate(flow, scale_factor=2, mode="bilinear") * 2
