"""Motion search on other backends than the processor: arrays in, arrays out, the same results.

Callers that keep their frames on a GPU use the backend's own `prepare` and `search_motion` on tensors
(`kernels.ops.cuda`), which copy nothing.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kernels.ops import registry
from kernels.search import MotionField
from kernels.search_image import SearchImage

BACKENDS = ("cpu", "cuda")


def search_on(backend: str, frame: Any, reference: Any, *options: Any) -> MotionField:
    """`search_motion` on `backend`; `options` are its block_px, radius_px and predicted.

    Raises:
        ValueError: no such backend, or it cannot run here, with the reason.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)} (got {backend!r})")
    reason = registry.unavailable(backend, backend)
    if reason is not None:
        raise ValueError(f"backend {backend!r} cannot search here: {reason}")
    from kernels.ops import cuda

    return search_through(cuda, torch.device("cuda"), frame, reference, *options)


def search_through(
    operations: ModuleType,
    device: torch.device,
    frame: NDArray[np.uint8] | SearchImage,
    reference: NDArray[np.uint8] | SearchImage,
    block_px: int,
    radius_px: int,
    predicted: NDArray[np.int16] | None,
) -> MotionField:
    """Copy to `device`, search with `operations.search_motion`, copy back."""
    images = [
        torch.from_numpy(np.ascontiguousarray(image.pixels if isinstance(image, SearchImage) else image))
        for image in (frame, reference)
    ]
    centres = None
    if predicted is not None:
        centres = torch.from_numpy(np.ascontiguousarray(predicted, dtype=np.int16)).to(device)
    vectors, difference = operations.search_motion(
        *(image.to(device) for image in images), block_px, radius_px, centres
    )
    return MotionField(vectors.cpu().numpy(), difference.cpu().numpy())
