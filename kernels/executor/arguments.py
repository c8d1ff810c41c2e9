"""What `SparseExecutor` was given is what it takes; errors name the argument."""

from __future__ import annotations

import operator
from typing import SupportsIndex, cast

import torch

_WHOLE = (torch.int8, torch.int16, torch.int32, torch.int64)
_LONGEST_PX = 16383


def whole_pixels(name: str, value: object, least: int) -> int:
    """`value` as an integer of at least `least`. Raises ValueError otherwise."""
    try:
        made = -1 if isinstance(value, bool) else operator.index(cast(SupportsIndex, value))
    except TypeError:
        made = -1
    if made < least:
        raise ValueError(f"{name} must be a whole number of pixels, at least {least} (got {value!r})")
    return made


def check_frame(frame: torch.Tensor, device: torch.device, most: int | None = None) -> None:
    """Raise unless `frame` is float32 (N, C, H, W) on the device, N at most `most`.

    Raises:
        TypeError: another kind or dtype.
        ValueError: another shape or device.
    """
    if not isinstance(frame, torch.Tensor) or frame.dtype != torch.float32:
        kind = frame.dtype if isinstance(frame, torch.Tensor) else type(frame).__name__
        raise TypeError(f"frame must be a float32 tensor (got {kind})")
    if frame.dim() != 4 or 0 in frame.shape or (most is not None and len(frame) > most):
        count = "N" if most is None else most
        raise ValueError(f"frame must have shape ({count}, C, H, W) (got {tuple(frame.shape)})")
    if frame.device != device:
        raise ValueError(f"frame must be on the model's device {device} (got {frame.device})")


def check_blocks(
    frame: torch.Tensor, active: torch.Tensor, vectors: torch.Tensor, block_px: int, several: bool
) -> None:
    """Raise unless active blocks and vectors fit the frame; `several` have an axis of frames.

    Raises:
        TypeError: another kind or dtype.
        ValueError: another shape, or vectors that are too long.
    """
    expected = tuple(-(-size // block_px) for size in frame.shape[2:])
    expected = (len(frame), *expected) if several else expected
    check_mask("active", active, expected)
    if not isinstance(vectors, torch.Tensor) or vectors.dtype not in _WHOLE:
        kind = vectors.dtype if isinstance(vectors, torch.Tensor) else type(vectors).__name__
        raise TypeError(f"vectors must be a tensor of signed integers (got {kind})")
    if tuple(vectors.shape) != (*expected, 2):
        raise ValueError(f"vectors must have shape {(*expected, 2)} (got {tuple(vectors.shape)})")
    # Not abs(): the most negative integer has none.
    longest = max(int(vectors.max()), -int(vectors.min()))
    if longest > _LONGEST_PX:
        raise ValueError(f"vectors must be at most {_LONGEST_PX} px long (got {longest})")


def check_mask(name: str, mask: torch.Tensor, shape: tuple[int, ...]) -> None:
    """Raise unless `mask` is a bool tensor of this shape.

    Raises:
        TypeError: another kind or dtype.
        ValueError: another shape.
    """
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise TypeError(f"{name} must be a bool tensor (got {kind})")
    if tuple(mask.shape) != shape:
        raise ValueError(f"{name} must have shape {shape} (got {tuple(mask.shape)})")
