"""What `truncate` prepares once a plan: the nodes that the C++ library runs, and what it moves and prunes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from kernels.executor.graph import tap_tables
from kernels.executor.graph.nodes import Concat, Convolution, Input, Slice, TransposedConvolution
from kernels.executor.plan.execution_plan import ExecutionPlan, reads_neighbourhood
from kernels.executor.plan.fused_segments import SegmentLayout, compile_node
from kernels.ops.cpu.program import ActiveSetTable, MapAddress, Program
from kernels.ops.cpu.truncate import AxisTaps, CompiledNodes, NodeInput, NodeKind

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
        masks: by map node, its positions in the masks of all maps.
        nodes: the nodes that the C++ library runs, in order.
        spans: runs of these, by their first node of the plan: first and one past the last of `nodes`, one
            past the last of the plan.
        order: of each of `nodes`, the node of the plan; one that copies several inputs is there for each.
        changed: by map node, uint8 (H, W); empty if the library runs none.
    """

    passing: frozenset[int]
    masks: dict[int, slice]
    nodes: CompiledNodes
    spans: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    changed: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def positions(self) -> int:
        """Positions of all maps."""
        return max((one.stop for one in self.masks.values()), default=0)

    def break_even(self, plan: ExecutionPlan, index: int) -> float:
        """Share of positions from which a node computes all; never, where its input is not complete."""
        if any(read in self.passing for read in plan.nodes[index].inputs):
            return math.inf
        return plan.break_even.get(index, BREAK_EVEN)

    def prepare(self, plan: ExecutionPlan, epsilon_of: Callable[[int], float]) -> None:
        """Set the thresholds of a frame."""
        epsilons = [
            epsilon_of(index) if isinstance(plan.nodes[index].operation, Convolution) else 0.0
            for index in self.order
        ]
        self.nodes.set(epsilons, [self.break_even(plan, index) for index in self.order])


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
    program = Program()
    sizes = [node.map_shape()[:2] if node.is_map else (1, 1) for node in plan.nodes]
    table = ActiveSetTable(sizes)
    positions = torch.empty(max(height * width for height, width in sizes) + 1, 2, dtype=torch.int32)
    compiled = CompiledTruncation(
        passing_convolutions(plan), _mask_spans(plan), CompiledNodes(program, table, positions)
    )
    suits = plan.device.type == "cpu" and not plan.bilinear and plan.dtype == torch.float32
    if not suits or plan.remap_backend is None or plan.remap_backend.name != "cpu":
        compiled.nodes.finish()
        return compiled
    layout = SegmentLayout(
        [index if node.is_map else None for index, node in enumerate(plan.nodes)], sizes, halos=False
    )
    steps: dict[int, tuple[int, int]] = {}
    for index, node in enumerate(plan.nodes):
        if not node.is_map:
            continue
        table.set(index, positions, (1, 1))
        if isinstance(node.operation, (Input, Slice)):
            continue
        first = len(program)
        if compile_node(plan, layout, program, index):
            steps[index] = (first, len(program))
    axes: dict[int, AxisTaps] = {}
    start, first = 0, 1
    for index, node in enumerate(plan.nodes):
        if node.is_map:
            sliced = isinstance(node.operation, Slice)
            compiled.changed[index] = (
                compiled.changed[node.inputs[0]] if sliced else torch.zeros(sizes[index], dtype=torch.uint8)
            )
            if sliced or index == 0:
                continue
        if index in steps:
            _add(plan, compiled, index, steps[index], axes)
            continue
        if len(compiled.nodes) > start:
            compiled.spans[first] = (start, len(compiled.nodes), index)
        start, first = len(compiled.nodes), index + 1
    if len(compiled.nodes) > start:
        compiled.spans[first] = (start, len(compiled.nodes), len(plan.nodes))
    compiled.nodes.finish()
    return compiled


def _add(
    plan: ExecutionPlan,
    compiled: CompiledTruncation,
    index: int,
    steps: tuple[int, int],
    axes: dict[int, AxisTaps],
) -> None:
    node = plan.nodes[index]
    kind = NodeKind.FOLLOW
    if isinstance(node.operation, Concat):
        kind = NodeKind.COPY if copies_frame(plan, index) else NodeKind.FOLLOW
        kind = kind if index in plan.copies else NodeKind.UNION
    elif isinstance(node.operation, Convolution):
        kind = NodeKind.PASS if index in compiled.passing else NodeKind.PRUNE
    elif isinstance(node.operation, TransposedConvolution):
        kind = NodeKind.TRANSPOSED

    def axis(table: torch.Tensor, size: int) -> AxisTaps:
        if id(table) not in axes:
            whole = table.to(torch.int32).contiguous()
            axes[id(table)] = AxisTaps(whole, tap_tables.strided_form(table, size))
        return axes[id(table)]

    inputs: dict[tuple[int, int, int], NodeInput] = {}
    for read, (vertical, horizontal) in zip(node.inputs, node.taps, strict=True):
        changed = compiled.changed[read]
        height, width = changed.shape
        one = NodeInput(changed, axis(vertical, height), axis(horizontal, width))
        # Slices of one map that are read at the same positions count once.
        inputs.setdefault((changed.data_ptr(), id(one.vertical), id(one.horizontal)), one)
    part = plan.slice_of(index)
    set_index = node.inputs[0] if kind is NodeKind.TRANSPOSED else index
    pieces = [(0, part.channels)] if kind in (NodeKind.UNION, NodeKind.COPY) else moved_channels(plan, index)
    for number, (start, channels) in enumerate(pieces):
        # A concatenation has a step for each input that it copies.
        own = steps if len(pieces) == 1 else (steps[0] + number, steps[0] + number + 1)
        first = plan.offsets[part.buffer] + part.start + start
        compiled.order.append(index)
        compiled.nodes.add(
            kind,
            list(inputs.values()),
            compiled.changed[index],
            own,
            set_index,
            plan.resolution_of(index),
            MapAddress(False, first, plan.buffer_shapes[part.buffer][2]),
            channels,
            compiled.masks[index].start,
        )


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
