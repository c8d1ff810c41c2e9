"""The execution plan of one graph: buffers of its maps, what a cache keeps, backends of its operations.

Concatenation and splitting move no data where a map can be written straight into its slice of the wider
buffer. What has to outlive a frame depends on the policy: `fixed` and `adaptive` need only maps that are read
around an active position (halos), at another resolution, or whole; `exact` and `truncate` need every map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from kernels.executor.graph import tap_tables
from kernels.executor.graph.nodes import (
    Concat,
    Convolution,
    Graph,
    Input,
    Node,
    Pointwise,
    Pooling,
    Slice,
    TensorToMap,
    TransposedConvolution,
    Upsample,
)
from kernels.executor.plan.resolution import Resolution, find_resolutions
from kernels.executor.plan.salient_outputs import salient_only_nodes
from kernels.ops import registry
from kernels.ops.maps import PackedConvolution, Window
from kernels.ops.registry import ChosenBackend


@dataclass(frozen=True, slots=True)
class BufferSlice:
    """Channels [start, start + channels) of a buffer."""

    buffer: int
    start: int
    channels: int


@dataclass(slots=True)
class ExecutionPlan:
    """Everything about a graph that does not depend on the frame.

    Attributes:
        graph: the nodes.
        bilinear: whether caches are sampled between positions.
        device, dtype: of the maps.
        buffer_shapes: (H, W, C) of every buffer.
        slices: the buffer slice of each map node; None for tensors that are no maps.
        copies: for a concatenation, the inputs that have to be copied into it: (input node, first channel).
        resolutions: the different resolutions of its maps.
        node_resolutions: for each map node, the index of its resolution; None for tensors that are no maps.
        everywhere, salient_only: the resolutions at which maps are computed, by index: those of all active
            blocks, and those of layers that are computed at salient ones only (`salient_outputs`).
        buffer_resolutions: the same for each buffer.
        offsets: first element of each buffer in the memory that holds it: a cache's arena or the workspace.
        cache_floats, workspace_floats: number of elements of these.
        kept: slices of each buffer that a cache must keep, adjacent ones merged.
        workspace: buffers that no cache keeps; one copy of them serves every frame.
        convolutions: packed for their backend, by node.
        torch_weights: weight and bias for torch's own convolution, where a dense run uses that instead of the
            backend's.
        backends: the backend of each operation, by node.
        remap_backend: the one that moves cached maps along the vectors.
        reported: nodes that reports list as layers: maps that are computed, not just concatenated or split.
        borders: per map node, which rows and columns read padding on some path: (bool (H,), bool (W,)).
        break_even: by node, the share of active positions from which it runs everywhere, where `calibrate`
            measured one under the policy that the plan was made for: for "fixed" tiles of blocks with their
            halos against the fastest full run there is, for "exact" and "truncate" a list of positions (and
            moving the rest) against the same kernel everywhere. Absent: the policy's own default, which for
            "fixed" is never.
    """

    graph: Graph
    bilinear: bool
    device: torch.device
    dtype: torch.dtype = torch.float32
    buffer_shapes: list[tuple[int, int, int]] = field(default_factory=list)
    slices: list[BufferSlice | None] = field(default_factory=list)
    copies: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    resolutions: list[Resolution] = field(default_factory=list)
    node_resolutions: list[int | None] = field(default_factory=list)
    everywhere: dict[int, Resolution] = field(default_factory=dict)
    salient_only: dict[int, Resolution] = field(default_factory=dict)
    buffer_resolutions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    cache_floats: int = 0
    workspace_floats: int = 0
    kept: dict[int, list[BufferSlice]] = field(default_factory=dict)
    workspace: set[int] = field(default_factory=set)
    convolutions: dict[int, PackedConvolution] = field(default_factory=dict)
    torch_weights: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = field(default_factory=dict)
    backends: dict[int, ChosenBackend] = field(default_factory=dict)
    remap_backend: ChosenBackend | None = None
    reported: list[int] = field(default_factory=list)
    borders: list[tuple[torch.Tensor, torch.Tensor] | None] = field(default_factory=list)
    break_even: dict[int, float] = field(default_factory=dict)

    @property
    def nodes(self) -> list[Node]:
        return self.graph.nodes

    def slice_of(self, node: int) -> BufferSlice:
        """The buffer slice of a map node."""
        found = self.slices[node]
        if found is None:
            raise TypeError(f"{self.nodes[node].name} is no map")
        return found

    def kept_slice(self, part: BufferSlice) -> BufferSlice:
        """The kept slice that contains `part`.

        Raises:
            KeyError: no cache keeps it.
        """
        for kept in self.kept[part.buffer]:
            if kept.start <= part.start and part.start + part.channels <= kept.start + kept.channels:
                return kept
        raise KeyError(part)

    def resolution_of(self, node: int) -> int:
        """Index of the resolution of a map node."""
        found = self.node_resolutions[node]
        if found is None:
            raise TypeError(f"{self.nodes[node].name} is no map")
        return found

    def computed_resolution(self, node: int) -> int:
        """Index of the resolution whose positions a node is computed at.

        Its own, but for a transposed convolution that of its input: each input position makes a patch.
        """
        source = self.nodes[node]
        return self.resolution_of(
            source.inputs[0] if isinstance(source.operation, TransposedConvolution) else node
        )


def build_plan(
    graph: Graph,
    policy: str,
    backend: str | None,
    device: torch.device,
    bilinear: bool = False,
    dtype: torch.dtype = torch.float32,
    salient_outputs: Sequence[str] = (),
) -> ExecutionPlan:
    """Assign buffers to the maps of a graph, decide what is kept under `policy`, and choose the backends.

    Args:
        salient_outputs: keys of the module's result that matter at salient blocks only.

    Raises:
        ValueError: a backend that was asked for cannot run here, or there is no such key.
    """
    plan = ExecutionPlan(graph=graph, bilinear=bilinear, device=device, dtype=dtype)
    plan.resolutions, plan.node_resolutions = find_resolutions(graph.nodes)
    _separate(plan, salient_only_nodes(graph, salient_outputs))
    _assign_buffers(plan)
    _mark_kept(plan, everything=policy not in ("fixed", "adaptive"))
    _lay_out(plan)
    _choose_backends(plan, backend)
    plan.reported = [
        index
        for index, node in enumerate(graph.nodes)
        if node.is_map and not isinstance(node.operation, (Input, Slice, Concat))
    ]
    plan.borders = [None] * len(graph.nodes)
    interned: dict[tuple[bool, ...], torch.Tensor] = {}
    for index, node in enumerate(graph.nodes):
        if node.is_map:
            rows, columns = (interned.setdefault(tuple(edge.tolist()), edge) for edge in _border(plan, node))
            plan.borders[index] = (rows, columns)
    return plan


def _separate(plan: ExecutionPlan, salient_only: frozenset[int]) -> None:
    """Give the nodes that are computed at salient blocks only resolutions of their own."""
    own: dict[int, int] = {}
    for index in sorted(salient_only):
        key = plan.resolution_of(index)
        if key not in own:
            own[key] = len(plan.resolutions)
            plan.resolutions.append(plan.resolutions[key])
        plan.node_resolutions[index] = own[key]
    computed = {
        plan.computed_resolution(index) for index, node in enumerate(plan.nodes) if node.is_map and index
    }
    computed |= {key for key in plan.node_resolutions[1:] if key is not None}
    for key in sorted(computed):
        (plan.salient_only if key in own.values() else plan.everywhere)[key] = plan.resolutions[key]


def reads_neighbourhood(node: Node, position: int) -> bool:
    """Whether a node reads its input number `position` anywhere but where it writes."""
    if isinstance(node.operation, (Pointwise, Concat, Slice)):
        return False
    if isinstance(node.operation, Convolution):
        window = node.operation.window
        return position == 0 and window != Window((1, 1))
    return not isinstance(node.operation, TransposedConvolution)


def pack_for_torch(operation: Convolution, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias as torch's own convolution takes them, for `ExecutionPlan.torch_weights`."""
    weight = operation.weight.to(dtype, memory_format=torch.channels_last)
    return weight, None if operation.bias is None else operation.bias.to(dtype)


