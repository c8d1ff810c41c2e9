"""The networks: YOLO11 detect and segment, a keypoint model, a token-sparse ViT, the default network.

Every model is a plain ``nn.Module`` with a forward pass that returns raw maps, so that a sparse executor
can trace it; decoding is a separate step. The names below load on first use, so that importing the
package does not pull in torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernels.models.networks.default_network import class_map, load_default_network
    from kernels.models.networks.token_cache import TokenCache, TokenExecutor
    from kernels.models.outputs.decoding import Detections, assemble_masks, decode
    from kernels.models.outputs.letterbox import Letterbox
    from kernels.models.outputs.results import agreement, interpret
    from kernels.models.registry import MODEL_NAMES, build_model
    from kernels.models.weight_files import load_weights, save_weights

_HOMES = {
    "MODEL_NAMES": "kernels.models.registry",
    "build_model": "kernels.models.registry",
    "load_weights": "kernels.models.weight_files",
    "save_weights": "kernels.models.weight_files",
    "Detections": "kernels.models.outputs.decoding",
    "assemble_masks": "kernels.models.outputs.decoding",
    "decode": "kernels.models.outputs.decoding",
    "Letterbox": "kernels.models.outputs.letterbox",
    "class_map": "kernels.models.networks.default_network",
    "load_default_network": "kernels.models.networks.default_network",
    "agreement": "kernels.models.outputs.results",
    "interpret": "kernels.models.outputs.results",
    "TokenCache": "kernels.models.networks.token_cache",
    "TokenExecutor": "kernels.models.networks.token_cache",
}

__all__ = [
    "MODEL_NAMES",
    "Detections",
    "Letterbox",
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
