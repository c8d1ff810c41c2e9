"""The axes of a map in cells, runs of positions that overlap the same blocks."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import torch


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a map in cells, runs of positions that overlap the same blocks.

    Attributes:
        blocks: first and last block that each cell overlaps.
        middle: the same of the middle of where its maps lie; its vectors count.
        centre: of each cell, in positions.
        cell_of: cell of each position.
    """

    blocks: tuple[torch.Tensor, torch.Tensor]
    middle: tuple[torch.Tensor, torch.Tensor]
    centre: torch.Tensor
    cell_of: torch.Tensor

    @property
    def count(self) -> int:
        return self.centre.shape[0]

    def cell_at(self, position: torch.Tensor) -> torch.Tensor:
        """The cell of each position, the nearest for those outside."""
        return self.cell_of[position.floor().long().clamp_(0, self.cell_of.shape[0] - 1)]


@dataclass(frozen=True, slots=True)
class AxisPair:
    """The axes of a map."""

    rows: Axis
    columns: Axis


@lru_cache(maxsize=256)
def axis_of(size: int, scale: Fraction, offset: tuple[int, int], block_px: int, blocks: int) -> Axis:
    middle = sum(offset) // 2
    overlaps = [*_overlap(size, scale, offset, block_px, blocks)]
    if offset != (0, 0):  # vectors of the middle of where its maps lie
        overlaps += _overlap(size, scale, (middle, middle), block_px, blocks)
    both = torch.stack(overlaps)
    begins = torch.ones(size, dtype=torch.bool)
    begins[1:] = (both[:, 1:] != both[:, :-1]).any(0)
    first = begins.nonzero()[:, 0]
    end = torch.cat([first[1:], torch.tensor([size])])
    found = both[:, first]
    return Axis((found[0], found[1]), (found[-2], found[-1]), (first + end) / 2, begins.cumsum(0) - 1)


def spread(values: torch.Tensor, rows: Axis, columns: Axis) -> torch.Tensor:
    """Each of (cells, cells) values for the positions of its cell."""
    return values.index_select(1, columns.cell_of).index_select(0, rows.cell_of)


def _overlap(
    size: int, scale: Fraction, offset: tuple[int, int], block_px: int, blocks: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """First and last block that overlap each position of one axis."""
    position = torch.arange(size)
    first = (position + offset[0]) * scale.numerator // (scale.denominator * block_px)
    end = -((position + 1 + offset[1]) * scale.numerator // (-scale.denominator * block_px))
    return first.clamp(0, blocks - 1), (end - 1).clamp(0, blocks - 1)


def any_block(
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


def mean_block(
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
