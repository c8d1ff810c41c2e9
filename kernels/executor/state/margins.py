"""Margins: how far beyond the given blocks every layer computes.

Positions just outside an active set were cached with the neighbours that the set has replaced: a seam, which
moves inward by a kernel's half at every layer and every frame. A margin computes them as well. It costs no
pixels, since the reference holds those already.

At a layer with s pixels a position the set grows by ⌈margin / s⌉ positions in every direction, corners
included, as the windows of layers are rectangles. Where a margin is no whole number of blocks, the sets are
decided in cells: the largest rectangles that make up both a block and the margin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import torch
from torch.nn import functional

from kernels.ops.cpu.reuse import active_sets as active_cells


@dataclass(frozen=True, slots=True)
class CellGrid:
    """The cells in which the active sets of resolutions are decided; pairs are (vertical, horizontal).

    Attributes:
        cells: how many make up a block.
        reach: how many the active set grows by.
    """

    cells: tuple[int, int]
    reach: tuple[int, int]

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, tile: tuple[int, int], scales: tuple[Fraction, Fraction], margin_px: int) -> CellGrid:
        """Of a resolution: positions of a block, and pixels of a position."""
        steps = [margin_positions(margin_px, scale) for scale in scales]
        sides = [math.gcd(side, step) for side, step in zip(tile, steps, strict=True)]
        down, across = (side // cell for side, cell in zip(tile, sides, strict=True))
        return cls((down, across), (steps[0] // sides[0], steps[1] // sides[1]))

    def tile(self, block: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of a cell in positions, from that of a block."""
        return block[0] // self.cells[0], block[1] // self.cells[1]

    @property
    def most_a_block(self) -> int:
        """How many cells one active block can make active."""
        down, across = (count + 2 * more for count, more in zip(self.cells, self.reach, strict=True))
        return down * across

    def grown(self, active: torch.Tensor) -> torch.Tensor:
        """The active cells: bool."""
        return grown(in_cells(active, self.cells), *self.reach)


def margin_positions(margin_px: int, scale: Fraction) -> int:
    """⌈margin / s⌉: by how many positions a set grows where one covers s pixels."""
    return -(-margin_px * scale.denominator // scale.numerator)


def grown(mask: torch.Tensor, down: int, across: int) -> torch.Tensor:
    """A bool or uint8 (h, w) mask with everything within `down` rows and `across` columns of it: bool."""
    down, across = min(down, mask.shape[0]), min(across, mask.shape[1])
    if down == across == 0:
        return mask.bool()
    if active_cells.is_here() and not mask.is_cuda:
        return active_cells.grow(mask, down, across)
    window, padding = (2 * down + 1, 2 * across + 1), (down, across)
    return functional.max_pool2d(mask[None, None].float(), window, 1, padding)[0, 0] > 0


def in_cells(blocks: torch.Tensor, cells: tuple[int, int]) -> torch.Tensor:
    """(rows, columns, ...) values of blocks for each of their cells."""
    for axis, count in enumerate(cells):
        if count > 1:
            blocks = blocks.repeat_interleave(count, axis)
    return blocks


def on_grid(values: torch.Tensor | None, grid: tuple[int, int]) -> torch.Tensor | None:
    """(h, w, 2) values of cells on another grid of cells of the same frame: those at the cells' centres."""
    if values is None or (values.shape[0], values.shape[1]) == grid:
        return values
    rows, columns = (
        ((torch.arange(count) * 2 + 1) * size).div(2 * count, rounding_mode="floor").clamp_(max=size - 1)
        for count, size in zip(grid, values.shape[:2], strict=True)
    )
    return values[rows[:, None], columns[None, :]]


def computed_blocks(active: torch.Tensor, margin_px: int, block_px: int) -> torch.Tensor:
    """The blocks of which anything lies within the margin: bool (rows, columns)."""
    reach = -(-margin_px // block_px)
    return grown(active, reach, reach)


def computed_share(active: torch.Tensor, margin_px: int, block_px: int) -> float:
    """Share of the frame's blocks within the margin; of one in part, that part."""
    side_px = math.gcd(block_px, margin_px)
    cells, reach = block_px // side_px, margin_px // side_px
    return float(grown(in_cells(active, (cells, cells)), reach, reach).float().mean())
