"""From the block set of a frame to every resolution: what is active, and where the rest comes from.

A position of a layer with s pixels a position stands for the pixels [p·s, (p+1)·s). It is active if any
active block overlaps them, and its vector is the mean of the overlapping blocks' vectors, divided by s and
rounded to the nearest position (or kept as it is for bilinear sampling).

Rounding alone would lose slow motion: 3 px a frame is 0 positions of a layer with 8 px a position, frame
after frame. So what a rounding left over moves along with the block and is added to its next vector
(`Level.residual`), until the block is computed anew. Block sets stay on the processor; what a GPU needs is
sent there once a frame.
"""

from __future__ import annotations

from fractions import Fraction

import torch

from kernels.executor.cache import Level
from kernels.executor.plan import Resolution
from kernels.ops.maps import list_tiles


def level_of(
    resolution: Resolution,
    active: torch.Tensor,
    vectors: torch.Tensor,
    block_px: int,
    bilinear: bool,
    residual: torch.Tensor | None = None,
    device: torch.device | None = None,
) -> Level:
    """One resolution's share of a block set.

    Args:
        resolution: of the maps in question.
        active: bool (rows, columns) of blocks, on the processor.
        vectors: int (rows, columns, 2) of blocks, (dx, dy) in pixels, on the processor.
        block_px: side of a block.
        bilinear: whether the displacement keeps fractions (float32) or is rounded (int16).
        residual: what the roundings of the reference's own moves left over, in pixels; None for nothing.
        device: where the maps are.
    """
    size = (resolution.height, resolution.width)
    tile = tile_of(resolution, block_px)
    whole = tile[0] * resolution.scale_y == block_px and tile[1] * resolution.scale_x == block_px
    # Padding beyond the kernel's half makes maps that are larger than the frame: these are not whole either.
    if whole and size[0] <= active.shape[0] * tile[0] and size[1] <= active.shape[1] * tile[1]:
        # Whole positions a block: decide by block, then repeat.
        cell = (float(block_px), float(block_px))
        moved, left_over = _displace(vectors.float(), active, resolution, bilinear, residual, cell)
        wide = moved.view(torch.int64 if bilinear else torch.int32)[..., 0]
        displacement = _repeat(wide, tile, size)[..., None].view(moved.dtype)
        fresh = _repeat(active.to(torch.uint8), tile, size)
        tiles = torch.nonzero(active).int().contiguous() * torch.tensor(tile, dtype=torch.int32)
    else:
        first_y, last_y = _overlap(resolution.height, resolution.scale_y, block_px, active.shape[0])
        first_x, last_x = _overlap(resolution.width, resolution.scale_x, block_px, active.shape[1])
        mask = _any_block(active, first_y, last_y, first_x, last_x)
        mean = _mean_block(vectors.float(), first_y, last_y, first_x, last_x)
        cell = (float(resolution.scale_y), float(resolution.scale_x))
        displacement, left_over = _displace(mean, mask, resolution, bilinear, residual, cell)
        fresh, tiles, tile = mask.to(torch.uint8), list_tiles(mask), (1, 1)
    return Level(
        tiles=tiles.to(device, non_blocking=True),
        tile=tile,
        positions=int(fresh.sum()),
        fresh=fresh.to(device, non_blocking=True),
        displacement=displacement.to(device, non_blocking=True),
        residual=left_over,
    )


def _displace(
    vectors: torch.Tensor,
    active: torch.Tensor,
    resolution: Resolution,
    bilinear: bool,
    residual: torch.Tensor | None,
    cell: tuple[float, float],
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Vectors of cells (h, w, 2) in pixels to positions; and what rounding leaves over, in pixels.

    `residual` is that of the reference's cells; each cell takes over that of the cell it came from. `cell` is
    the (height, width) of a cell in pixels.
    """
    scale = torch.tensor([float(resolution.scale_x), float(resolution.scale_y)], dtype=torch.float32)
    if bilinear:
        return (vectors / scale).contiguous(), None
    total = vectors
    if residual is not None:
        rows, columns = active.shape
        y = (torch.arange(rows)[:, None] + 0.5 + vectors[..., 1] / cell[0]).floor().long()
        x = (torch.arange(columns)[None, :] + 0.5 + vectors[..., 0] / cell[1]).floor().long()
        total = vectors + residual[y.clamp(0, rows - 1), x.clamp(0, columns - 1)]
    moved = (total / scale).round_()
    left_over = torch.where(active[..., None], 0.0, total - moved * scale)
    return moved.to(torch.int16).contiguous(), left_over


def _repeat(values: torch.Tensor, tile: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """Each of (rows, columns) values for a tile of positions, cut to `size`."""
    rows, columns = values.shape
    wide = values[:, None, :, None].expand(rows, tile[0], columns, tile[1])
    wide = wide.reshape(rows * tile[0], columns * tile[1])
    return wide[: size[0], : size[1]].contiguous()  # of a single block, `wide` is a view of one value


def full_level(
    resolution: Resolution, block_px: int, device: torch.device | None = None
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Tiles that cover a whole resolution, for a dense run."""
    tile = tile_of(resolution, block_px)
    tiles = list_tiles(torch.ones(resolution.height, resolution.width, dtype=torch.bool), tile)
    return tiles.to(device), tile


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
    rows = torch.stack([field[torch.minimum(first_y + step, last_y)] for step in range(steps_y)]).mean(0)
    return torch.stack([rows[:, torch.minimum(first_x + step, last_x)] for step in range(steps_x)]).mean(0)
