"""Nearest and bilinear upsampling on tiles."""

from __future__ import annotations

import torch

from kernels.ops.maps import Halo, check_map, check_tiles, tile_positions
from kernels.ops.reference.gather import read
from kernels.ops.reference.scatter import scatter


def upsample(
    mode: str,
    source: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    align_corners: bool = False,
    halo: Halo | None = None,
) -> None:
    """Resample `source` to the size of `out`, a whole multiple of its own, at every position of the tiles.

    With factor f = H' / H per axis, output position p reads
    nearest: source[p // f];
    bilinear: around s = (p + 1/2) / f - 1/2 (or p (H - 1) / (H' - 1) with `align_corners`), clamped to the
    map, as `torch.nn.functional.interpolate` does.

    Args:
        mode: "nearest" or "bilinear".
        source: (H, W, C) map.
        tiles: int32 (n, 2) in `out`.
        tile: (height, width) of a tile in output positions.
        out: (H', W', C) map, written in place at the tiles.
        align_corners: only for bilinear.
        halo: where source positions that are not fresh are read from.

    Raises:
        ValueError: unknown mode, or sizes that are not whole multiples.
    """
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"mode must be 'nearest' or 'bilinear' (got {mode!r})")
    check_map("source", source)
    check_map("out", out)
    check_tiles(tiles, tile)
    height, width, channels = source.shape
    if out.shape[0] % height or out.shape[1] % width:
        raise ValueError(f"out must be a whole multiple of {(height, width)} (got {tuple(out.shape[:2])})")
    if tiles.shape[0] == 0:
        return
    y, x, _ = tile_positions(tiles, tile, (out.shape[0], out.shape[1]))
    factor = (out.shape[0] // height, out.shape[1] // width)
    if mode == "nearest":
        # An overhanging position is clamped: it is read, and never written.
        values = read(
            source, (y // factor[0]).clamp(max=height - 1), (x // factor[1]).clamp(max=width - 1), halo, 0.0
        )
    else:
        top, bottom, weight_y = linear_taps(y, height, out.shape[0], align_corners)
        left, right, weight_x = linear_taps(x, width, out.shape[1], align_corners)
        weight_y, weight_x = weight_y[..., None], weight_x[..., None]
        upper = read(source, top, left, halo, 0.0) * (1 - weight_x) + (
            read(source, top, right, halo, 0.0) * weight_x
        )
        lower = read(source, bottom, left, halo, 0.0) * (1 - weight_x) + (
            read(source, bottom, right, halo, 0.0) * weight_x
        )
        values = (upper * (1 - weight_y) + lower * weight_y).to(source.dtype)
    scatter(values.reshape(-1, *tile, channels), tiles, out)


def linear_taps(
    position: torch.Tensor, size: int, output_size: int, align_corners: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The two source positions around each output position of one axis, and the weight of the second.

    Args:
        position: int64 output positions, any shape.
        size, output_size: length of the axis in the source and in the output.
        align_corners: whether the first and last positions of both coincide.

    Returns:
        first, second: int64; weight: float32 in [0, 1).
    """
    if align_corners:
        where = position * ((size - 1) / (output_size - 1) if output_size > 1 else 0.0)
        first = where.floor().clamp(max=size - 1)
        return first.long(), (first.long() + 1).clamp(max=size - 1), (where - first).clamp(0.0, 1.0).float()
    # In whole numbers, so that the weights repeat to the last bit.
    where = ((2 * position + 1) * size - output_size).clamp(min=0)
    first = where // (2 * output_size)
    weight = (where - first * 2 * output_size).double() / (2 * output_size)
    return first.clamp(max=size - 1), (first + 1).clamp(max=size - 1), weight.float()
