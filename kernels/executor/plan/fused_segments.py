"""Segments of a plan that a backend runs in one call: consecutive nodes fused into one program.

The C++ backend has programs (`kernels.ops.cpu.program`); with any other every node is a call of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from kernels.executor.graph.nodes import (
    Concat,
    Convolution,
    Input,
    Pointwise,
    Pooling,
    Slice,
    TransposedConvolution,
    Upsample,
)
from kernels.executor.plan.execution_plan import BufferSlice, ExecutionPlan, reads_neighbourhood
from kernels.ops.cpu.program import ActiveSetTable, MapAddress, Program
from kernels.ops.maps import Window


@dataclass(slots=True)
class FusedSegments:
    """The programs of a plan.

    Attributes:
        program: the steps of all segments.
        spans: by first node: first step, one past the last step, one past the last node.
        remaps: one remap for each kept buffer slice.
        remap_of: index in `remaps` of each kept buffer slice.
        margin_px: how far around an active block the frame is read; None where it may be read anywhere.
        sizes: (height, width) of each active set that the steps refer to.
    """

    program: Program = field(default_factory=Program)
    spans: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    remaps: Program = field(default_factory=Program)
    remap_of: dict[BufferSlice, int] = field(default_factory=dict)
    margin_px: int | None = None
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def new_table(self) -> ActiveSetTable:
        """An empty table of active sets, to be filled for one frame."""
        return ActiveSetTable(self.sizes)


@dataclass(frozen=True, slots=True)
class SegmentLayout:
    """How the steps of a program find the active sets of a frame.

    Attributes:
        node_sets: for each map node, the index of its active set in a frame's `ActiveSetTable`; None for
            tensors that are no maps.
        sizes: (height, width) of each active set.
        halos: whether a map is read through its halo; without, every map is complete when it is read.
        complete: nodes that are computed everywhere by other means: no steps are made for them, and they are
            read without a halo.
        patches: for `TransposedConvolution` nodes, the active set of the input positions that make their
            patches, where it is not that of the input.
        remaps: whether each map is remapped before it is computed, where its active set has a displacement.
    """

    node_sets: list[int | None]
    sizes: list[tuple[int, int]]
    halos: bool = True
    complete: frozenset[int] = frozenset()
    patches: Mapping[int, int] = field(default_factory=dict)
    remaps: bool = False

    def set_of(self, node: int) -> int:
        """Index of the active set of a map node."""
        found = self.node_sets[node]
        if found is None:
            raise TypeError(f"node {node} is no map")
        return found


def by_resolution(plan: ExecutionPlan, complete: frozenset[int] = frozenset()) -> SegmentLayout:
    """One active set a resolution: all maps of a resolution share it."""
    sizes = [(resolution.height, resolution.width) for resolution in plan.resolutions]
    return SegmentLayout(plan.node_resolutions, sizes, complete=complete)


def fuse_segments(plan: ExecutionPlan, layout: SegmentLayout | None = None) -> FusedSegments | None:
    """Compile the nodes that a program can run; None where no operation is done by a backend with programs.

    Only for displacements in whole positions: a bilinear plan remaps its maps before they are read.

    Args:
        plan: of the network.
        layout: `by_resolution` unless given.
    """
    if (
        plan.device.type != "cpu"
        or plan.bilinear
        or plan.remap_backend is None
        or plan.remap_backend.name != "cpu"
    ):
        return None
    layout = layout or by_resolution(plan)
    segments = FusedSegments(sizes=layout.sizes)
    first, start = 1, 0  # node 0 is the frame
    for index, node in enumerate(plan.nodes):
        if isinstance(node.operation, (Input, Slice)) or compile_node(plan, layout, segments.program, index):
            continue
        if len(segments.program) > start:
            segments.spans[first] = (start, len(segments.program), index)
        first, start = index + 1, len(segments.program)
    if len(segments.program) > start:
        segments.spans[first] = (start, len(segments.program), len(plan.nodes))
    if not layout.halos:
        return segments
    for buffer, parts in plan.kept.items():
        for part in parts:
            segments.remap_of[part] = len(segments.remaps)
            segments.remaps.remap(_address(plan, part), plan.buffer_resolutions[buffer], part.channels)
    segments.margin_px = _frame_margin(plan, segments)
    return segments


def _frame_margin(plan: ExecutionPlan, segments: FusedSegments) -> int | None:
    margin_px = 0
    if plan.kept.get(plan.slice_of(0).buffer) or 0 in plan.graph.output_nodes():
        return None
    for reader in plan.graph.consumers()[0]:
        node = plan.nodes[reader]
        inside = any(first <= reader < end for first, (_, _, end) in segments.spans.items())
        if not inside or not isinstance(node.operation, (Convolution, Pooling)):
            return None
        window = node.operation.window
        for axis in (0, 1):
            reach = (window.kernel[axis] - 1) * window.dilation[axis]
            margin_px = max(margin_px, window.padding[axis], reach)
    return margin_px


def _address(plan: ExecutionPlan, part: BufferSlice) -> MapAddress:
    in_workspace = part.buffer in plan.workspace
    return MapAddress(
        in_workspace, plan.offsets[part.buffer] + part.start, plan.buffer_shapes[part.buffer][2]
    )


def compile_node(plan: ExecutionPlan, layout: SegmentLayout, program: Program, index: int) -> bool:
    """Append a node's steps; False if it has to run by itself."""
    node = plan.nodes[index]
    if index in layout.complete:
        return False
    operation: Any = node.operation
    if isinstance(operation, Concat) and index not in plan.copies:
        return True
    if index not in plan.backends or plan.backends[index].name != "cpu":
        return False
    out, set_index = _address(plan, plan.slice_of(index)), layout.set_of(index)
    if isinstance(operation, Concat):
        for copied, start in plan.copies[index]:
            part = plan.slice_of(copied)
            target = MapAddress(out.in_workspace, out.offset + start, out.pixel_stride)
            program.pointwise(
                "copy", _address(plan, part), None, target, set_index, part.channels, "none", 0.0
            )
        return True
    nearest = isinstance(operation, Upsample) and operation.mode == "nearest"
    if not nearest and not isinstance(operation, (Convolution, TransposedConvolution, Pooling, Pointwise)):
        return False
    if layout.remaps:
        program.remap(out, set_index, node.map_shape()[2])
    read = node.inputs[0]
    source, source_set = _address(plan, plan.slice_of(read)), layout.set_of(read)
    halo = layout.halos and read != 0 and read not in layout.complete and reads_neighbourhood(node, 0)
    second = _address(plan, plan.slice_of(node.inputs[1])) if len(node.inputs) == 2 else None
    if second is not None and plan.nodes[node.inputs[1]].map_shape()[:2] != node.map_shape()[:2]:
        second = replace(second, pixel_stride=0)  # one position for all
    if isinstance(operation, Convolution):
        row = node.map_shape()[1]
        program.convolve(plan.convolutions[index], source, source_set, out, set_index, halo, second, row)
    elif isinstance(operation, TransposedConvolution):
        _compile_transposed(
            plan, program, index, operation, source, layout.patches.get(index, source_set), out
        )
    elif isinstance(operation, Pooling):
        channels = node.map_shape()[2]
        program.pool(
            operation.kind,
            operation.window,
            source,
            source_set,
            out,
            set_index,
            halo,
            channels,
            operation.count_padding,
        )
    elif isinstance(operation, Pointwise):
        channels = node.map_shape()[2]
        program.pointwise(
            operation.function,
            source,
            second,
            out,
            set_index,
            channels,
            operation.activation,
            operation.slope,
        )
    else:
        program.nearest(source, source_set, out, set_index, halo, node.map_shape()[2])
    return True


