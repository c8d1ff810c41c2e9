"""Motion search on a GPU: arrays in, arrays out, the same vectors as on the processor.

Callers that keep their frames on a GPU search tensors with `kernels.ops.cuda` itself, which copies nothing.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from kernels.motion.field import MotionField
from kernels.motion.image_pyramid import ImagePyramid
from kernels.ops import registry


def search_device(backend: str | None) -> str:
    """The device that searches, "cpu" or "cuda", by the rules of `kernels.ops.registry`.

    FLUXSHARD_BACKEND overrides the argument. The backend must exist and run here; where it has no search of
    its own, the one that its device prefers runs. The processor's needs no compiler.

    Raises:
        ValueError: no such backend, or it cannot run here, with the reason.
    """
    asked, origin = registry.requested(backend)
    if asked is None or asked == "cpu":
        return "cpu"
    reason = registry.unavailable(asked, "cpu")
    if reason is None:
        return "cpu"
    if asked in registry.BACKENDS:
        reason = registry.unavailable(asked, "cuda")
        if reason is None:
            reason = registry.unavailable("cuda", "cuda")
    if reason is not None:
        raise ValueError(f"{origin}={asked!r} cannot search here: {reason}")
    return "cuda"


def search_on_gpu(
    frame: NDArray[np.uint8] | ImagePyramid,
    reference: NDArray[np.uint8] | ImagePyramid,
    block_px: int,
    radius_px: int,
    predicted: NDArray[np.int16] | None,
) -> MotionField:
    """`search_motion` on the current GPU."""
    from kernels.ops import cuda

    return search_through(cuda, torch.device("cuda"), frame, reference, block_px, radius_px, predicted)


def search_through(
    operations: ModuleType,
    device: torch.device,
    frame: NDArray[np.uint8] | ImagePyramid,
    reference: NDArray[np.uint8] | ImagePyramid,
    block_px: int,
    radius_px: int,
    predicted: NDArray[np.int16] | None,
) -> MotionField:
    """Copy to `device`, search with `operations.search_motion`, copy back."""
    images = [
        torch.from_numpy(np.ascontiguousarray(image.pixels if isinstance(image, ImagePyramid) else image))
        for image in (frame, reference)
    ]
    centres = None
    if predicted is not None:
        centres = torch.from_numpy(np.ascontiguousarray(predicted, dtype=np.int16)).to(device)
    vectors, difference = operations.search_motion(
        *(image.to(device) for image in images), block_px, radius_px, centres
    )
    return MotionField(vectors.cpu().numpy(), difference.cpu().numpy())
