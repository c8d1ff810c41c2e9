"""Architectures that people run on video, small and with random weights, made from torch alone.

What counts is their structure: which calls they make, at which resolutions. Each takes frames of any size that
its own reshapes allow, `SIZES` among them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

# (height, width): one that every stride here divides, and one that hardly any does.
SIZES = ((320, 512), (270, 480))


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
        self.body = nn.Sequential(
            unit(inputs, outputs, 3, stride), unit(outputs, outputs, activation=None)
        )
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
        return x * self.body(self.pool(x))


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
        return x + self.body(x) if self.adds else self.body(x)


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


class Ghost(nn.Module):
    """Half of the channels by a convolution, the rest by cheap ones of these."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = unit(inputs, outputs // 2, 1, stride)
        self.cheap = unit(outputs // 2, outputs // 2, 3, 1, outputs // 2)
        self.squeeze = SqueezeExcitation(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.squeeze(torch.cat([x, self.cheap(x)], 1))


def ghostnet() -> nn.Module:
    return nn.Sequential(unit(3, 16, 3, 2), Ghost(16, 24, 2), Ghost(24, 48, 2), Ghost(48, 96), Ghost(96, 96, 2))


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
            for narrow, wide in zip(widths, widths[1:], strict=False)
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
        return self.last(x)


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


class Attention(nn.Module):
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
        return x + self.body(self.second(x))


class Transformer(nn.Module):
    """Convolutions down to stride 16, attention there, and a head on the map again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(unit(3, 24, 3, 2), unit(24, 48, 3, 2), unit(48, 64, 3, 2), unit(64, 64, 3, 2))
        self.blocks = nn.ModuleList(Attention(64, 4) for _ in range(2))
        self.head = nn.Sequential(unit(64, 64), nn.Conv2d(64, 16, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        count, channels, height, width = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens.transpose(1, 2).reshape(count, channels, height, width))


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
        return x + y.permute(0, 3, 1, 2)


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
        return self.last(found + first)


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


class Atrous(nn.Module):
    """DeepLab's pyramid of dilations, most of them wider than the map, with a pooled branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(unit(3, 24, 3, 2), Residual(24, 32, 2), Residual(32, 64, 2), Residual(64, 96, 2))
        self.branches = nn.ModuleList(
            [unit(96, 48, 1), *(unit(96, 48, 3, dilation=dilation) for dilation in (12, 24, 36))]
        )
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(96, 48, 1), nn.ReLU())
        self.head = nn.Sequential(unit(48 * 5, 64, 1), nn.Conv2d(64, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        size = x.shape[2:]
        pooled = functional.interpolate(self.pooled(x), size=size, mode="bilinear", align_corners=False)
        return self.head(torch.cat([*(branch(x) for branch in self.branches), pooled], 1))


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
            return self.last(torch.cat([one, other, other + self.body(other)], 1))

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
            layer(3, 12, 5), layer(12, 24, 3, 2), layer(24, 48, 3, 2), layer(48, 48, 3), nn.Upsample(scale_factor=2)
        )
        self.last = nn.Sequential(layer(48, 24, 3), nn.Conv2d(24, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x))


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
            first = first + functional.interpolate(layer(lower), size=size, mode="bilinear", align_corners=False)
        return self.last(functional.relu(first))


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
        unit(3, 24, 3, 2), unit(24, 32), nn.MaxPool2d(3, 2, 1), Branches(32, 32), nn.MaxPool2d(3, 2, 1), Branches(96, 48)
    )


def strides_of_three() -> nn.Module:
    """Strides that do not divide a block of 16 pixels: 3, then 6, then 12."""
    return nn.Sequential(unit(3, 32, 3, 3), unit(32, 32), unit(32, 48, 3, 2), unit(48, 48), unit(48, 96, 3, 2), unit(96, 96))


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "residual": resnet,
    "depthwise with squeeze and excitation": mobilenet_excited,
    "efficient (SiLU, squeeze and excitation)": efficientnet,
    "dense": densenet,
    "shuffle": shufflenet,
    "ghost": ghostnet,
    "inception": inception,
    "ConvNeXt": convnext,
    "transformer": Transformer,
    "partial (YOLO)": Parts,
    "feature pyramid": Pyramid,
    "U-Net, padded": lambda: UNet(1),
    "U-Net, upsampled": lambda: UNet(1, upsampled=True),
    "U-Net, not padded": lambda: UNet(0),
    "dilated pyramid (DeepLab)": Atrous,
    "high resolution": HighResolution,
    "autoencoder, few channels": autoencoder,
    "enhancement, few channels": Thin,
    "style transfer": Style,
    "super-resolution": SuperResolution,
    "optical flow": Flow,
    "strides of three": strides_of_three,
}


def frame_channels(name: str) -> int:
    """Channels of the frames that an architecture takes."""
    return 6 if name == "optical flow" else 3


def build(name: str, seed: int = 0) -> nn.Module:
    """An architecture in eval mode, its weights and running statistics drawn with a seed.

    Raises:
        ValueError: unknown.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {sorted(ARCHITECTURES)} (got {name!r})")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ARCHITECTURES[name]()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()