def _assign_buffers(plan: ExecutionPlan) -> None:
    nodes = plan.nodes
    parent: dict[int, tuple[int, int]] = {}  # node -> (concatenation that owns it, first channel)
    for index, node in enumerate(nodes):
        if not isinstance(node.operation, Concat):
            continue
        start, position = 0, 0
        while position < len(node.inputs):
            base, taken = _whole_base(nodes, node.inputs, position)
            channels = nodes[base].map_shape()[2]
            if base != 0 and base not in parent and not isinstance(nodes[base].operation, Slice):
                parent[base] = (index, start)
            else:
                plan.copies.setdefault(index, []).append((base, start))
            start += channels
            position += taken
    plan.slices = [None] * len(nodes)

    def resolve(index: int) -> BufferSlice:
        found = plan.slices[index]
        if found is not None:
            return found
        node = nodes[index]
        channels = node.map_shape()[2]
        if isinstance(node.operation, Slice):
            base = resolve(node.inputs[0])
            part = BufferSlice(base.buffer, base.start + node.operation.start, channels)
        elif index in parent:
            owner, start = parent[index]
            base = resolve(owner)
            part = BufferSlice(base.buffer, base.start + start, channels)
        else:
            plan.buffer_shapes.append(node.map_shape())
            plan.buffer_resolutions.append(plan.resolution_of(index))
            part = BufferSlice(len(plan.buffer_shapes) - 1, 0, channels)
        plan.slices[index] = part
        return part

    for index, node in enumerate(nodes):
        if node.is_map:
            resolve(index)


