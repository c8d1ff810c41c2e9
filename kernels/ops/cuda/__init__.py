"""The operations on NVIDIA GPUs, float32 and float16: contracts in `kernels.ops.reference`.

sm_70 and later (Jetson Xavier is sm_72); float16 convolutions use the tensor cores. A convolution is one
kernel: gather along the halo, product, bias, activation, residual and write (`convolve.cuh`).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from kernels.ops.cuda.build import architecture, cuda_library
from kernels.ops.cuda.operations import MAX_TAPS, CudaOperations
from kernels.ops.cuda.search import DeviceSearchImage, MotionSearcher
from kernels.ops.libraries import BuildError

__all__ = [
    "DeviceSearchImage",
    "convolve",
    "gather",
    "pack_convolution",
    "pointwise",
    "pool",
    "prepare",
    "prune",
    "refuses",
    "remap",
    "scatter",
    "search_motion",
    "unavailable",
    "upsample",
]

_operations = CudaOperations("cuda", lambda index: cuda_library(architecture(index)))
_searcher = MotionSearcher(_operations)

convolve = _operations.convolve
gather = _operations.gather
pack_convolution = _operations.pack_convolution
pointwise = _operations.pointwise
pool = _operations.pool
prune = _operations.prune
remap = _operations.remap
scatter = _operations.scatter
upsample = _operations.upsample
prepare = _searcher.prepare
search_motion = _searcher.search_motion


def unavailable(device: str) -> str | None:
    """Why the CUDA operations cannot run here: no GPU or an old one, no compiler, a failed build."""
    if device != "cuda":
        return f"runs on cuda tensors only (got {device})"
    if not torch.cuda.is_available():
        built = torch.version.cuda
        return "torch sees no CUDA device" if built else "this torch was built without CUDA"
    index = torch.cuda.current_device()
    if torch.cuda.get_device_capability(index) < (7, 0):
        return f"needs capability 7.0 (sm_70) or later (got {architecture(index)})"
    return _failure(architecture(index))


@cache
def _failure(target: str) -> str | None:
    """Why there is no library for an architecture; a build that failed is not tried again in this process."""
    try:
        cuda_library(target)
    except BuildError as error:
        return str(error)
    return None


def refuses(operation: str, **traits: Any) -> str | None:
    """float32 and float16 only; convolutions of at most 64 taps, unless depthwise."""
    dtype = traits.get("dtype", torch.float32)
    if dtype not in (torch.float32, torch.float16):
        return f"float32 and float16 only (got {dtype})"
    if operation == "convolve":
        height, width = traits.get("kernel", (1, 1))
        depthwise = traits.get("groups", 1) == traits.get("in_channels") == traits.get("out_channels")
        if height * width > MAX_TAPS and not depthwise:
            return f"convolutions of at most {MAX_TAPS} taps (got {height * width})"
    return None
