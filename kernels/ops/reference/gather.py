"""Gather: the input windows of the active tiles, with their halos along the motion vectors."""

from __future__ import annotations

import torch

from kernels.ops.maps import Halo, Window, check_map, check_tiles


def read(
    source: torch.Tensor, y: torch.Tensor, x: torch.Tensor, halo: Halo | None, fill: float
) -> torch.Tensor:
    """`source` at positions (y, x), int64 of any one shape S, as `Halo` defines it: S + (C,).

    Outside the map the value is `fill`. A value that is not chosen is never multiplied in, so that a NaN in a
    part of the source that nobody wrote cannot leak.
    """
    height, width, _ = source.shape
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    values = source[y, x]
    if halo is not None:
        moved = _sample(halo.reference, y, x, halo.displacement[y, x])
        values = torch.where((halo.fresh[y, x] != 0)[..., None], values, moved)
    return torch.where(inside[..., None], values, torch.full_like(values[..., :1], fill))


def _sample(
    reference: torch.Tensor, y: torch.Tensor, x: torch.Tensor, displacement: torch.Tensor
) -> torch.Tensor:
    """`reference` at (y + dy, x + dx), clamped; bilinear where the displacement is a float."""
    height, width, _ = reference.shape
    if not displacement.is_floating_point():
        shift = displacement.long()
        return reference[(y + shift[..., 1]).clamp(0, height - 1), (x + shift[..., 0]).clamp(0, width - 1)]
    column = (x + displacement[..., 0]).clamp(0, width - 1)
    row = (y + displacement[..., 1]).clamp(0, height - 1)
    left, top = column.floor(), row.floor()
    weight_x, weight_y = (column - left)[..., None], (row - top)[..., None]
    left, top = left.long(), top.long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    upper = reference[top, left] * (1 - weight_x) + reference[top, right] * weight_x
    lower = reference[bottom, left] * (1 - weight_x) + reference[bottom, right] * weight_x
    return (upper * (1 - weight_y) + lower * weight_y).to(reference.dtype)


def gather(
    source: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    window: Window,
    halo: Halo | None = None,
    fill: float = 0.0,
) -> torch.Tensor:
    """The input that each tile of output positions reads through `window`.

    Args:
        source: (H, W, C) map.
        tiles: int32 (n, 2), first *output* position of each tile.
        tile: (height, width) of a tile in output positions.
        window: kernel, stride, padding and dilation of the operation to come.
        halo: where positions that are not fresh are read from; None reads everything from `source`.
        fill: value outside the map (0 for a convolution, -inf for a maximum).

    Returns:
        (n, h, w, C) contiguous, (h, w) = `window.extent(tile)`; row 0 of tile i is input row
        `tiles[i, 0] * stride - padding`.
    """
    check_map("source", source)
    check_tiles(tiles, tile)
    height, width = window.extent(tile)
    rows = torch.arange(height, device=source.device)
    columns = torch.arange(width, device=source.device)
    y = tiles[:, 0].long()[:, None] * window.stride[0] - window.padding[0] + rows
    x = tiles[:, 1].long()[:, None] * window.stride[1] - window.padding[1] + columns
    y, x = torch.broadcast_tensors(y[:, :, None], x[:, None, :])
    return read(source, y, x, halo, fill).contiguous()
