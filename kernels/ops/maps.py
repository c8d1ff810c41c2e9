"""The types that all operations share: maps, tiles, halos, windows and packed convolutions.

**Map**: a torch tensor of shape (H, W, C), one image, channels last. `stride(2) == 1`,
`stride(0) == W * stride(1)`; `stride(1)`, the *pixel stride*, may exceed C: a map can be a channel slice of a
wider buffer, so that concatenation and splitting move no data. float32, or float16 on a GPU.

**Tiles**: int32 (n, 2), contiguous: (y, x) of each tile's first position in the *output* map; `tile` =
(height, width) of all of them. Tiles do not overlap; what hangs over the map's lower or right edge is
skipped. Tiles of (1, 1) are a plain list of positions.

**Halo**: where an operation that reads a neighbourhood finds the values that this frame did not compute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

# The order of the enumerations in cpu/vectors.h and cuda/common.cuh.
ACTIVATIONS = (
    *("none", "relu", "silu", "sigmoid", "leaky_relu", "hardswish", "relu6", "tanh", "hardsigmoid"),
    *("gelu", "gelu_tanh"),
)


@dataclass(frozen=True, slots=True)
class Halo:
    """Reads of a source map that follow the motion vectors into the reference's map.

    Position (y, x) of the source reads `source[y, x]` where `fresh[y, x]` is 1, else the reference at
    (y + dy, x + dx), clamped to the map; outside the map it reads the padding value, as without a halo.

    Attributes:
        reference: (H, W, C) map of the reference frame, of the source's shape and dtype.
        fresh: (H, W) uint8, 1 where the source holds this frame's value.
        displacement: (H, W, 2), (dx, dy) in positions of this map; int16 reads the nearest position,
            float32 interpolates bilinearly between four.
    """

    reference: torch.Tensor
    fresh: torch.Tensor
    displacement: torch.Tensor


@dataclass(frozen=True, slots=True)
class Window:
    """What a convolution or a pool reads for one output position; every pair is (vertical, horizontal)."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the output for an input of (height, width), rounded down as torch does."""
        height, width = (
            (size[axis] + 2 * self.padding[axis] - self.dilation[axis] * (self.kernel[axis] - 1) - 1)
            // self.stride[axis]
            + 1
            for axis in (0, 1)
        )
        return height, width

    def extent(self, tile: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the input that a tile of (height, width) output positions reads."""
        height, width = (
            (tile[axis] - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1
            for axis in (0, 1)
        )
        return height, width


@dataclass(frozen=True, slots=True)
class PackedConvolution:
    """A convolution with its bias and activation, as one backend's `pack_convolution` prepared it.

    Attributes:
        window: kernel, stride, padding, dilation.
        in_channels, out_channels, groups: as in `torch.nn.Conv2d`.
        activation: one of `ACTIVATIONS`.
        slope: negative slope of leaky_relu.
        weight: in the backend's own layout; the reference keeps (O, I / groups, kh, kw).
        bias: (O,) float32.
        extra: whatever else the backend prepared.
    """

    window: Window
    in_channels: int
    out_channels: int
    groups: int
    activation: str
    slope: float
    weight: torch.Tensor
    bias: torch.Tensor
    extra: Any = field(default=None, compare=False)


def check_map(name: str, value: torch.Tensor) -> None:
    """Raise unless `value` is a map as this module defines it.

    Raises:
        TypeError: not a float32 or float16 tensor.
        ValueError: not three axes, or strides other than (W * pixel stride, pixel stride, 1).
    """
    if value.dtype not in (torch.float32, torch.float16):
        raise TypeError(f"{name} must be float32 or float16 (got {value.dtype})")
    if value.dim() != 3:
        raise ValueError(f"{name} must have shape (H, W, C) (got {tuple(value.shape)})")
    _, width, channels = value.shape
    row, pixel, element = value.stride()
    if (channels > 1 and element != 1) or pixel < channels or (value.shape[0] > 1 and row != width * pixel):
        raise ValueError(f"{name} must be channels last, row after row (got strides {value.stride()})")


def check_tiles(tiles: torch.Tensor, tile: tuple[int, int]) -> None:
    """Raise unless `tiles` is an int32 (n, 2) list and `tile` a positive size.

    Raises:
        TypeError: another dtype.
        ValueError: another shape or layout.
    """
    if tiles.dtype != torch.int32:
        raise TypeError(f"tiles must be int32 (got {tiles.dtype})")
    if tiles.dim() != 2 or tiles.shape[1] != 2 or not tiles.is_contiguous():
        raise ValueError(f"tiles must be contiguous with shape (n, 2) (got {tuple(tiles.shape)})")
    if min(tile) < 1:
        raise ValueError(f"tile must be at least (1, 1) (got {tile})")


def tile_positions(
    tiles: torch.Tensor, tile: tuple[int, int], size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Every position of the tiles, tile after tile, row after row.

    Args:
        tiles: int32 (n, 2).
        tile: (height, width) of a tile.
        size: (height, width) of the output map.

    Returns:
        y, x: int64 (n, height * width). inside: bool, the same shape, False where a tile hangs over the edge.
    """
    device = tiles.device
    offset_y = torch.arange(tile[0], device=device).repeat_interleave(tile[1])
    offset_x = torch.arange(tile[1], device=device).repeat(tile[0])
    y = tiles[:, :1].long() + offset_y
    x = tiles[:, 1:].long() + offset_x
    return y, x, (y < size[0]) & (x < size[1])


def list_tiles(mask: torch.Tensor, tile: tuple[int, int] = (1, 1)) -> torch.Tensor:
    """The tiles, on a grid of `tile`, with at least one True position of a bool (H, W) mask: int32 (n, 2)."""
    height, width = mask.shape
    if tile != (1, 1):
        rows, columns = -(-height // tile[0]), -(-width // tile[1])
        padded = mask.new_zeros(rows * tile[0], columns * tile[1])
        padded[:height, :width] = mask
        mask = padded.view(rows, tile[0], columns, tile[1]).any(3).any(1)
    found = torch.nonzero(mask).to(torch.int32).contiguous()
    if tile == (1, 1):
        return found
    return found * torch.tensor(tile, dtype=torch.int32, device=mask.device)
