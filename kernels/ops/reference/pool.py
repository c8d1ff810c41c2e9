"""Maximum and average pooling on tiles."""

from __future__ import annotations

import torch

from kernels.ops.maps import Halo, Window, check_map, check_tiles, tile_positions
from kernels.ops.reference.gather import read
from kernels.ops.reference.scatter import scatter


def pool(
    kind: str,
    window: Window,
    source: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    count_padding: bool = True,
    halo: Halo | None = None,
) -> None:
    """out[p] = maximum or mean of source over the window of p, at every position p of the tiles.

    Args:
        kind: "max" (padding never wins) or "average" (padding adds 0).
        window: kernel, stride, padding, dilation.
        source: (H, W, C) map.
        tiles: int32 (n, 2) in `out`.
        tile: (height, width) of a tile in output positions.
        out: (H', W', C) map, written in place at the tiles; must not overlap `source`.
        count_padding: whether a mean divides by the whole window (torch's `count_include_pad`) or by what
            lies inside the map.
        halo: where source positions that are not fresh are read from.

    Raises:
        ValueError: unknown kind.
    """
    if kind not in ("max", "average"):
        raise ValueError(f"kind must be 'max' or 'average' (got {kind!r})")
    check_map("source", source)
    check_map("out", out)
    check_tiles(tiles, tile)
    if tiles.shape[0] == 0:
        return
    height, width, channels = source.shape
    y, x, _ = tile_positions(tiles, tile, (out.shape[0], out.shape[1]))
    total = source.new_full((*y.shape, channels), float("-inf") if kind == "max" else 0.0)
    count = source.new_zeros((*y.shape, 1))
    for row in range(window.kernel[0]):
        for column in range(window.kernel[1]):
            tap_y = y * window.stride[0] - window.padding[0] + row * window.dilation[0]
            tap_x = x * window.stride[1] - window.padding[1] + column * window.dilation[1]
            if kind == "max":
                total = torch.maximum(total, read(source, tap_y, tap_x, halo, float("-inf")))
                continue
            total = total + read(source, tap_y, tap_x, halo, 0.0)
            inside = (tap_y >= 0) & (tap_y < height) & (tap_x >= 0) & (tap_x < width)
            count = count + (torch.ones_like(inside) if count_padding else inside)[..., None]
    values = total if kind == "max" else total / count.clamp(min=1)
    scatter(values.reshape(-1, *tile, channels), tiles, out)
