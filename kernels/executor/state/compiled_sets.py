"""The grids of cells that C++ decides active sets on, made once for a frame size.

`kernels.executor.state.active_sets` decides in torch, which is the definition; where the C++ library is, one
call does the same to the last bit, in a tenth of the time that torch takes for its many small tensors.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from kernels.executor.plan.resolution import Resolution
from kernels.executor.state.margins import CellGrid, margin_positions
from kernels.executor.state.position_axes import Axis, axis_of
from kernels.ops.cpu.reuse.active_sets import CellDecider, CellLine, CellMapSize

_MOST_BLOCKS = 15  # whose vectors are averaged along an axis: torch adds up longer lists in another order


@lru_cache(maxsize=256)
def cell_decider(
    grid: CellGrid,
    resolutions: tuple[Resolution, ...],
    tiles: tuple[tuple[int, int], ...],
    blocks: tuple[int, int],
    block_px: int,
) -> CellDecider:
    """For maps of which every block is a whole number of cells.

    Args:
        grid: of cells.
        resolutions: of the maps.
        tiles: (height, width) of a cell in positions, a map.
        blocks: rows and columns.
        block_px: side of a block.
    """
    lines = []
    for count, cells, reach in zip(blocks, grid.cells, grid.reach, strict=True):
        block = torch.arange(count * cells).div(cells, rounding_mode="floor")
        centre = torch.arange(count * cells) + 0.5
        lines.append(CellLine((block, block), (block, block), centre, block_px / cells, reach))
    maps = [
        CellMapSize(
            (resolution.height, resolution.width),
            tile,
            (float(resolution.scale_y), float(resolution.scale_x)),
        )
        for resolution, tile in zip(resolutions, tiles, strict=True)
    ]
    return CellDecider(lines[0], lines[1], maps)


@lru_cache(maxsize=256)
def position_decider(
    resolution: Resolution, blocks: tuple[int, int], block_px: int, margin_px: int
) -> CellDecider | None:
    """For a map whose positions are no whole parts of blocks; None where torch has to decide."""
    rows = axis_of(resolution.height, resolution.scale_y, resolution.offset_y, block_px, blocks[0])
    columns = axis_of(resolution.width, resolution.scale_x, resolution.offset_x, block_px, blocks[1])
    if any(int((axis.middle[1] - axis.middle[0]).max()) + 1 > _MOST_BLOCKS for axis in (rows, columns)):
        return None
    size = (resolution.height, resolution.width)
    scale = (float(resolution.scale_y), float(resolution.scale_x))
    lines = [
        _line(axis, one, margin_positions(margin_px, exact))
        for axis, one, exact in (
            (rows, scale[0], resolution.scale_y),
            (columns, scale[1], resolution.scale_x),
        )
    ]
    return CellDecider(lines[0], lines[1], [CellMapSize(size, (1, 1), scale)])


def _line(axis: Axis, scale: float, reach: int) -> CellLine:
    blocks = axis.blocks[0].contiguous(), axis.blocks[1].contiguous()
    vectors = axis.middle[0].contiguous(), axis.middle[1].contiguous()
    centre = axis.centre.float().contiguous()
    return CellLine(blocks, vectors, centre, scale, reach, axis.cell_of.contiguous())