def _whole_base(nodes: list[Node], inputs: tuple[int, ...], position: int) -> tuple[int, int]:
    """The map at inputs[position], or the one that it and the inputs after it are all the slices of.

    Returns:
        node, and how many inputs it stands for.
    """
    first = nodes[inputs[position]]
    if not isinstance(first.operation, Slice) or first.operation.start != 0:
        return inputs[position], 1
    base, end, taken = first.inputs[0], 0, 0
    for index in inputs[position:]:
        piece = nodes[index]
        if not isinstance(piece.operation, Slice) or piece.inputs[0] != base or piece.operation.start != end:
            break
        end, taken = piece.operation.stop, taken + 1
        if end == nodes[base].map_shape()[2]:
            return base, taken
    return inputs[position], 1


def _mark_kept(plan: ExecutionPlan, everything: bool) -> None:
    nodes, readers = plan.nodes, plan.graph.consumers()
    keep = [everything and node.is_map for node in nodes]
    for index in plan.graph.output_nodes():
        keep[index] = nodes[index].is_map
    for index in reversed(range(len(nodes))):
        if not nodes[index].is_map or index == 0 or keep[index]:
            continue
        for reader in readers[index]:
            node = nodes[reader]
            if isinstance(node.operation, (Slice, Concat)):
                keep[index] |= keep[reader]
            else:
                around = not node.is_map or any(
                    reads_neighbourhood(node, position)
                    for position, source in enumerate(node.inputs)
                    if source == index
                )
                keep[index] |= around
    keep[0] = everything  # the frame itself: only certificates and pruning look back at it
    spans: dict[int, list[tuple[int, int]]] = {}
    for index in range(len(nodes)):
        if keep[index]:
            part = plan.slice_of(index)
            spans.setdefault(part.buffer, []).append((part.start, part.start + part.channels))
    for buffer, channels in spans.items():
        merged: list[tuple[int, int]] = []
        for start, stop in sorted(channels):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
            else:
                merged.append((start, stop))
        plan.kept[buffer] = [BufferSlice(buffer, start, stop - start) for start, stop in merged]
    plan.workspace = set(range(len(plan.buffer_shapes))) - set(plan.kept)


