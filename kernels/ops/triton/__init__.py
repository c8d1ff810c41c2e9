"""The fused convolution in Triton, for the tensor cores of Ampere (sm_80) and later, float32 and float16.

The only operation here: `kernels.ops.cuda` has the others. Importing this module needs no Triton.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import torch

from kernels.ops.maps import Halo, PackedConvolution, Window

__all__ = ["convolve", "pack_convolution", "refuses", "unavailable"]

_SLOW_TF32 = ((8, 6), (8, 9), (12, 0), (12, 1))


def unavailable(device: str) -> str | None:
    """Why Triton cannot run here; `TRITON_INTERPRET=1` runs its kernels on the CPU, for tests."""
    if find_spec("triton") is None:
        return "triton is not installed"
    if device == "cpu":
        return None if os.environ.get("TRITON_INTERPRET") == "1" else "runs on cuda tensors only (got cpu)"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    capability = torch.cuda.get_device_capability()
    if capability < (8, 0):
        return f"needs tensor cores of capability 8.0 or later (got {capability[0]}.{capability[1]})"
    return None


def refuses(operation: str, **traits: Any) -> str | None:
    """float32 and float16 only; no depthwise convolution, nor groups of a few channels.

    Full float32 not where the CUDA backend is there and has the faster cores for it.
    """
    if operation != "convolve":
        return f"has no {operation}"
    dtype = traits.get("dtype", torch.float32)
    if dtype not in (torch.float32, torch.float16):
        return f"float32 and float16 only (got {dtype})"
    if dtype == torch.float32 and _is_faster_without_tensor_cores():
        return "three TF32 products take longer here than one float32 product of the ordinary cores"
    groups = traits.get("groups", 1)
    each = min(traits.get("in_channels", 16), traits.get("out_channels", 16)) // groups
    if groups > 1 and each < 16:
        return f"groups of at least 16 channels (got {each}): a product of less is mostly zeros"
    return None


def _is_faster_without_tensor_cores() -> bool:
    """Whether float32 has a faster backend: full float32 takes three TF32 products.

    GeForce and workstation parts multiply TF32 no faster than float32 (NVIDIA's GA102 and AD102 white
    papers); A100, H100 and Orin do, four to eight times.
    """
    if torch.get_float32_matmul_precision() != "highest" or not torch.cuda.is_available():
        return False
    if torch.cuda.get_device_capability() not in _SLOW_TF32:
        return False
    from kernels.ops import cuda

    return cuda.unavailable("cuda") is None


def pack_convolution(
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    window: Window,
    groups: int = 1,
    activation: str = "none",
    slope: float = 0.01,
) -> PackedConvolution:
    """As the reference's."""
    from kernels.ops.triton import fused

    return fused.pack_convolution(weight, bias, window, groups, activation, slope)


def convolve(
    convolution: PackedConvolution,
    source: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    residual: torch.Tensor | None = None,
    halo: Halo | None = None,
) -> None:
    """As the reference's."""
    from kernels.ops.triton import fused

    fused.convolve(convolution, source, tiles, tile, out, residual, halo)
