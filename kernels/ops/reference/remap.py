"""Remap: a whole cached map moved along the motion vectors."""

from __future__ import annotations

import torch

from kernels.ops.maps import Halo, check_map
from kernels.ops.reference.gather import read


def remap(
    reference: torch.Tensor,
    displacement: torch.Tensor,
    out: torch.Tensor,
    fresh: torch.Tensor | None = None,
) -> None:
    """out[y, x] = reference[y + dy, x + dx], clamped to the map, wherever `fresh` is not 1.

    Args:
        reference: (H, W, C) map.
        displacement: (H, W, 2), (dx, dy) in positions; int16 nearest, float32 bilinear.
        out: (H, W, C) map, written in place; must not overlap `reference`.
        fresh: (H, W) uint8, 1 where `out` keeps what it has; None remaps everything.
    """
    check_map("reference", reference)
    check_map("out", out)
    height, width, _ = reference.shape
    y = torch.arange(height, device=reference.device)[:, None].expand(height, width)
    x = torch.arange(width, device=reference.device)[None, :].expand(height, width)
    nothing = torch.zeros(height, width, dtype=torch.uint8, device=reference.device)
    moved = read(reference, y, x, Halo(reference, nothing, displacement), 0.0)
    if fresh is None:
        out.copy_(moved)
    else:
        stale = fresh == 0
        out[stale] = moved[stale]