def _lay_out(plan: ExecutionPlan) -> None:
    """Buffers one after another, each at a multiple of 64 bytes."""
    for buffer, (height, width, channels) in enumerate(plan.buffer_shapes):
        floats = -(-height * width * channels // 16) * 16
        if buffer in plan.workspace:
            plan.offsets.append(plan.workspace_floats)
            plan.workspace_floats += floats
        else:
            plan.offsets.append(plan.cache_floats)
            plan.cache_floats += floats


def _choose_backends(plan: ExecutionPlan, backend: str | None) -> None:
    device = plan.device.type
    plan.remap_backend = registry.choose("remap", device, backend, dtype=plan.dtype, bilinear=plan.bilinear)
    for index, node in enumerate(plan.nodes):
        operation = node.operation
        # Bilinear halos are read from maps remapped beforehand, so no operation but remap interpolates.
        traits = {"dtype": plan.dtype, "bilinear": False}
        if isinstance(operation, Convolution):
            choice = registry.choose(
                "convolve",
                device,
                backend,
                groups=operation.groups,
                in_channels=operation.weight.shape[1] * operation.groups,
                out_channels=operation.weight.shape[0],
                kernel=operation.window.kernel,
                stride=operation.window.stride,
                dilation=operation.window.dilation,
                activation=operation.activation,
                **traits,
            )
            plan.convolutions[index] = choice.module.pack_convolution(
                operation.weight.to(plan.dtype),
                operation.bias,
                operation.window,
                operation.groups,
                operation.activation,
                operation.slope,
            )
            if choice.name != "cpu":
                plan.torch_weights[index] = pack_for_torch(operation, plan.dtype)
        elif isinstance(operation, TransposedConvolution) and operation.order:
            choice = registry.choose("scatter", device, backend, **traits)
        elif isinstance(operation, TransposedConvolution):
            outputs, inputs = operation.weight.shape[:2]
            choice = registry.choose(
                "convolve",
                device,
                backend,
                groups=1,
                in_channels=inputs,
                out_channels=outputs,
                kernel=(1, 1),
                stride=(1, 1),
                dilation=(1, 1),
                activation=operation.activation,
                **traits,
            )
            plan.convolutions[index] = choice.module.pack_convolution(
                operation.weight.to(plan.dtype),
                operation.bias,
                Window((1, 1)),
                1,
                operation.activation,
                operation.slope,
            )
        elif isinstance(operation, TensorToMap):
            choice = registry.choose("prune", device, backend, **traits)
        elif isinstance(operation, Pooling):
            choice = registry.choose("pool", device, backend, kernel=operation.window.kernel, **traits)
        elif isinstance(operation, Upsample):
            choice = registry.choose("upsample", device, backend, **traits)
        elif isinstance(operation, (Pointwise, Concat)):
            choice = registry.choose("pointwise", device, backend, **traits)
        else:
            continue
        plan.backends[index] = choice


def _border(plan: ExecutionPlan, node: Node) -> tuple[torch.Tensor, torch.Tensor]:
    height, width, _ = node.map_shape()
    rows, columns = torch.zeros(height, dtype=torch.bool), torch.zeros(width, dtype=torch.bool)
    if isinstance(node.operation, TensorToMap):
        return rows, columns
    for source, (vertical, horizontal) in zip(node.inputs, node.taps, strict=True):
        before = plan.borders[source]
        if before is None:
            continue
        for mine, theirs, table in ((rows, before[0], vertical), (columns, before[1], horizontal)):
            outside = table == tap_tables.PADDING
            mine |= (outside | theirs[table.clamp(min=0)]).any(dim=1)
    return rows, columns


__all__ = [
    "BufferSlice",
    "ExecutionPlan",
    "Resolution",
    "build_plan",
    "pack_for_torch",
    "reads_neighbourhood",
]
