"""Prune: recomputed positions that differ too little from the moved cache fall back to it."""

from __future__ import annotations

import torch

from kernels.ops.maps import check_map, check_tiles, tile_positions


def prune(
    values: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    epsilon: float,
    changed: torch.Tensor,
) -> None:
    """Keep a recomputed position only where it differs by more than ε from the moved cache.

    Where max over channels |values[p] - out[p]| > ε: out[p] = values[p] and changed[p] = 1; elsewhere `out`
    keeps the cached value, which is what the layers behind it were computed from, so that small changes never
    accumulate unseen. A NaN counts as changed.

    Args:
        values: (H, W, C) map, valid at the tiles.
        tiles: int32 (n, 2).
        tile: (height, width) of a tile.
        out: (H, W, C) map holding the moved cache, updated in place.
        epsilon: threshold in units of the map, ≥ 0.
        changed: (H, W) uint8, set to 1 where a position was kept, otherwise left alone.
    """
    check_map("values", values)
    check_map("out", out)
    check_tiles(tiles, tile)
    y, x, inside = tile_positions(tiles, tile, (out.shape[0], out.shape[1]))
    y, x = y[inside], x[inside]
    fresh, cached = values[y, x], out[y, x]
    keep = ~((fresh - cached).abs() <= epsilon).all(-1)
    out[y[keep], x[keep]] = fresh[keep]
    changed[y[keep], x[keep]] = 1
