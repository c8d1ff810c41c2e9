"""Scatter: tiles written in place into a map."""

from __future__ import annotations

import torch

from kernels.ops.maps import check_map, check_tiles, tile_positions


def scatter(values: torch.Tensor, tiles: torch.Tensor, out: torch.Tensor) -> None:
    """Write tiles into `out`, in place; the rest of `out` is not touched.

    Args:
        values: (n, height, width, C) contiguous, one tile after another.
        tiles: int32 (n, 2), where each tile's first position goes.
        out: (H, W, C) map.
    """
    check_map("out", out)
    tile = (values.shape[1], values.shape[2])
    check_tiles(tiles, tile)
    y, x, inside = tile_positions(tiles, tile, (out.shape[0], out.shape[1]))
    out[y[inside], x[inside]] = values.reshape(*y.shape, values.shape[-1])[inside]
