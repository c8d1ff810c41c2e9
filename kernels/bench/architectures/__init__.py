"""Architectures that people run on video, small and with random weights, made from torch alone.

What counts is their structure: which calls they make, at which resolutions. Each takes frames of any size
that its own reshapes allow, `SIZES` among them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from kernels.bench.architectures import prediction, recognition

# (height, width): one that every stride here divides, but for that of three, and one that hardly any does.
SIZES = ((480, 640), (450, 602))

ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "residual": recognition.resnet,
    "depthwise with squeeze and excitation": recognition.mobilenet_excited,
    "efficient (SiLU, squeeze and excitation)": recognition.efficientnet,
    "dense": recognition.densenet,
    "shuffle": recognition.shufflenet,
    "ghost": recognition.ghostnet,
    "inception": recognition.inception,
    "ConvNeXt": recognition.convnext,
    "transformer": recognition.Transformer,
    "strides of three": recognition.strides_of_three,
    "partial (YOLO)": prediction.Parts,
    "feature pyramid": prediction.Pyramid,
    "U-Net, padded": lambda: prediction.UNet(1),
    "U-Net, upsampled": lambda: prediction.UNet(1, upsampled=True),
    "U-Net, not padded": lambda: prediction.UNet(0),
    "dilated pyramid (DeepLab)": prediction.Atrous,
    "high resolution": prediction.HighResolution,
    "autoencoder, few channels": prediction.autoencoder,
    "enhancement, few channels": prediction.Thin,
    "style transfer": prediction.Style,
    "super-resolution": prediction.SuperResolution,
    "optical flow": prediction.Flow,
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
