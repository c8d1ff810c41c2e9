"""What `truncate` prepares once a plan: the nodes that the C++ library runs, and what it moves and prunes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from kernels.executor.graph import tap_tables
from kernels.executor.graph.nodes import (
    Concat,
    Convolution,
    Input,
    Slice,
    TensorToMap,
    TransposedConvolution,
)
from kernels.executor.plan.execution_plan import ExecutionPlan, reads_neighbourhood
from kernels.executor.plan.fused_segments import SegmentLayout, compile_node
from kernels.ops.cpu.program import ActiveSetTable, MapAddress, Program
from kernels.ops.cpu.truncate import (
    AxisTaps,
    ChangedPositions,
    CompiledNodes,
    NodeInput,
    NodeKind,
    NodeMap,
    Reads,
)

# The C++ operations take as long for a position of a list as of a full map, so that little is at stake:
# YOLO11n-seg at 640, 1 thread, sets of 2 to 75 %, takes the same time to 2 % with 0.8, 0.9, 0.95 and 1.0, and
# up to 10 % more with 0.7, as what is computed beyond the candidates is found changed. Where hardly anything
# can be reused, 0.95 saves what comparing would cost.
BREAK_EVEN = 0.95


@dataclass(slots=True)
class CompiledTruncation:
    """What is compiled once a plan.

    Attributes:
        passing: convolutions whose maps are neither moved nor compared (`passing_convolutions`).
        masks: by map node, its positions in the masks of all maps; nodes that change together share them.
        nodes: what the C++ library runs, in order.
        schedule: what is run, in order: a range of `nodes`, or a node of the plan by itself.
        own: of the latter, by node of the plan, the one of `nodes` that marks its candidates and moves the
            rest (the last of the range before it), or that enters its tensor.
        order: of each of `nodes`, the node of the plan; one that copies several inputs is there for each.
        changed: by map node, what changed; empty if the library runs none.
    """

    passing: frozenset[int]
    masks: dict[int, slice]
    nodes: CompiledNodes
    schedule: list[tuple[int, int] | int] = field(default_factory=list)
    own: dict[int, int] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    changed: dict[int, ChangedPositions] = field(default_factory=dict)
    _resting: dict[int, torch.Tensor] = field(default_factory=dict)

    def resting(self, plan: ExecutionPlan, resolution: int) -> torch.Tensor:
        """The displacement of a resolution where nothing moves; not to be changed: frames share it."""
        if resolution not in self._resting:
            size = plan.resolutions[resolution].height, plan.resolutions[resolution].width
            kind = torch.float32 if plan.bilinear else torch.int16
            self._resting[resolution] = torch.zeros(*size, 2, dtype=kind, device=plan.device)
        return self._resting[resolution]

    @property
    def positions(self) -> int:
        """Positions of all masks."""
        return max((one.stop for one in self.masks.values()), default=0)

    def break_even(self, plan: ExecutionPlan, index: int) -> float:
        """Share of positions from which a node computes all; never, where its input is not complete."""
        if any(read in self.passing for read in plan.nodes[index].inputs):
            return math.inf
        return plan.break_even.get(index, BREAK_EVEN)

    def thresholds(
        self, plan: ExecutionPlan, epsilon_of: Callable[[int], float]
    ) -> tuple[list[float], list[float]]:
        """ε and break-even of each of `nodes`."""
        pruned = (Convolution, TensorToMap)
        epsilons = [
            epsilon_of(index) if isinstance(plan.nodes[index].operation, pruned) else 0.0
            for index in self.order
        ]
        return epsilons, [self.break_even(plan, index) for index in self.order]


def passing_convolutions(plan: ExecutionPlan) -> frozenset[int]:
    """Convolutions that are read only by 1×1 convolutions of nothing else."""

    def reads_alone(reader: int) -> bool:
        node = plan.nodes[reader]
        return (
            isinstance(node.operation, Convolution)
            and len(node.inputs) == 1
            and not reads_neighbourhood(node, 0)
        )

    readers, outputs = plan.graph.consumers(), set(plan.graph.output_nodes())
    return frozenset(
        index
        for index, node in enumerate(plan.nodes)
        if isinstance(node.operation, Convolution)
        and index not in outputs
        and all(map(reads_alone, readers[index]))
    )


def compile_truncation(plan: ExecutionPlan) -> CompiledTruncation:
    """Whole runs of nodes as one call where the C++ library does them; a node by itself otherwise."""
    program = Program()
    sizes = [node.map_shape()[:2] if node.is_map else (1, 1) for node in plan.nodes]
    table = ActiveSetTable(sizes)
    positions = torch.empty(max(height * width for height, width in sizes) + 1, 2, dtype=torch.int32)
    nodes = CompiledNodes(program, table, positions, len(plan.nodes))
    suits = plan.device.type == "cpu" and not plan.bilinear and plan.dtype == torch.float32
    if not suits or plan.remap_backend is None or plan.remap_backend.name != "cpu":
        nodes.finish()
        compiled = CompiledTruncation(passing_convolutions(plan), _mask_spans(plan), nodes)
        compiled.schedule.extend(range(1, len(plan.nodes)))
        return compiled
    layout = SegmentLayout(
        [index if node.is_map else None for index, node in enumerate(plan.nodes)], sizes, halos=False
    )
    steps: dict[int, tuple[int, int]] = {}
    for index, node in enumerate(plan.nodes):
        if not node.is_map:
            continue
        table.set(index, positions, (1, 1))
        first = len(program)
        if not isinstance(node.operation, (Input, Slice)) and compile_node(plan, layout, program, index):
            steps[index] = (first, len(program))
    return _Compiler(plan, nodes, steps).run()


class _Compiler:
    """Puts the nodes of a plan in order, with the positions that each marks."""

    def __init__(self, plan: ExecutionPlan, nodes: CompiledNodes, steps: dict[int, tuple[int, int]]) -> None:
        self._plan = plan
        self._steps = steps
        self._axes: dict[object, AxisTaps] = {}
        self._noted: set[int] = set()
        self._made = CompiledTruncation(passing_convolutions(plan), {}, nodes)

    def run(self) -> CompiledTruncation:
        plan, made, start = self._plan, self._made, 0
        made.changed[0] = self._own(0)
        for index, node in enumerate(plan.nodes[1:], start=1):
            if isinstance(node.operation, Slice):
                made.changed[index] = made.changed[node.inputs[0]]
                continue
            by_itself = index not in self._steps
            if not node.is_map:
                pass
            elif isinstance(node.operation, TensorToMap):
                made.changed[index] = self._own(index)
            elif by_itself and isinstance(node.operation, (Convolution, TransposedConvolution, Concat)):
                made.changed[index] = self._own(index)
                made.masks[index] = self._mask(index)
                self._noted.add(index)
            else:
                self._add(index)
                if by_itself:
                    made.own[index] = len(made.nodes) - 1
            if not by_itself:
                continue
            if len(made.nodes) > start:
                made.schedule.append((start, len(made.nodes)))
            if isinstance(node.operation, TensorToMap):
                made.own[index] = len(made.nodes)
                self._append(index, NodeKind.FOLLOW, Reads.AROUND, [])
            start = len(made.nodes)
            made.schedule.append(index)
        if len(made.nodes) > start:
            made.schedule.append((start, len(made.nodes)))
        made.nodes.finish()
        return made

    def _own(self, index: int) -> ChangedPositions:
        return ChangedPositions(
            torch.zeros(self._plan.nodes[index].map_shape()[:2], dtype=torch.uint8), index
        )

    def _mask(self, index: int) -> slice:
        height, width, _ = self._plan.nodes[index].map_shape()
        return slice(end := self._made.positions, end + height * width)

    def _add(self, index: int) -> None:
        """A node of which every position follows from what its inputs changed."""
        plan, made, node = self._plan, self._made, self._plan.nodes[index]
        kind = self._kind(index)
        inputs: dict[object, NodeInput] = {}
        in_place = True
        for read, taps in zip(node.inputs, node.taps, strict=True):
            changed = made.changed[read]
            one = NodeInput(changed, *map(self._axis, taps, changed.mask.shape))
            # Slices of one map that are read at the same positions count once.
            inputs.setdefault((changed.count, id(one.vertical), id(one.horizontal)), one)
            in_place &= all(map(_reads_its_own_place, taps, changed.mask.shape))
        reads = Reads.SAME if in_place and len(inputs) == 1 else Reads.AROUND
        source = node.inputs[0]
        if reads is Reads.SAME and kind in (NodeKind.UNION, NodeKind.FOLLOW) and index in self._steps:
            reads = Reads.SHARED
            made.changed[index] = made.changed[source]
            while isinstance(plan.nodes[source].operation, Slice):
                source = plan.nodes[source].inputs[0]
            if source in self._noted:
                made.masks[index] = made.masks[source]
                self._noted.add(index)
        else:
            made.changed[index] = self._own(index)
        self._append(index, kind, reads, list(inputs.values()))

    def _kind(self, index: int) -> NodeKind:
        plan, operation = self._plan, self._plan.nodes[index].operation
        if isinstance(operation, Concat):
            if index not in plan.copies:
                return NodeKind.UNION
            return NodeKind.COPY if copies_frame(plan, index) else NodeKind.FOLLOW
        if isinstance(operation, Convolution):
            return NodeKind.PASS if index in self._made.passing else NodeKind.PRUNE
        return NodeKind.TRANSPOSED if isinstance(operation, TransposedConvolution) else NodeKind.FOLLOW

    def _append(self, index: int, kind: NodeKind, reads: Reads, inputs: list[NodeInput]) -> None:
        plan, made = self._plan, self._made
        steps = self._steps.get(index, (0, 0))
        part = plan.slice_of(index)
        # A concatenation has a step for each input that it copies.
        whole = kind in (NodeKind.UNION, NodeKind.COPY)
        pieces = [(0, part.channels)] if whole else moved_channels(plan, index)
        notes = kind not in (NodeKind.UNION, NodeKind.PASS) and index not in made.masks
        if notes:
            made.masks[index] = self._mask(index)
            self._noted.add(index)
        if kind is NodeKind.UNION and reads is Reads.SHARED:
            return
        for number, (start, channels) in enumerate(pieces):
            own = steps if len(pieces) == 1 else (steps[0] + number, steps[0] + number + 1)
            first = plan.offsets[part.buffer] + part.start + start
            address = MapAddress(False, first, plan.buffer_shapes[part.buffer][2])
            mask = made.masks[index].start if index in made.masks else 0
            made.order.append(index)
            made.nodes.add(
                kind,
                reads if number == 0 else Reads.SHARED,
                inputs,
                made.changed[index],
                own,
                plan.nodes[index].inputs[0] if kind is NodeKind.TRANSPOSED else index,
                NodeMap(address, channels, plan.resolution_of(index), mask, notes and number == 0),
            )

    def _axis(self, table: torch.Tensor, size: int) -> AxisTaps:
        strided = tap_tables.strided_form(table, size)
        key = id(table) if strided is None else (*table.shape, size, strided)
        if key not in self._axes:
            self._axes[key] = AxisTaps(table.to(torch.int32).contiguous(), strided)
        return self._axes[key]


def _reads_its_own_place(table: torch.Tensor, size: int) -> bool:
    return table.shape[0] == size and tap_tables.is_identity(table)


def _mask_spans(plan: ExecutionPlan) -> dict[int, slice]:
    spans: dict[int, slice] = {}
    end = 0
    for index, node in enumerate(plan.nodes):
        if node.is_map:
            height, width, _ = node.map_shape()
            spans[index] = slice(end, end + height * width)
            end += height * width
    return spans


def moved_channels(plan: ExecutionPlan, index: int) -> list[tuple[int, int]]:
    """(first, count) of the channels of a map; of a concatenation, of those that are copied into it."""
    if index in plan.copies:
        return [(start, plan.nodes[source].map_shape()[2]) for source, start in plan.copies[index]]
    return [(0, plan.nodes[index].map_shape()[2])]


def copies_frame(plan: ExecutionPlan, index: int) -> bool:
    """Whether a concatenation copies anything of the frame, which is new everywhere."""
    for source, _ in plan.copies.get(index, ()):
        while isinstance(plan.nodes[source].operation, Slice):
            source = plan.nodes[source].inputs[0]
        if source == 0:
            return True
    return False
