"""Operations that read one position: copy, add, subtract, multiply, each with an activation."""

from __future__ import annotations

import torch

from kernels.ops.maps import Window, check_map, check_tiles
from kernels.ops.reference.convolve import activate
from kernels.ops.reference.gather import gather
from kernels.ops.reference.scatter import scatter

OPERATIONS = ("copy", "add", "subtract", "multiply")


def pointwise(
    operation: str,
    first: torch.Tensor,
    second: torch.Tensor | None,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    activation: str = "none",
    slope: float = 0.01,
) -> None:
    """out[p] = activation(first[p] ∘ second[p]) at every position p of the tiles.

    Args:
        operation: "copy" (second is None), "add", "subtract" or "multiply".
        first, second: (H, W, C) maps.
        tiles: int32 (n, 2).
        tile: (height, width) of a tile.
        out: (H, W, C) map, written in place at the tiles; may be `first` or `second` itself.
        activation: one of `ACTIVATIONS`.
        slope: negative slope of leaky_relu.

    Raises:
        ValueError: unknown operation.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"operation must be one of {OPERATIONS} (got {operation!r})")
    check_map("first", first)
    check_map("out", out)
    check_tiles(tiles, tile)
    if tiles.shape[0] == 0:
        return
    values = gather(first, tiles, tile, Window((1, 1)))
    if second is not None:
        other = gather(second, tiles, tile, Window((1, 1)))
        if operation == "add":
            values = values + other
        elif operation == "subtract":
            values = values - other
        else:
            values = values * other
    scatter(activate(values, activation, slope).contiguous(), tiles, out)