def _compile_transposed(
    plan: ExecutionPlan,
    program: Program,
    index: int,
    operation: TransposedConvolution,
    source: MapAddress,
    set_index: int,
    out: MapAddress,
) -> None:
    """Copies, or 1×1 convolutions whose outputs lie `factor` apart, down and across.

    One for each row of a patch, whose pixels lie side by side: with few channels, each alone would leave most
    of a vector empty. One for each pixel where the map is part of a wider one.
    """
    down, across = operation.factor
    width = plan.nodes[index].map_shape()[1]
    channels = operation.outputs
    if operation.order:
        program.shuffle(
            source,
            out,
            set_index,
            operation.factor,
            operation.order,
            channels,
            operation.activation,
            operation.slope,
        )
        return
    module = plan.backends[index].module
    side_by_side = across if out.pixel_stride == channels else 1
    for row in range(down):
        for column in range(0, across, side_by_side):
            first = (row * across + column) * channels
            part = slice(first, first + channels * side_by_side)
            packed = module.pack_convolution(
                operation.weight[part],
                operation.bias[part],
                Window((1, 1)),
                1,
                operation.activation,
                operation.slope,
            )
            target = MapAddress(
                out.in_workspace,
                out.offset + (row * width + column) * out.pixel_stride,
                out.pixel_stride * across,
            )
            # One row of inputs is `down` rows of outputs, counted in steps of `across` pixels.
            program.convolve(
                packed, source, set_index, target, set_index, False, None, down * width // across
            )


def full_active_sets(
    segments: FusedSegments, tiles: dict[int, tuple[torch.Tensor, tuple[int, int]]]
) -> ActiveSetTable:
    """The active sets of a dense run: everything active, nothing from a reference."""
    table = segments.new_table()
    for index, (listed, tile) in tiles.items():
        table.set(index, listed, tile)
    return table
