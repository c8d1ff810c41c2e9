"""The networks: YOLO11 detect and segment, a pose model, a token-sparse ViT, small ones of the scenes.

Every model is a plain ``nn.Module`` with a forward pass that returns raw maps, so that a sparse executor
can trace it; decoding is a separate step. The names below load on first use, so that importing the
package does not pull in torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernels.models.network import Network
    from kernels.models.networks.default_network import load_default_network
    from kernels.models.networks.token_cache import TokenCache, TokenExecutor
    from kernels.models.predictions.decoding import Detections, assemble_masks, class_map, decode
    from kernels.models.predictions.letterbox import Letterbox
    from kernels.models.predictions.results import Boxes, Keypoints, Labels, Pose, Segmentation, interpret
    from kernels.models.predictions.tasks import TASKS, agreement
    from kernels.models.registry import MODEL_NAMES, build_model
    from kernels.models.weight_files import load_weights, save_weights

_HOMES = {
    "MODEL_NAMES": "kernels.models.registry",
    "build_model": "kernels.models.registry",
    "load_weights": "kernels.models.weight_files",
    "save_weights": "kernels.models.weight_files",
    "Detections": "kernels.models.predictions.decoding",
    "assemble_masks": "kernels.models.predictions.decoding",
    "decode": "kernels.models.predictions.decoding",
    "Letterbox": "kernels.models.predictions.letterbox",
    "class_map": "kernels.models.predictions.decoding",
    "load_default_network": "kernels.models.networks.default_network",
    "Network": "kernels.models.network",
    "Boxes": "kernels.models.predictions.results",
    "Keypoints": "kernels.models.predictions.results",
    "Labels": "kernels.models.predictions.results",
    "Pose": "kernels.models.predictions.results",
    "Segmentation": "kernels.models.predictions.results",
    "TASKS": "kernels.models.predictions.tasks",
    "agreement": "kernels.models.predictions.tasks",
    "interpret": "kernels.models.predictions.results",
    "TokenCache": "kernels.models.networks.token_cache",
    "TokenExecutor": "kernels.models.networks.token_cache",
}

__all__ = [
    "MODEL_NAMES",
    "TASKS",
    "Boxes",
    "Detections",
    "Keypoints",
    "Labels",
    "Letterbox",
    "Network",
    "Pose",
    "Segmentation",
    "TokenCache",
    "TokenExecutor",
    "agreement",
    "assemble_masks",
    "build_model",
    "class_map",
    "decode",
    "interpret",
    "load_default_network",
    "load_weights",
    "save_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kernels.models' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
