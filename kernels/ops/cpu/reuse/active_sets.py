"""Active sets by cell in one call into the C++ library: the structures of active_sets.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kernels.ops.cpu import unavailable
from kernels.ops.cpu.loader import library

_long = ctypes.c_int64
_pointer = ctypes.c_void_p


def is_here() -> bool:
    """Whether the C++ library is."""
    return unavailable("cpu") is None


class _CellAxis(ctypes.Structure):
    _fields_ = [
        *((name, _long) for name in ("cells", "size", "reach", "steps")),
        *((name, _pointer) for name in ("first", "last", "vector_first", "vector_last", "centre", "cell_of")),
        ("divisor", ctypes.c_float),
    ]


class _CellMap(ctypes.Structure):
    _fields_ = [
        *((name, _long) for name in ("height", "width", "tile_height", "tile_width")),
        ("scale_x", ctypes.c_float),
        ("scale_y", ctypes.c_float),
        ("before", _pointer),
        *((name, _long) for name in ("before_rows", "before_columns")),
        *((name, _pointer) for name in ("tiles", "moved", "left_over")),
        *((name, _long) for name in ("listed", "positions")),
    ]


@dataclass(frozen=True, slots=True)
class CellLine:
    """The cells along one axis.

    Attributes:
        blocks: int64, first and last block that each cell overlaps.
        vectors: the same of the blocks whose vectors count.
        centre: float32, of each cell, in steps of `divisor` pixels.
        divisor: pixels.
        reach: by how many cells the active ones grow, or by how many positions where `cell_of` is given.
        cell_of: int64, the cell of each position, where what grows are positions.
    """

    blocks: tuple[torch.Tensor, torch.Tensor]
    vectors: tuple[torch.Tensor, torch.Tensor]
    centre: torch.Tensor
    divisor: float
    reach: int
    cell_of: torch.Tensor | None = None

    def structure(self) -> _CellAxis:
        """As C++ reads it; this must be kept."""
        count = self.centre.shape[0]
        pointers = (one.data_ptr() for one in (*self.blocks, *self.vectors, self.centre))
        steps = int((self.vectors[1] - self.vectors[0]).max()) + 1
        size = count if self.cell_of is None else self.cell_of.shape[0]
        positions = None if self.cell_of is None else self.cell_of.data_ptr()
        return _CellAxis(count, size, self.reach, steps, *pointers, positions, self.divisor)


@dataclass(frozen=True, slots=True)
class CellMapSize:
    """A map on a grid of cells; pairs are (vertical, horizontal).

    Attributes:
        size: in positions.
        tile: of a cell, in positions.
        scale: pixels of a position.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    scale: tuple[float, float]


@dataclass(frozen=True, slots=True)
class DecidedCells:
    """The active sets of some maps on one grid of cells.

    Attributes:
        active: uint8 (rows, columns) of cells.
        fresh: uint8 (H, W) of positions, where these are what grows.
        tiles: int32 (n, 2) a map.
        positions: covered by them, a map.
        moved: int16 (maps, rows, columns, 2), (dx, dy) in positions; None where nothing moves.
        left_over: float32, the same shape: pixels.
    """

    active: torch.Tensor
    fresh: torch.Tensor | None
    tiles: list[torch.Tensor]
    positions: list[int]
    moved: torch.Tensor | None
    left_over: torch.Tensor | None


class CellDecider:
    """Decides the active sets of maps on one grid of cells; made once, used for every frame."""

    def __init__(self, rows: CellLine, columns: CellLine, maps: Sequence[CellMapSize]) -> None:
        self._lines = rows, columns
        self._axes = rows.structure(), columns.structure()
        self._by_position = rows.cell_of is not None
        self._maps = (_CellMap * len(maps))()
        for made, one in zip(self._maps, maps, strict=True):
            made.height, made.width = one.size
            made.tile_height, made.tile_width = one.tile
            made.scale_y, made.scale_x = one.scale

    def decide(
        self, blocks: torch.Tensor, vectors: torch.Tensor | None, before: Sequence[torch.Tensor | None]
    ) -> DecidedCells:
        """One frame's.

        Args:
            blocks: bool, contiguous, the active blocks.
            vectors: int64 (rows, columns, 2), contiguous, of blocks; None where nothing moves.
            before: float32 (rows, columns, 2) a map, what the reference's rounding left over; None for none.
        """
        rows, columns = (axis.cells for axis in self._axes)
        count = len(self._maps)
        maps = type(self._maps).from_buffer_copy(self._maps)  # calls of several threads must not share it
        active = torch.empty(rows, columns, dtype=torch.uint8)
        fresh, most = None, rows * columns
        if self._by_position:
            fresh = torch.empty(self._axes[0].size, self._axes[1].size, dtype=torch.uint8)
            most = fresh.numel()
        tiles = torch.empty(count, most, 2, dtype=torch.int32)
        moved = left_over = None
        if vectors is not None:
            moved = torch.empty(count, rows, columns, 2, dtype=torch.int16)
            left_over = torch.empty(count, rows, columns, 2)
        kept = [None if one is None else one.contiguous() for one in before]
        for number, (made, one) in enumerate(zip(maps, kept, strict=True)):
            made.tiles = tiles.data_ptr() + number * most * 8
            if moved is not None and left_over is not None:
                made.moved = moved.data_ptr() + number * rows * columns * 4
                made.left_over = left_over.data_ptr() + number * rows * columns * 8
            if one is not None:
                made.before = one.data_ptr()
                made.before_rows, made.before_columns = one.shape[0], one.shape[1]
        library().fluxshard_active_cells(
            *(ctypes.byref(axis) for axis in self._axes),
            _pointer(blocks.data_ptr()),
            _long(blocks.shape[1]),
            None if vectors is None else _pointer(vectors.data_ptr()),
            maps,
            _long(count),
            _pointer(active.data_ptr()),
            None if fresh is None else _pointer(fresh.data_ptr()),
        )
        listed = [tiles[number, : made.listed] for number, made in enumerate(maps)]
        return DecidedCells(active, fresh, listed, [made.positions for made in maps], moved, left_over)


def grow(mask: torch.Tensor, down: int, across: int) -> torch.Tensor:
    """A bool or uint8 (h, w) mask with everything within `down` rows and `across` columns of it: bool."""
    made = mask.contiguous().clone()
    if made.dtype not in (torch.bool, torch.uint8):
        raise TypeError(f"mask must be bool or uint8 (got {made.dtype})")
    height, width = made.shape
    library().fluxshard_grow(
        _pointer(made.data_ptr()), *(_long(value) for value in (height, width, down, across))
    )
    return made.view(torch.bool)
