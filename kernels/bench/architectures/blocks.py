"""Building blocks of the architectures."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def unit(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution, batch norm, activation."""
    padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([] if activation is None else [activation()]))


class Residual(nn.Module):
    """A basic block of a ResNet."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(unit(inputs, outputs, 3, stride), unit(outputs, outputs, activation=None))
        self.short = unit(inputs, outputs, 1, stride, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.short(x))


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, gate: type[nn.Module] = nn.Hardsigmoid) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 1), nn.ReLU(), nn.Conv2d(channels // 4, channels, 1), gate()
        )

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = x * self.body(self.pool(x))
        return made


class InvertedResidual(nn.Module):
    """Expand, depthwise, squeeze and excite, project."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, kernel: int, excites: bool, activation: type[nn.Module]
    ) -> None:
        super().__init__()
        wide = inputs * 4
        self.body = nn.Sequential(
            unit(inputs, wide, 1, activation=activation),
            unit(wide, wide, kernel, stride, wide, activation=activation),
            SqueezeExcitation(wide) if excites else nn.Identity(),
            unit(wide, outputs, 1, activation=None),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = x + self.body(x) if self.adds else self.body(x)
        return made


class Dense(nn.Module):
    """Layers that read all layers before them."""

    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(inputs + i * growth),
                nn.ReLU(),
                nn.Conv2d(inputs + i * growth, 4 * growth, 1, bias=False),
                nn.BatchNorm2d(4 * growth),
                nn.ReLU(),
                nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
            )
            for i in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for layer in self.layers:
            found.append(layer(torch.cat(found, 1)))
        return torch.cat(found, 1)


class Shuffled(nn.Module):
    """ShuffleNet v2's unit: half of the channels pass, and both halves are interleaved."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, half = stride, outputs // 2
        entering = inputs if stride > 1 else half
        self.body = nn.Sequential(
            unit(entering, half, 1), unit(half, half, 3, stride, half, activation=None), unit(half, half, 1)
        )
        if stride > 1:
            self.other = nn.Sequential(
                unit(inputs, inputs, 3, stride, inputs, activation=None), unit(inputs, half, 1)
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = torch.cat([self.other(x), self.body(x)], 1)
        else:
            passed, read = x.chunk(2, 1)
            x = torch.cat([passed, self.body(read)], 1)
        count, channels, height, width = x.shape
        x = x.view(count, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return x.view(count, channels, height, width)


class Ghost(nn.Module):
    """Half of the channels by a convolution, the rest by cheap ones of these."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = unit(inputs, outputs // 2, 1, stride)
        self.cheap = unit(outputs // 2, outputs // 2, 3, 1, outputs // 2)
        self.squeeze = SqueezeExcitation(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        made: Tensor = self.squeeze(torch.cat([x, self.cheap(x)], 1))
        return made


class TokenAttention(nn.Module):
    """A transformer's block on the positions of a map."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.second = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.mix, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.body = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        count, tokens, channels = x.shape
        mixed = self.mix(self.norm(x)).view(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(mixed[0], mixed[1], mixed[2])
        x = x + self.out(found.transpose(1, 2).reshape(count, tokens, channels))
        made: Tensor = x + self.body(self.second(x))
        return made


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide, self.narrow = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.narrow(functional.gelu(self.wide(y)))
        made: Tensor = x + y.permute(0, 3, 1, 2)
        return made
