"""From the block set of a frame to every resolution: which positions are active, and where the others come
from.

A position of a layer with s pixels a position stands for the pixels [p·s, (p+1)·s). It is active if any
active block overlaps them, and its vector is the mean of the overlapping blocks' vectors, divided by s and
rounded to the nearest position (or kept as it is for bilinear sampling).
"""

from __future__ import annotations

from fractions import Fraction

import torch

from kernels.executor.cache import Level
from kernels.executor.plan import LevelKey
from kernels.ops.maps import list_tiles


def level_of(
    key: LevelKey, active: torch.Tensor, vectors: torch.Tensor, block_px: int, bilinear: bool
) -> Level:
    """One resolution's share of a block set.

    Args:
        key: the resolution.
        active: bool (rows, columns) of blocks.
        vectors: int (rows, columns, 2) of blocks, (dx, dy) in pixels.
        block_px: side of a block.
        bilinear: whether the displacement keeps fractions (float32) or is rounded (int16).
    """
    height, width, scale_y, scale_x = key
    first_y, last_y = _overlap(height, scale_y, block_px, active.shape[0])
    first_x, last_x = _overlap(width, scale_x, block_px, active.shape[1])
    mask = _any_block(active, first_y, last_y, first_x, last_x)
    moved = vectors.to(torch.float32)
    mean = _mean_block(moved, first_y, last_y, first_x, last_x)
    mean /= torch.tensor([float(scale_x), float(scale_y)])
    displacement = mean if bilinear else mean.round_().to(torch.int16)
    tile = (_tile(scale_y, block_px), _tile(scale_x, block_px))
    aligned = tile[0] * scale_y == block_px and tile[1] * scale_x == block_px
    tiles = list_tiles(mask, tile if aligned else (1, 1))
    return Level(
        tiles=tiles,
        tile=tile if aligned else (1, 1),
        positions=int(mask.sum()),
        fresh=mask.to(torch.uint8),
        displacement=displacement.contiguous(),
    )


def full_level(key: LevelKey, block_px: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """Tiles that cover a whole resolution, for a dense run."""
    height, width, scale_y, scale_x = key
    tile = (_tile(scale_y, block_px), _tile(scale_x, block_px))
    return list_tiles(torch.ones(height, width, dtype=torch.bool), tile), tile


def per_pixel(values: torch.Tensor, height: int, width: int, block_px: int) -> torch.Tensor:
    """A block field (rows, columns, ...) repeated for each of height × width pixels."""
    rows = torch.arange(height) // block_px
    columns = torch.arange(width) // block_px
    return values[rows[:, None], columns[None, :]]


def _tile(scale: Fraction, block_px: int) -> int:
    return max(1, int(block_px / scale))


def _overlap(size: int, scale: Fraction, block_px: int, blocks: int) -> tuple[torch.Tensor, torch.Tensor]:
    """First and last block that overlap each position of one axis."""
    position = torch.arange(size)
    first = position * scale.numerator // (scale.denominator * block_px)
    end = -((position + 1) * scale.numerator // (-scale.denominator * block_px))
    return first.clamp(max=blocks - 1), (end - 1).clamp(max=blocks - 1)


def _any_block(
    mask: torch.Tensor,
    first_y: torch.Tensor,
    last_y: torch.Tensor,
    first_x: torch.Tensor,
    last_x: torch.Tensor,
) -> torch.Tensor:
    rows = mask[first_y]
    for step in range(1, int((last_y - first_y).max()) + 1):
        rows = rows | mask[torch.minimum(first_y + step, last_y)]
    result = rows[:, first_x]
    for step in range(1, int((last_x - first_x).max()) + 1):
        result = result | rows[:, torch.minimum(first_x + step, last_x)]
    return result


def _mean_block(
    field: torch.Tensor,
    first_y: torch.Tensor,
    last_y: torch.Tensor,
    first_x: torch.Tensor,
    last_x: torch.Tensor,
) -> torch.Tensor:
    # A position that overlaps fewer blocks than its neighbours counts its last block again: blocks are whole
    # multiples of the scale or the other way round in every usual network, where that never happens.
    steps_y, steps_x = int((last_y - first_y).max()) + 1, int((last_x - first_x).max()) + 1
    rows = sum(field[torch.minimum(first_y + step, last_y)] for step in range(steps_y)) / steps_y
    return sum(rows[:, torch.minimum(first_x + step, last_x)] for step in range(steps_x)) / steps_x
