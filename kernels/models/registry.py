"""Models by name."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

YOLO11_NAMES = tuple(f"yolo11{size}{task}" for task in ("", "-seg") for size in "nsmlx")
MODEL_NAMES = (*YOLO11_NAMES, "default", "default-tokens", "default-keypoints", "pose", "vit")


def check_name(name: str, argument: str = "name") -> None:
    """Raise ValueError, with the nearest names, unless `name` is one of :data:`MODEL_NAMES`."""
    if name not in MODEL_NAMES:
        near = get_close_matches(str(name), MODEL_NAMES, 3) or MODEL_NAMES
        raise ValueError(f"{argument} must be a known model, such as {', '.join(near)} (got {name!r})")


def build_model(name: str, *, fused: bool = True, classes: int = 80) -> nn.Module:
    """A model in evaluation mode with freshly initialised weights.

    Args:
        name: one of :data:`MODEL_NAMES`.
        fused: biases in place of batch norm; ``False`` is for training and for checking the folding.
        classes: object classes of a YOLO11 head.

    Raises:
        ValueError: for an unknown name; the message has the nearest ones.
    """
    check_name(name)
    if name == "default":
        from kernels.models.networks.default_network import DefaultNetwork

        return DefaultNetwork(fused=fused).eval()
    if name == "default-tokens":
        from kernels.models.networks.token_network import TokenNetwork

        return TokenNetwork().eval()
    if name == "default-keypoints":
        from kernels.models.networks.keypoint_network import KeypointNetwork

        return KeypointNetwork(fused=fused).eval()
    if name in ("pose", "vit"):
        from kernels.models.networks.transformer import PoseNetwork, VisionTransformer

        return (PoseNetwork if name == "pose" else VisionTransformer)().eval()
    from kernels.models.networks.yolo11 import SCALES, YOLO11

    return YOLO11(SCALES[name[6]], segment=name.endswith("-seg"), classes=classes, fused=fused).eval()
