"""What runs on pixels and tensors: motion search, codecs, the sparse executor and its operations, models.

The names below load on first use, so that importing the package pulls in neither numba nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from conf.search_path import keep_numba_cache

if TYPE_CHECKING:
    from kernels.executor import SparseExecutor
    from kernels.motion.field import MotionField
    from kernels.motion.search import search_motion

keep_numba_cache()

_HOMES = {
    "search_motion": "kernels.motion.search",
    "MotionField": "kernels.motion.field",
    "SparseExecutor": "kernels.executor",
}

__all__ = ["MotionField", "SparseExecutor", "search_motion"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kernels' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
