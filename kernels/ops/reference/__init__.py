"""The oracle: every operation in plain torch, on any device and dtype. Slow, and easy to believe."""

from __future__ import annotations

from kernels.ops.reference.convolve import convolve, pack_convolution
from kernels.ops.reference.gather import gather
from kernels.ops.reference.pointwise import pointwise
from kernels.ops.reference.pool import pool
from kernels.ops.reference.prune import prune
from kernels.ops.reference.remap import remap
from kernels.ops.reference.scatter import scatter
from kernels.ops.reference.upsample import upsample

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
    """None: plain torch runs wherever torch does."""
    return None


def refuses(operation: str, **traits: object) -> str | None:
    """None: the reference does every operation."""
    return None
