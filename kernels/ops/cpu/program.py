"""A fused segment of a network as one call into the C++ library: the structures of program.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from kernels.ops.cpu.loader import library
from kernels.ops.maps import ACTIVATIONS, PackedConvolution, Window
from kernels.ops.reference.pointwise import OPERATIONS

_long = ctypes.c_int64
_pointer = ctypes.c_void_p
_CONVOLVE, _POOL, _POINTWISE, _NEAREST, _REMAP, _SHUFFLE = range(6)


@dataclass(frozen=True, slots=True)
class MapAddress:
    """Where a map lies: in the frame's cache or in the workspace, first float, floats from pixel to pixel."""

    in_workspace: bool
    offset: int
    pixel_stride: int


class _MapAddress(ctypes.Structure):
    _fields_ = [("base", _long), ("offset", _long), ("pixel_stride", _long)]


class _Step(ctypes.Structure):
    _fields_ = [
        ("kind", _long),
        ("source", _MapAddress),
        ("second", _MapAddress),
        ("out", _MapAddress),
        *((name, _long) for name in ("source_set", "set_index", "out_row", "channels", "halo")),
        *((name, _long) for name in ("activation", "operation", "flag")),
        *((name, _pointer) for name in ("geometry", "weight", "bias", "zeros")),
        ("slope", ctypes.c_double),
    ]


class _ActiveSet(ctypes.Structure):
    _fields_ = [
        ("tiles", _pointer),
        *((name, _long) for name in ("count", "tile_height", "tile_width", "height", "width")),
        ("fresh", _pointer),
        ("displacement", _pointer),
        ("origins", _pointer),
    ]


class ActiveSetTable:
    """The active sets of one frame, as the C++ library reads them; keeps their tensors alive."""

    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        self._array = (_ActiveSet * len(sizes))()
        self._kept: list[torch.Tensor] = []
        for made, (height, width) in zip(self._array, sizes, strict=True):
            made.height, made.width = height, width

    def set(
        self,
        index: int,
        tiles: torch.Tensor,
        tile: tuple[int, int],
        fresh: torch.Tensor | None = None,
        displacement: torch.Tensor | None = None,
    ) -> None:
        """Fill active set `index`; `fresh` and `displacement`, as in `Halo`, are for halos and remaps."""
        made = self._array[index]
        made.tiles, made.count = tiles.data_ptr(), tiles.shape[0]
        made.tile_height, made.tile_width = tile
        self._kept.append(tiles)
        for name, value in (("fresh", fresh), ("displacement", displacement)):
            if value is not None:
                if not value.is_contiguous():
                    raise ValueError(f"{name} must be contiguous")
                setattr(made, name, value.data_ptr())
                self._kept.append(value)

    def set_origins(self, index: int, origins: torch.Tensor) -> None:
        """Where the values of a set's maps lie (`kernels.ops.cpu.reuse.origins`): int32, one a position."""
        self._array[index].origins = origins.data_ptr()
        self._kept.append(origins)

    def tiling(self, index: int) -> int:
        """Address of (tiles, count, tile height, tile width) of an active set, for callers that fill it."""
        return ctypes.addressof(self._array[index]) + _ActiveSet.tiles.offset

    @property
    def array(self) -> Any:
        return self._array


class ArenaTable:
    """The memory of several arenas, the frame's own first, as the C++ library reads it; keeps it alive."""

    def __init__(self, memories: Sequence[torch.Tensor]) -> None:
        self._kept = list(memories)
        self._array = (_pointer * len(memories))(*(memory.data_ptr() for memory in memories))

    @property
    def array(self) -> Any:
        return self._array


