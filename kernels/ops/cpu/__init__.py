"""The operations in C++ for the CPU, float32, one thread: contracts in `kernels.ops.reference`.

The convolution gathers nothing: it reads each tap through a pointer (`convolve.cpp`). A value does not depend
on which positions are computed together, so sparse and dense runs agree to the last bit.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from kernels.ops.cpu.loader import BuildError, library
from kernels.ops.cpu.operations import (
    convolve,
    gather,
    pack_convolution,
    pointwise,
    pool,
    prune,
    remap,
    scatter,
    upsample,
)

__all__ = [
    "convolve",
    "gather",
    "pack_convolution",
    "pointwise",
    "pool",
    "prune",
    "refuses",
    "remap",
    "scatter",
    "unavailable",
    "upsample",
]


def unavailable(device: str) -> str | None:
    """Why the C++ operations cannot run here: another device, no compiler, or a failed build."""
    if device != "cpu":
        return f"runs on cpu tensors only (got {device})"
    return _failure()


@cache
def _failure() -> str | None:
    """Why there is no library; a build that failed is not tried again in this process."""
    try:
        library()
    except BuildError as error:
        return str(error)
    return None


def refuses(operation: str, **traits: Any) -> str | None:
    """float32 only; halos along whole positions only, except in remap; pools of at most 1024 taps."""
    dtype = traits.get("dtype", torch.float32)
    if dtype != torch.float32:
        return f"float32 only (got {dtype})"
    if traits.get("bilinear") and operation in ("gather", "convolve", "pool", "upsample"):
        return "no bilinear halo: remap the map first"
    kernel = traits.get("kernel", (1, 1))
    if operation == "pool" and kernel[0] * kernel[1] > 1024:
        return f"pools of at most 1024 taps (got {kernel})"
    return None
