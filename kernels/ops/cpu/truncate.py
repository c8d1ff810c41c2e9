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
    map is neither moved nor compared. FOLLOW: it computes, and its result counts as changed; without steps,
    its candidates are listed for the caller to compute. TRANSPOSED: the same, at the positions of its input.
    """

    UNION, COPY, PRUNE, PASS, FOLLOW, TRANSPOSED = range(6)


class Reads(IntEnum):
    """How a node's candidates follow from its inputs, as in truncate.cpp.

    AROUND: what the taps say. SAME: each position that of one input. SHARED: the same, in the same memory.
    """

    AROUND, SAME, SHARED = range(3)


class _Input(ctypes.Structure):
    _fields_ = [
        ("changed", _pointer),
        ("found", _pointer),
        ("height", _long),
        ("width", _long),
        ("vertical", AxisStructure),
        ("horizontal", AxisStructure),
    ]


class _Node(ctypes.Structure):
    _fields_ = [
        ("kind", _long),
        ("reads", _long),
        ("input_count", _long),
        ("inputs", _pointer),
        ("height", _long),
        ("width", _long),
        ("changed", _pointer),
        ("found", _pointer),
        ("steps", _pointer),
        ("step_count", _long),
        ("tiling", _pointer),
        *((name, _long) for name in ("resolution", "offset", "pixel_stride", "channels")),
        ("mask", _long),
        ("notes", _long),
        *((name, _pointer) for name in ("epsilon", "break_even", "computed")),
    ]


class _Frame(ctypes.Structure):
    _fields_ = [
        ("sets", _pointer),
        ("list", _pointer),
        ("displacements", _pointer),
        ("still", ctypes.c_char_p),
        *((name, _pointer) for name in ("cache", "reference", "up_to_date", "unmoved")),
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
class ChangedPositions:
    """What changed in a map: uint8 (H, W), and which of the counts of `CompiledNodes` is theirs."""

    mask: torch.Tensor
    count: int


@dataclass(frozen=True, slots=True)
class NodeInput:
    """One input of a node: its changed positions, and the taps along both axes."""

    changed: ChangedPositions
    vertical: AxisTaps
    horizontal: AxisTaps


@dataclass(frozen=True, slots=True)
class NodeMap:
    """The map of a node in a cache.

    Attributes:
        address, channels: where it lies.
        resolution: which of the displacements it moves along.
        mask: its first position in the masks of all maps.
        notes: whether the node notes there where it was not moved; otherwise another does, whose map changes
            at the same positions.
    """

    address: MapAddress
    channels: int
    resolution: int
    mask: int
    notes: bool


class CompiledNodes:
    """The nodes of a plan that the C++ library runs, in order.

    Args:
        program: their steps, all of them.
        sets: the active sets that the steps refer to; their tiles are listed in `positions`.
        positions: int32 (n, 2), room for the positions of the largest map.
        masks: how many different `ChangedPositions` there are.

    Attributes:
        found: of each of these, how many positions are set.
    """

    def __init__(
        self, program: Program, sets: ActiveSetTable, positions: torch.Tensor, masks: int = 0
    ) -> None:
        self.found = (_long * masks)()
        self._program = program
        self._sets = sets
        self._positions = positions
        self._nodes: list[_Node] = []
        self._kept: list[Any] = []
        self._array: Any = None
        self._epsilon: Any = None
        self._break_even: Any = None
        self._computed: Any = None
        self._frame: Any = None
        self._frame_kept: Any = None

    def __len__(self) -> int:
        return len(self._nodes)

    def add(
        self,
        kind: NodeKind,
        reads: Reads,
        inputs: Sequence[NodeInput],
        changed: ChangedPositions,
        steps: tuple[int, int],
        set_index: int,
        to: NodeMap,
    ) -> None:
        """Append a node.

        Args:
            kind: what it does.
            reads: how it reads `inputs`.
            changed: where its changed positions are to be marked.
            steps: first of its steps in the program, and the one behind the last.
            set_index: the active set that they refer to.
            to: its map.
        """
        made_inputs = (_Input * len(inputs))()
        for made, one in zip(made_inputs, inputs, strict=True):
            made.changed, made.found = one.changed.mask.data_ptr(), self._count(one.changed)
            made.height, made.width = one.changed.mask.shape
            made.vertical, made.horizontal = self._axis(one.vertical), self._axis(one.horizontal)
        node = _Node(kind=kind, reads=reads, input_count=len(inputs), inputs=ctypes.addressof(made_inputs))
        node.height, node.width = changed.mask.shape
        node.changed, node.found = changed.mask.data_ptr(), self._count(changed)
        node.steps, node.step_count = self._program.address(steps[0]), steps[1] - steps[0]
        node.tiling = self._sets.tiling(set_index)
        node.resolution, node.mask, node.notes = to.resolution, to.mask, to.notes
        node.offset, node.pixel_stride, node.channels = (
            to.address.offset,
            to.address.pixel_stride,
            to.channels,
        )
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

    def computed(self) -> list[int]:
        """How many positions of each node the last run computed."""
        return list(self._computed)

    def set_computed(self, node: int, positions: int) -> None:
        """Say how many positions of a node the caller computed."""
        self._computed[node] = positions

    def candidates(self, node: int) -> tuple[torch.Tensor, tuple[int, int]]:
        """Tiles and their size: what is to be computed of a node without steps that has just run."""
        made = self._array[node]
        found = self._computed[node]
        if found == made.height * made.width:
            return torch.zeros(1, 2, dtype=torch.int32), (made.height, made.width)
        return self._positions[:found], (1, 1)

    def begin(
        self,
        epsilon: Sequence[float],
        break_even: Sequence[float],
        displacements: Sequence[torch.Tensor],
        still: bytes,
        memory: tuple[torch.Tensor, torch.Tensor],
        up_to_date: torch.Tensor | None,
        unmoved: torch.Tensor,
    ) -> None:
        """Prepare for a frame.

        Args:
            epsilon: the threshold of each node.
            break_even: the share of positions from which all are computed, of each node.
            displacements: of each resolution, int16 (H, W, 2).
            still: whether all of these are 0, a byte each.
            memory: float32, of this frame's cache and of the reference's.
            up_to_date: bool, where the first has the values of the second already; None for nowhere.
            unmoved: bool, set where it then has them, at the same position.
        """
        self._epsilon[:] = epsilon
        self._break_even[:] = break_even
        moves = (_pointer * len(displacements))(*(one.data_ptr() for one in displacements))
        cache, reference = memory
        self._frame = _Frame(
            ctypes.addressof(self._sets.array),
            self._positions.data_ptr(),
            ctypes.addressof(moves),
            still,
            cache.data_ptr(),
            reference.data_ptr(),
            None if up_to_date is None else up_to_date.data_ptr(),
            unmoved.data_ptr(),
        )
        self._frame_kept = moves, displacements, still, memory, up_to_date, unmoved

    def end(self) -> None:
        """The frame is done: what it needed is no longer held."""
        self._frame = self._frame_kept = None

    def mark_blocks(self, changed: ChangedPositions, active: torch.Tensor, block_px: int) -> None:
        """Mark the pixels of active blocks, bool (rows, columns), and count them."""
        blocks = active.contiguous()
        library().fluxshard_truncate_blocks(
            _pointer(blocks.data_ptr()),
            *(_long(size) for size in (blocks.shape[1], block_px, *changed.mask.shape)),
            _pointer(changed.mask.data_ptr()),
            _pointer(self._count(changed)),
        )

    def run(self, begin: int, end: int) -> None:
        """Run nodes [begin, end)."""
        library().fluxshard_truncate(ctypes.byref(self._frame), self._address(begin), _long(end - begin))

    def enter(self, node: int, values: torch.Tensor | None) -> None:
        """Make a node's map from a tensor, float32 (H, W, C), contiguous; None: nothing changed in it."""
        library().fluxshard_truncate_enter(
            ctypes.byref(self._frame),
            self._address(node),
            _pointer(None if values is None else values.data_ptr()),
        )

    def put(self, node: int, values: torch.Tensor) -> None:
        """Write the candidates of a node that has just run from a whole map, float32 (H, W, C)."""
        library().fluxshard_truncate_put(
            ctypes.byref(self._frame),
            self._address(node),
            _pointer(values.data_ptr()),
            *(_long(step) for step in values.stride()),
        )

    def _address(self, node: int) -> Any:
        return _pointer(ctypes.addressof(self._array) + node * ctypes.sizeof(_Node))

    def _count(self, changed: ChangedPositions) -> int:
        return ctypes.addressof(self.found) + changed.count * ctypes.sizeof(_long)

    def _axis(self, axis: AxisTaps) -> AxisStructure:
        self._kept.append(axis.table)
        return axis_structure(axis.table, axis.strided)
