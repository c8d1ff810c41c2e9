"""YOLO11, detect and segment, in its five sizes, from the architecture's public description.

The backbone halves the resolution five times; a path up and a path down again mix the maps of strides 8, 16
and 32; a head on each of the three predicts box distributions, class scores and, for ``-seg``, mask
coefficients, and one branch predicts mask prototypes at stride 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kernels.models.networks.layers import C2PSA, SPPF, C3k2, ConvUnit, Expectation, Prototypes

STRIDES_PX = (8, 16, 32)
DISTANCE_BINS = 16
PROTOTYPE_COUNT = 32
CLASS_COUNT = 80


@dataclass(frozen=True, slots=True)
class ModelScale:
    """How a size differs from the base description: repeats × depth, channels × width up to a limit."""

    depth: float
    width: float
    channels_limit: int
    nested: bool  # C3k blocks everywhere; the small sizes have them only in the deep layers

    def channels(self, base: int) -> int:
        """Channels of a layer whose base description says ``base``, a multiple of 8."""
        return -(-int(min(base, self.channels_limit) * self.width) // 8) * 8

    def repeats(self, base: int) -> int:
        return max(1, round(base * self.depth))


SCALES = {
    "n": ModelScale(0.50, 0.25, 1024, False),
    "s": ModelScale(0.50, 0.50, 1024, False),
    "m": ModelScale(0.50, 1.00, 512, True),
    "l": ModelScale(1.00, 1.00, 512, True),
    "x": ModelScale(1.00, 1.50, 512, True),
}


class DetectionHead(nn.Module):
    """Raw maps of the three strides; ``cv2`` boxes, ``cv3`` classes, ``cv4`` mask coefficients."""

    def __init__(
        self, inputs: tuple[int, int, int], classes: int, prototypes: int, hidden: int, *, fused: bool = True
    ) -> None:
        super().__init__()
        box_channels = max(16, inputs[0] // 4, 4 * DISTANCE_BINS)
        class_channels = max(inputs[0], min(classes, 100))
        self.cv2 = nn.ModuleList(_branch(c, box_channels, 4 * DISTANCE_BINS, fused=fused) for c in inputs)
        self.cv3 = nn.ModuleList(
            nn.Sequential(
                _separable(c, class_channels, fused=fused),
                _separable(class_channels, class_channels, fused=fused),
                nn.Conv2d(class_channels, classes, 1),
            )
            for c in inputs
        )
        self.dfl = Expectation(DISTANCE_BINS)
        self.segment = prototypes > 0
        if self.segment:
            coefficient_channels = max(inputs[0] // 4, prototypes)
            self.proto = Prototypes(inputs[0], hidden, prototypes, fused=fused)
            self.cv4 = nn.ModuleList(
                _branch(c, coefficient_channels, prototypes, fused=fused) for c in inputs
            )

    def forward(self, maps: tuple[Tensor, Tensor, Tensor]) -> dict[str, tuple[Tensor, ...]]:
        outputs = {
            "boxes": tuple(branch(x) for branch, x in zip(self.cv2, maps, strict=True)),
            "classes": tuple(branch(x) for branch, x in zip(self.cv3, maps, strict=True)),
        }
        if self.segment:
            outputs["coefficients"] = tuple(branch(x) for branch, x in zip(self.cv4, maps, strict=True))
            outputs["prototypes"] = (self.proto(maps[0]),)
        return outputs


def _branch(inputs: int, hidden: int, outputs: int, *, fused: bool) -> nn.Sequential:
    return nn.Sequential(
        ConvUnit(inputs, hidden, 3, fused=fused),
        ConvUnit(hidden, hidden, 3, fused=fused),
        nn.Conv2d(hidden, outputs, 1),
    )


def _separable(inputs: int, outputs: int, *, fused: bool) -> nn.Sequential:
    return nn.Sequential(
        ConvUnit(inputs, inputs, 3, groups=inputs, fused=fused), ConvUnit(inputs, outputs, fused=fused)
    )


class YOLO11(nn.Module):
    """One YOLO11 network.

    ``forward(frame)`` with frame (B, 3, H, W), RGB in [0, 1], H and W multiples of 32, returns a dict of
    tuples of raw maps (no sigmoid, no softmax), level i at stride 8·2^i:

    - ``boxes``: three maps (B, 64, H/s, W/s): for left, top, right, bottom in turn, the 16 logits of the
      distance in units of the stride;
    - ``classes``: three maps (B, classes, H/s, W/s) of logits;
    - ``coefficients`` (segment only): three maps (B, 32, H/s, W/s);
    - ``prototypes`` (segment only): one map (B, 32, H/4, W/4).

    The graph is static: ``torch.fx.symbolic_trace`` accepts it.
    """

    def __init__(
        self, scale: ModelScale, *, segment: bool, classes: int = CLASS_COUNT, fused: bool = True
    ) -> None:
        super().__init__()
        self.classes = classes
        self.strides_px = STRIDES_PX
        c, n = scale.channels, scale.repeats(2)

        def stage(inputs: int, outputs: int, nested: bool = False, expansion: float = 0.5) -> C3k2:
            return C3k2(inputs, outputs, n, nested=nested or scale.nested, expansion=expansion, fused=fused)

        def halve(inputs: int, outputs: int) -> ConvUnit:
            return ConvUnit(inputs, outputs, 3, 2, fused=fused)

        self.model = nn.ModuleList(
            [
                halve(3, c(64)),
                halve(c(64), c(128)),
                stage(c(128), c(256), expansion=0.25),
                halve(c(256), c(256)),
                stage(c(256), c(512), expansion=0.25),
                halve(c(512), c(512)),
                stage(c(512), c(512), nested=True),
                halve(c(512), c(1024)),
                stage(c(1024), c(1024), nested=True),
                SPPF(c(1024), c(1024), fused=fused),
                C2PSA(c(1024), n, fused=fused),
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Identity(),  # 12: concatenation with layer 6
                stage(c(1024) + c(512), c(512)),
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Identity(),  # 15: concatenation with layer 4
                stage(c(512) + c(512), c(256)),
                halve(c(256), c(256)),
                nn.Identity(),  # 18: concatenation with layer 13
                stage(c(256) + c(512), c(512)),
                halve(c(512), c(512)),
                nn.Identity(),  # 21: concatenation with layer 10
                stage(c(512) + c(1024), c(1024), nested=True),
                DetectionHead(
                    (c(256), c(512), c(1024)),
                    classes,
                    PROTOTYPE_COUNT if segment else 0,
                    c(256),
                    fused=fused,
                ),
            ]
        )

    def forward(self, frame: Tensor) -> dict[str, tuple[Tensor, ...]]:
        layer = self.model
        stride8 = layer[4](layer[3](layer[2](layer[1](layer[0](frame)))))
        stride16 = layer[6](layer[5](stride8))
        stride32 = layer[10](layer[9](layer[8](layer[7](stride16))))
        up16 = layer[13](torch.cat([layer[11](stride32), stride16], dim=1))
        out8 = layer[16](torch.cat([layer[14](up16), stride8], dim=1))
        out16 = layer[19](torch.cat([layer[17](out8), up16], dim=1))
        out32 = layer[22](torch.cat([layer[20](out16), stride32], dim=1))
        outputs: dict[str, tuple[Tensor, ...]] = layer[23]((out8, out16, out32))
        return outputs
