"""Networks whose maps only get smaller: backbones of classifiers, with a head on the last map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kernels.bench.architectures.blocks import (
    ConvNeXtBlock,
    Dense,
    Ghost,
    InvertedResidual,
    Residual,
    Shuffled,
    TokenAttention,
    unit,
)


def resnet() -> nn.Module:
    return nn.Sequential(
        unit(3, 32, 7, 2),
        nn.MaxPool2d(3, 2, 1),
        Residual(32, 32),
        Residual(32, 64, 2),
        Residual(64, 128, 2),
        Residual(128, 128),
        nn.Conv2d(128, 16, 1),
    )


def mobilenet_excited() -> nn.Module:
    swish = nn.Hardswish
    return nn.Sequential(
        unit(3, 16, 3, 2, activation=swish),
        InvertedResidual(16, 16, 2, 3, True, nn.ReLU),
        InvertedResidual(16, 24, 2, 3, False, nn.ReLU),
        InvertedResidual(24, 24, 1, 3, False, nn.ReLU),
        InvertedResidual(24, 40, 2, 5, True, swish),
        InvertedResidual(40, 40, 1, 5, True, swish),
        InvertedResidual(40, 96, 2, 5, True, swish),
        unit(96, 192, 1, activation=swish),
        nn.Conv2d(192, 16, 1),
    )


def efficientnet() -> nn.Module:
    return nn.Sequential(
        unit(3, 24, 3, 2, activation=nn.SiLU),
        InvertedResidual(24, 24, 1, 3, True, nn.SiLU),
        InvertedResidual(24, 32, 2, 3, True, nn.SiLU),
        InvertedResidual(32, 48, 2, 5, True, nn.SiLU),
        InvertedResidual(48, 48, 1, 5, True, nn.SiLU),
        InvertedResidual(48, 96, 2, 3, True, nn.SiLU),
        nn.Conv2d(96, 16, 1),
    )


def densenet() -> nn.Module:
    return nn.Sequential(
        unit(3, 32, 7, 2),
        nn.MaxPool2d(3, 2, 1),
        Dense(32, 16, 4),
        unit(96, 48, 1),
        nn.AvgPool2d(2),
        Dense(48, 16, 4),
        nn.Conv2d(112, 16, 1),
    )


def shufflenet() -> nn.Module:
    return nn.Sequential(
        unit(3, 24, 3, 2),
        nn.MaxPool2d(3, 2, 1),
        Shuffled(24, 64, 2),
        Shuffled(64, 64, 1),
        Shuffled(64, 128, 2),
        Shuffled(128, 128, 1),
        Shuffled(128, 128, 1),
        nn.Conv2d(128, 16, 1),
    )


def ghostnet() -> nn.Module:
    return nn.Sequential(
        unit(3, 16, 3, 2), Ghost(16, 24, 2), Ghost(24, 48, 2), Ghost(48, 96), Ghost(96, 96, 2)
    )


def inception() -> nn.Module:
    class Branches(nn.Module):
        def __init__(self, inputs: int, width: int) -> None:
            super().__init__()
            self.one = unit(inputs, width, 1)
            self.two = nn.Sequential(
                unit(inputs, width, 1),
                nn.Conv2d(width, width, (1, 7), padding=(0, 3)),
                nn.Conv2d(width, width, (7, 1), padding=(3, 0)),
                nn.ReLU(),
            )
            self.three = nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), unit(inputs, width, 1))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.one(x), self.two(x), self.three(x)], 1)

    return nn.Sequential(
        unit(3, 24, 3, 2),
        unit(24, 32),
        nn.MaxPool2d(3, 2, 1),
        Branches(32, 32),
        nn.MaxPool2d(3, 2, 1),
        Branches(96, 48),
    )


def convnext() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 4, 4),
        ConvNeXtBlock(32),
        ConvNeXtBlock(32),
        nn.Conv2d(32, 64, 2, 2),
        ConvNeXtBlock(64),
        nn.Conv2d(64, 128, 2, 2),
        ConvNeXtBlock(128),
    )


class Transformer(nn.Module):
    """Convolutions down to stride 16, attention there, and a head on the map again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            unit(3, 24, 3, 2), unit(24, 48, 3, 2), unit(48, 64, 3, 2), unit(64, 64, 3, 2)
        )
        self.blocks = nn.ModuleList(TokenAttention(64, 4) for _ in range(2))
        self.head = nn.Sequential(unit(64, 64), nn.Conv2d(64, 16, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        count, channels, height, width = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        made: Tensor = self.head(tokens.transpose(1, 2).reshape(count, channels, height, width))
        return made


def strides_of_three() -> nn.Module:
    """Strides that do not divide a block of 16 pixels: 3, then 6, then 12."""
    return nn.Sequential(
        unit(3, 32, 3, 3), unit(32, 32), unit(32, 48, 3, 2), unit(48, 48), unit(48, 96, 3, 2), unit(96, 96)
    )
