"""Origins: where the value of each position of a map lies, so that nothing need be moved: as in origins.cpp.

An origin is int32: in its lowest 24 bits the position, row after row; above them the number of the arena, 0
for the frame's own. An arena is memory of maps, all at the same places in each.
"""

from __future__ import annotations

import ctypes

import torch

from kernels.ops.cpu.loader import library
from kernels.ops.cpu.program import ActiveSetTable, ArenaTable, Program

POSITION_BITS = 24
MOST_POSITIONS = 2**POSITION_BITS - 1  # of a map
MOST_ARENAS = 2 ** (31 - POSITION_BITS)

_long = ctypes.c_int64
_pointer = ctypes.c_void_p


def follow(
    fresh: torch.Tensor,
    displacement: torch.Tensor,
    tile: tuple[int, int],
    size: tuple[int, int],
    before: torch.Tensor | None,
    out: torch.Tensor,
) -> None:
    """The origins after a frame: positions that are fresh lie here, the others where they came from.

    Args:
        fresh: uint8 (rows, columns) of cells, 1 where the frame computes.
        displacement: int16 (rows, columns, 2), (dx, dy) in positions; the border holds for those outside.
        tile: (height, width) of a cell in positions.
        size: (height, width) of the map, which the cells cover.
        before: int32 (height * width,), the reference's origins; None where all of it lies in its own arena.
        out: int32 (height * width,); arena n of the reference is n + 1 here.
    """
    library().fluxshard_follow(
        _pointer(fresh.data_ptr()),
        _pointer(displacement.data_ptr()),
        _long(fresh.shape[1]),
        *(_long(value) for value in (*tile, *size)),
        None if before is None else _pointer(before.data_ptr()),
        _pointer(out.data_ptr()),
    )


def collect(
    steps: Program, begin: int, end: int, sets: ActiveSetTable, arenas: ArenaTable, arena: int = 0
) -> None:
    """Bring to arena 0 what of the maps that steps [begin, end) write lies in `arena`; 0 for all others."""
    library().fluxshard_collect(
        _pointer(steps.address(begin)),
        _long(end - begin),
        sets.array,
        arenas.array,
        _pointer(arenas.array[0]),
        _long(arena),
    )


def collect_map(
    origins: torch.Tensor, arenas: ArenaTable, offset: int, pixel_stride: int, out: torch.Tensor
) -> None:
    """A whole map into `out`, contiguous (H, W, C): that which starts `offset` floats into every arena."""
    library().fluxshard_collect_map(
        _pointer(origins.data_ptr()),
        _long(origins.shape[0]),
        arenas.array,
        _long(offset),
        _long(pixel_stride),
        _long(out.shape[2]),
        _pointer(out.data_ptr()),
    )


def bring(origins: torch.Tensor, arena: int) -> None:
    """Say, in place, that what lay in `arena` lies here now."""
    library().fluxshard_bring(_pointer(origins.data_ptr()), _long(origins.shape[0]), _long(arena))