class Program:
    """A list of operations on maps at fixed addresses; every frame supplies the memory and the active sets.

    Each takes the index of the active set of its output, and of its source where that is another.
    """

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._kept: list[Any] = []
        self._array: Any = None

    def __len__(self) -> int:
        return len(self._steps)

    def convolve(
        self,
        convolution: PackedConvolution,
        source: MapAddress,
        source_set: int,
        out: MapAddress,
        set_index: int,
        halo: bool,
        residual: MapAddress | None = None,
        out_row: int = 0,
    ) -> None:
        """`convolve`; `out_row` positions lie between the starts of two output rows."""
        packed = convolution.extra
        step = self._step(_CONVOLVE, source, source_set, out, set_index, halo)
        step.out_row = out_row
        if residual is not None:
            step.second = _map_address(residual)
        step.activation, step.slope = packed.activation, convolution.slope
        step.geometry = ctypes.addressof(packed.geometry)
        step.weight = convolution.weight.data_ptr()
        step.bias = convolution.bias.data_ptr()
        step.zeros = packed.zeros.data_ptr()
        self._kept.append(convolution)

    def pool(
        self,
        kind: str,
        window: Window,
        source: MapAddress,
        source_set: int,
        out: MapAddress,
        set_index: int,
        halo: bool,
        channels: int,
        count_padding: bool,
    ) -> None:
        """`pool`."""
        step = self._step(_POOL, source, source_set, out, set_index, halo)
        geometry = (_long * 8)(*window.kernel, *window.stride, *window.padding, *window.dilation)
        self._kept.append(geometry)
        step.geometry = ctypes.addressof(geometry)
        step.operation, step.flag, step.channels = kind == "max", count_padding, channels

    def pointwise(
        self,
        operation: str,
        first: MapAddress,
        second: MapAddress | None,
        out: MapAddress,
        set_index: int,
        channels: int,
        activation: str,
        slope: float,
    ) -> None:
        """`pointwise`."""
        step = self._step(_POINTWISE, first, set_index, out, set_index, False)
        if second is not None:
            step.second = _map_address(second)
        step.operation, step.channels = OPERATIONS.index(operation), channels
        step.activation, step.slope = ACTIVATIONS.index(activation), slope

    def nearest(
        self, source: MapAddress, source_set: int, out: MapAddress, set_index: int, halo: bool, channels: int
    ) -> None:
        """`upsample` with mode "nearest"."""
        self._step(_NEAREST, source, source_set, out, set_index, halo).channels = channels

    def shuffle(
        self,
        source: MapAddress,
        out: MapAddress,
        set_index: int,
        factor: tuple[int, int],
        order: Sequence[int],
        channels: int,
        activation: str,
        slope: float,
    ) -> None:
        """A patch of (down, across) for each source position of the active set, `channels` of the output
        each: the source's channels in this order.
        """
        step = self._step(_SHUFFLE, source, set_index, out, set_index, False)
        geometry = (_long * (2 + len(order)))(*factor, *order)
        self._kept.append(geometry)
        step.geometry, step.channels = ctypes.addressof(geometry), channels
        step.activation, step.slope = ACTIVATIONS.index(activation), slope

    def remap(self, address: MapAddress, set_index: int, channels: int) -> None:
        """`remap` of the reference's cache to the same address of this frame's."""
        self._step(_REMAP, address, set_index, address, set_index, False).channels = channels

    def run(
        self,
        begin: int,
        end: int,
        sets: ActiveSetTable,
        cache: torch.Tensor,
        workspace: torch.Tensor,
        reference: torch.Tensor | None,
        arenas: ArenaTable | None = None,
    ) -> None:
        """Run steps [begin, end) on float32 memory: of the frame's cache, workspace and reference's cache.

        Active sets with origins read the arenas that these name, in place of the reference's cache.
        """
        library().fluxshard_program_in(
            _pointer(self.address(begin)),
            _long(end - begin),
            sets.array,
            _pointer(cache.data_ptr()),
            _pointer(workspace.data_ptr()),
            _pointer(cache.data_ptr() if reference is None else reference.data_ptr()),
            None if arenas is None else arenas.array,
        )

    def address(self, step: int) -> int:
        """The address of a step; no more may be added afterwards."""
        if self._array is None or len(self._array) != len(self._steps):
            self._array = (_Step * len(self._steps))(*self._steps)
        return ctypes.addressof(self._array) + step * ctypes.sizeof(_Step)

    def _step(
        self, kind: int, source: MapAddress, source_set: int, out: MapAddress, set_index: int, halo: bool
    ) -> _Step:
        step = _Step(kind=kind, source_set=source_set, set_index=set_index, halo=halo)
        step.source, step.out = _map_address(source), _map_address(out)
        step.second = _MapAddress(0, -1, 0)
        self._steps.append(step)
        return step


def _map_address(address: MapAddress) -> _MapAddress:
    return _MapAddress(int(address.in_workspace), address.offset, address.pixel_stride)
