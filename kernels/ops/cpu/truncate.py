"""The policy `truncate` for many nodes in one call into the C++ library: the structures of truncate.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch

from kernels.ops.cpu.axis import AxisStructure, axis_structure
from kernels.ops.cpu.loader import library
from kernels.ops.cpu.program import ActiveSetTable, MapAddress, Program

_long = ctypes.c_int64
_pointer = ctypes.c_void_p
_double = ctypes.c_double


class NodeKind(IntEnum):
    """What a node does, as in truncate.cpp.

    UNION: nothing; it changed where any of its inputs did. COPY: the same, and inputs are copied everywhere.
    PRUNE: it computes, and its result is compared. PASS: it computes, and is read only where it did, so its
    map is neither moved nor compared. FOLLOW: it computes, and its result counts as changed. TRANSPOSED: the
    same, at the positions of its input.
    """

    UNION, COPY, PRUNE, PASS, FOLLOW, TRANSPOSED = range(6)


class _Input(ctypes.Structure):
    _fields_ = [
        ("changed", _pointer),
        ("height", _long),
        ("width", _long),
        ("vertical", AxisStructure),
        ("horizontal", AxisStructure),
    ]


class _Node(ctypes.Structure):
    _fields_ = [
        ("kind", _long),
        ("input_count", _long),
        ("inputs", _pointer),
        ("height", _long),
        ("width", _long),
        ("changed", _pointer),
        ("steps", _pointer),
        ("step_count", _long),
        ("tiling", _pointer),
        *((name, _long) for name in ("resolution", "offset", "pixel_stride", "channels", "mask")),
        *((name, _pointer) for name in ("epsilon", "break_even", "computed")),
    ]


@dataclass(frozen=True, slots=True)
class AxisTaps:
    """The inputs that the outputs of one axis read.

    Attributes:
        table: int32 (outputs, K), negative where it is padding.
        strided: (stride, start, dilation), or None where only the table describes it.
    """

    table: torch.Tensor
    strided: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class NodeInput:
    """One input of a node: its changed positions, uint8 (h, w), and the taps along both axes."""

    changed: torch.Tensor
    vertical: AxisTaps
    horizontal: AxisTaps


class CompiledNodes:
    """The nodes of a plan that the C++ library runs, in order.

    Args:
        program: their steps, all of them.
        sets: the active sets that the steps refer to; their tiles are listed in `positions`.
        positions: int32 (n, 2), room for the positions of the largest map.
    """

    def __init__(self, program: Program, sets: ActiveSetTable, positions: torch.Tensor) -> None:
        self._program = program
        self._sets = sets
        self._positions = positions
        self._nodes: list[_Node] = []
        self._kept: list[Any] = []
        self._array: Any = None
        self._epsilon: Any = None
        self._break_even: Any = None
        self._computed: Any = None

    def __len__(self) -> int:
        return len(self._nodes)

    def add(
        self,
        kind: NodeKind,
        inputs: Sequence[NodeInput],
        changed: torch.Tensor,
        steps: tuple[int, int],
        set_index: int,
        resolution: int,
        address: MapAddress,
        channels: int,
        mask: int,
    ) -> None:
        """Append a node.

        Args:
            kind: what it does.
            inputs: what it reads.
            changed: uint8 (H, W), where its changed positions are to be marked.
            steps: first of its steps in the program, and the one behind the last.
            set_index: the active set that they refer to.
            resolution: which of the displacements its map moves along.
            address, channels: of its map.
            mask: its first position in the masks of all maps.
        """
        made_inputs = (_Input * len(inputs))()
        for made, one in zip(made_inputs, inputs, strict=True):
            made.changed = one.changed.data_ptr()
            made.height, made.width = one.changed.shape
            made.vertical, made.horizontal = self._axis(one.vertical), self._axis(one.horizontal)
        node = _Node(kind=kind, input_count=len(inputs), inputs=ctypes.addressof(made_inputs))
        node.height, node.width = changed.shape
        node.changed = changed.data_ptr()
        node.steps, node.step_count = self._program.address(steps[0]), steps[1] - steps[0]
        node.tiling = self._sets.tiling(set_index)
        node.resolution, node.offset, node.pixel_stride = resolution, address.offset, address.pixel_stride
        node.channels, node.mask = channels, mask
        self._kept += [made_inputs, changed, *inputs]
        self._nodes.append(node)

    def finish(self) -> None:
        """No more nodes are coming."""
        count = len(self._nodes)
        self._array = (_Node * count)(*self._nodes)
        self._epsilon, self._break_even, self._computed = (
            (_double * count)(),
            (_double * count)(),
            (_long * count)(),
        )
        for index, node in enumerate(self._array):
            node.epsilon = ctypes.addressof(self._epsilon) + index * ctypes.sizeof(_double)
            node.break_even = ctypes.addressof(self._break_even) + index * ctypes.sizeof(_double)
            node.computed = ctypes.addressof(self._computed) + index * ctypes.sizeof(_long)

    def set(self, epsilon: Sequence[float], break_even: Sequence[float]) -> None:
        """For a frame: the threshold of each node, and the share of positions from which all are computed."""
        self._epsilon[:] = epsilon
        self._break_even[:] = break_even

    def computed(self) -> list[int]:
        """How many positions of each node the last run computed."""
        return list(self._computed)

    def run(
        self,
        begin: int,
        end: int,
        displacements: Sequence[torch.Tensor],
        still: bytes,
        cache: torch.Tensor,
        reference: torch.Tensor,
        up_to_date: torch.Tensor | None,
        unmoved: torch.Tensor,
    ) -> None:
        """Nodes begin to end on the float32 memory of this frame's cache, and of the reference's.

        Args:
            displacements: of each resolution, int16 (H, W, 2).
            still: whether all of these are 0, a byte each.
            up_to_date: bool, where `cache` has the values of `reference` already; None for nowhere.
            unmoved: bool, set where it then has them, at the same position.
        """
        moves = (_pointer * len(displacements))(*(one.data_ptr() for one in displacements))
        library().fluxshard_truncate(
            _pointer(ctypes.addressof(self._array) + begin * ctypes.sizeof(_Node)),
            _long(end - begin),
            self._sets.array,
            _pointer(self._positions.data_ptr()),
            moves,
            still,
            _pointer(cache.data_ptr()),
            _pointer(reference.data_ptr()),
            _pointer(None if up_to_date is None else up_to_date.data_ptr()),
            _pointer(unmoved.data_ptr()),
        )

    def _axis(self, axis: AxisTaps) -> AxisStructure:
        self._kept.append(axis.table)
        return axis_structure(axis.table, axis.strided)
