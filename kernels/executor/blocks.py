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
from kernels.executor.plan import Resolution
from kernels.ops.maps import list_tiles


def level_of(
    resolution: Resolution, active: torch.Tensor, vectors: torch.Tensor, block_px: int, bilinear: bool
) -> Level:
    """One resolution's share of a block set.

    Args:
        resolution: of the maps in question.
        active: bool (rows, columns) of blocks.
        vectors: int (rows, columns, 2) of blocks, (dx, dy) in pixels.
        block_px: side of a block.
        bilinear: whether the displacement keeps fractions (float32) or is rounded (int16).
    """
    size = (resolution.height, resolution.width)
    tile = tile_of(resolution, block_px)
    if (tile[0] * resolution.scale_y, tile[1] * resolution.scale_x) == (block_px, block_px):
        # Whole positions a block: decide by block, then repeat.
        displacement = _displacement(vectors.float(), resolution, bilinear)
        wide = displacement.view(torch.int64 if bilinear else torch.int32)[..., 0]
        repeated = _repeat(wide, tile, size)[..., None].view(displacement.dtype)
        fresh = _repeat(active.to(torch.uint8), tile, size)
        first = torch.tensor(tile, dtype=torch.int32, device=active.device)
        tiles = torch.nonzero(active).int().contiguous() * first
        return Level(tiles, tile, int(fresh.sum()), fresh, repeated)
    first_y, last_y = _overlap(resolution.height, resolution.scale_y, block_px, active.shape[0])
    first_x, last_x = _overlap(resolution.width, resolution.scale_x, block_px, active.shape[1])
    mask = _any_block(active, first_y, last_y, first_x, last_x)
    mean = _mean_block(vectors.float(), first_y, last_y, first_x, last_x)
    return Level(
        tiles=list_tiles(mask),
        tile=(1, 1),
        positions=int(mask.sum()),
        fresh=mask.to(torch.uint8),
        displacement=_displacement(mean, resolution, bilinear),
    )


def _displacement(vectors: torch.Tensor, resolution: Resolution, bilinear: bool) -> torch.Tensor:
    scale = torch.tensor([float(resolution.scale_x), float(resolution.scale_y)], device=vectors.device)
    moved = vectors / scale
    return moved.contiguous() if bilinear else moved.round_().to(torch.int16).contiguous()


def _repeat(values: torch.Tensor, tile: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """Each of (rows, columns) values for a tile of positions, cut to `size`."""
    rows, columns = values.shape
    wide = values[:, None, :, None].expand(rows, tile[0], columns, tile[1])
    wide = wide.reshape(rows * tile[0], columns * tile[1])
    return wide if wide.shape == size else wide[: size[0], : size[1]].contiguous()


def full_level(resolution: Resolution, block_px: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """Tiles that cover a whole resolution, for a dense run."""
    tile = tile_of(resolution, block_px)
    return list_tiles(torch.ones(resolution.height, resolution.width, dtype=torch.bool), tile), tile


def tile_of(resolution: Resolution, block_px: int) -> tuple[int, int]:
    """(height, width) of a block at a resolution, at least one position."""
    return max(1, int(block_px / resolution.scale_y)), max(1, int(block_px / resolution.scale_x))


def per_pixel(values: torch.Tensor, height: int, width: int, block_px: int) -> torch.Tensor:
    """A block field (rows, columns, ...) repeated for each of height × width pixels."""
    rows = torch.arange(height) // block_px
    columns = torch.arange(width) // block_px
    return values[rows[:, None], columns[None, :]]


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
