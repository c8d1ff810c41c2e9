"""`truncate`: the active set grows with each window, and is pruned where nothing much changed.

A layer computes its candidates: the positions that read anything that changed. The rest of its map is the
reference's, moved along the vectors. What it passes on as changed are the candidates whose new value differs
from the moved one by more than ε in any channel; the others fall back to the moved value. A layer most of
whose positions are candidates is computed everywhere: a larger computed set can only find more that changed.

Where the C++ operations do a node, runs of nodes are one call (kernels/ops/cpu/truncate.cpp); elsewhere every
node runs through the operations of its backend. Both do the same to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from kernels.executor.graph import tap_tables
from kernels.executor.graph.nodes import Concat, Convolution, Input, Slice, TensorToMap, TransposedConvolution
from kernels.executor.plan.execution_plan import ExecutionPlan, reads_neighbourhood
from kernels.executor.plan.fused_segments import SegmentLayout, compile_node
from kernels.executor.policies.dense import dense_instead
from kernels.executor.policies.sparse_request import SparseRequest, active_sets_of, is_unchanged
from kernels.executor.reports.reuse_report import ReuseReport
from kernels.executor.state import active_sets
from kernels.executor.state.active_sets import ActiveSet
from kernels.executor.state.arenas import Arena, ArenaPool, ContentOrigin
from kernels.executor.state.feature_cache import FeatureCache
from kernels.executor.state.node_runner import NodeRunner, output_dense_calls, runs_whole
from kernels.ops.cpu.program import ActiveSetTable, MapAddress, Program
from kernels.ops.cpu.truncate import AxisTaps, CompiledNodes, NodeInput, NodeKind
from kernels.ops.maps import list_tiles

# The C++ operations take as long for a position of a list as of a full map, so that little is at stake:
# YOLO11n-seg at 640, 1 thread, sets of 2 to 75 %, takes the same time to 2 % with 0.8, 0.9, 0.95 and 1.0, and
# up to 10 % more with 0.7, as what is computed beyond the candidates is found changed. Where hardly anything
# can be reused, 0.95 saves what comparing would cost.
BREAK_EVEN = 0.95

# A layer computed everywhere is first compared at every 16th position; if 19 of 20 of these changed, all did.
SAMPLED, MOST_OF = 16, 20


def run_truncate(
    plan: ExecutionPlan, pool: ArenaPool, request: SparseRequest, epsilon_of: Callable[[int], float]
) -> tuple[NodeRunner, FeatureCache, ReuseReport]:
    """The active set grows with each window, and is pruned wherever |new − moved cached| ≤ ε of the layer.

    Args:
        epsilon_of: the threshold of a convolution node, in units of its output.
    """
    if bool(request.active.all()):
        # Growth alone does not see the seams of the motion field; nothing is left to take from the cache.
        return dense_instead(plan, pool, request, "truncate")
    source = request.cache.arena
    if is_unchanged(request, source.views[0]):
        # A cache is never written to again, so the reference's serves for this frame too.
        runner = NodeRunner(plan, pool, source)
        for index in output_dense_calls(plan):
            runner.run_whole(index)
        return runner, request.cache, ReuseReport("truncate", {plan.nodes[index].name: 1.0 for index in plan.reported})
    if "truncate" not in pool.compiled:
        pool.compiled["truncate"] = _compile(plan)
    compiled: _CompiledPlan = pool.compiled["truncate"]
    arena = pool.acquire()
    runner = NodeRunner(plan, pool, arena)
    runner.load(request.frame)
    sets = active_sets_of(plan, request)
    frame = _FrameState(plan, runner, source, arena, sets, epsilon_of, compiled)
    frame.changed.update(compiled.changed)
    height, width = request.frame.shape[2:]
    frame.mark(0, active_sets.per_pixel(request.active, height, width, request.block_px))
    compiled.prepare(plan, epsilon_of)
    index = 1
    while index < len(plan.nodes):
        if index in compiled.spans:
            begin, end, index = compiled.spans[index]
            displacements = [frame.displacement(key) for key in range(len(plan.resolutions))]
            memory = arena.memory, source.memory
            compiled.nodes.run(
                begin, end, displacements, frame.still, *memory, frame.up_to_date, frame.unmoved
            )
            continue
        frame.run(index)
        index += 1
    arena.origin = ContentOrigin(source.content, frame.unmoved)
    frame.computed.update(zip(compiled.order, compiled.nodes.computed(), strict=True))
    reused = {}
    for index in plan.reported:
        height, width, _ = plan.nodes[index].map_shape()
        reused[plan.nodes[index].name] = 1.0 - frame.computed[index] / (height * width)
    cache = FeatureCache(pool, arena, None)
    cache.residuals = {key: active_set.residual for key, active_set in sets.items()}
    return runner, cache, ReuseReport("truncate", reused)


@dataclass(slots=True)
class _FrameState:
    """The state of one frame while it runs.

    Attributes:
        changed: by map node, (H, W) on the CPU, nonzero where it differs from the moved reference.
        computed: by node, how many positions were computed.
        tensor_changed: by node that is no map, whether anything that it depends on changed.
        up_to_date: bool, where the new maps' memory has the reference's values already; None for nowhere.
        unmoved: bool, where the new maps have the reference's values of the same position.
        still: for each resolution, whether nothing moves.
    """

    plan: ExecutionPlan
    runner: NodeRunner
    source: Arena
    arena: Arena
    sets: dict[int, ActiveSet]
    epsilon_of: Callable[[int], float]
    compiled: _CompiledPlan
    changed: dict[int, torch.Tensor] = field(default_factory=dict)
    computed: dict[int, int] = field(default_factory=dict)
    tensor_changed: dict[int, bool] = field(default_factory=dict)
    up_to_date: torch.Tensor | None = None
    unmoved: torch.Tensor = field(init=False)
    still: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.up_to_date = self.arena.up_to_date_with(self.source)
        self.unmoved = torch.zeros(self.compiled.positions, dtype=torch.bool)
        resolutions = range(len(self.plan.resolutions))
        self.still = bytes(not bool(self.displacement(key).any()) for key in resolutions)

    def displacement(self, resolution: int) -> torch.Tensor:
        """The displacement of a resolution; any will do for the frame's own, by which no map moves."""
        active_set = self.sets.get(resolution) or next(iter(self.sets.values()))
        return active_set.displacement

    def mark(self, index: int, mask: torch.Tensor) -> None:
        """Set what changed in a node."""
        if index in self.changed:
            self.changed[index].copy_(mask)
        else:
            self.changed[index] = mask

    def run(self, index: int) -> None:
        """Run one node through the operations of its backend."""
        plan, node = self.plan, self.plan.nodes[index]
        if not node.is_map:
            self.runner.run_whole(index)
            self.tensor_changed[index] = any(map(self._any_changed, node.inputs))
            return
        if isinstance(node.operation, Slice):
            self.changed[index] = self.changed[node.inputs[0]]
            return
        if isinstance(node.operation, TensorToMap):
            self._entered(index)
            return
        else:
            reached = [
                tap_tables.max_over_taps(self.changed[read].bool(), *taps)
                for read, taps in zip(node.inputs, node.taps, strict=True)
            ]
            candidates = torch.stack(reached).any(0)
        if runs_whole(plan, index):
            self._run_whole(index, candidates)
        elif isinstance(node.operation, Concat):
            if index in plan.copies and _copies_frame(plan, index):
                whole = list_tiles(torch.ones_like(candidates)).to(plan.device)
                self.runner.compute(index, whole, (1, 1))
            elif index in plan.copies:
                self._move(index, candidates)
                self._compute(index, candidates)
        elif isinstance(node.operation, Convolution):
            candidates = self._pruned(index, candidates)
        else:
            self._move(index, candidates)
            self._compute(index, candidates)
        self.mark(index, candidates)
        self._note_unmoved(index)

    def _any_changed(self, index: int) -> bool:
        """Whether anything of a node's result changed."""
        changed = self.changed.get(index)
        return self.tensor_changed[index] if changed is None else bool(changed.any())

    def _run_whole(self, index: int, candidates: torch.Tensor) -> None:
        """A call on the whole map, of which the candidates count; the rest is moved, as everywhere."""
        self.computed[index] = 0
        count = int(candidates.sum())
        if count:
            self.computed[index] = candidates.numel()
            self.runner.run_whole(index, None if 2 * count > candidates.numel() else candidates)
        if count < candidates.numel():
            self._move(index, candidates, 2 * count > candidates.numel())

    def _entered(self, index: int) -> None:
        """A map made from a tensor: whatever that depends on, positions that came out as they were are pruned."""
        plan, node, out = self.plan, self.plan.nodes[index], self.runner.view(index)
        height, width, channels = node.map_shape()
        changed = torch.zeros(height, width, dtype=torch.uint8, device=plan.device)
        self.computed[index] = 0
        self._move(index, None)
        if self._any_changed(node.inputs[0]):
            self.computed[index] = height * width
            new = torch.empty(height, width, channels, dtype=plan.dtype, device=plan.device)
            new.copy_(self.runner.tensors[node.inputs[0]][0].permute(1, 2, 0))
            sampled, before = (one.reshape(-1, channels)[::SAMPLED] for one in (new, out))
            far = ~((sampled - before).abs() <= self.epsilon_of(index)).all(-1)  # a NaN is far
            if int(far.sum()) * MOST_OF >= len(far) * (MOST_OF - 1):
                out.copy_(new)
                changed.fill_(1)
            else:
                whole = torch.zeros(1, 2, dtype=torch.int32, device=plan.device)
                module = plan.backends[index].module
                module.prune(new, whole, (height, width), out, self.epsilon_of(index), changed)
        self.mark(index, changed.cpu())
        self._note_unmoved(index)

    def _pruned(self, index: int, candidates: torch.Tensor) -> torch.Tensor:
        plan, node = self.plan, self.plan.nodes[index]
        if 0 < int(candidates.sum()) >= self.compiled.break_even(plan, index) * candidates.numel():
            candidates = torch.ones_like(candidates)
        if index in self.compiled.passing:
            self._compute(index, candidates)
            return candidates
        self._move(index, None)
        fresh = torch.empty(node.map_shape(), dtype=plan.dtype, device=plan.device)
        tiles = self._compute(index, candidates, fresh)
        kept = torch.zeros(candidates.shape, dtype=torch.uint8, device=plan.device)
        module, out = plan.backends[index].module, self.runner.view(index)
        if len(tiles) == kept.numel():
            sample = tiles[::SAMPLED].contiguous()
            module.prune(fresh, sample, (1, 1), out, self.epsilon_of(index), kept)
            if int(kept.sum()) * MOST_OF >= len(sample) * (MOST_OF - 1):
                out.copy_(fresh)
                return torch.ones_like(candidates)
        module.prune(fresh, tiles, (1, 1), out, self.epsilon_of(index), kept)
        return kept.cpu().bool()

    def _compute(self, index: int, candidates: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the candidates, and return them as tiles."""
        operation = self.plan.nodes[index].operation
        self.computed[index] = int(candidates.sum())
        positions = candidates
        if isinstance(operation, TransposedConvolution):
            positions = candidates[:: operation.factor[0], :: operation.factor[1]]
        tiles = list_tiles(positions).to(self.plan.device)
        self.runner.compute(index, tiles, (1, 1), out=out)
        return tiles

    def _move(self, index: int, candidates: torch.Tensor | None, all_written: bool = False) -> None:
        """Move the reference's map along the vectors, except at the candidates.

        Args:
            all_written: whether the whole map has been written in this frame.
        """
        plan, resolution = self.plan, self.plan.resolution_of(index)
        assert plan.remap_backend is not None
        fresh, displacement = candidates, self.displacement(resolution)
        if self.up_to_date is not None and not all_written:
            there = self.up_to_date[self.compiled.masks[index]].view(plan.nodes[index].map_shape()[:2])
            if not self.still[resolution]:
                there = there & ~displacement.bool().any(-1).cpu()
            fresh = there if fresh is None else fresh | there
        marked = None if fresh is None else fresh.to(plan.device, torch.uint8)
        to, behind = self.runner.view(index), self.source.views[index]
        for start, channels in _moved_channels(plan, index):
            part = slice(start, start + channels)
            plan.remap_backend.module.remap(behind[:, :, part], displacement, to[:, :, part], marked)

    def _note_unmoved(self, index: int) -> None:
        """Remember where a map has the reference's values of the same position."""
        resolution = self.plan.resolution_of(index)
        unmoved = ~self.changed[index].bool()
        if not self.still[resolution]:
            unmoved &= ~self.displacement(resolution).bool().any(-1).cpu()
        self.unmoved[self.compiled.masks[index]] = unmoved.flatten()


@dataclass(slots=True)
class _CompiledPlan:
    """What is compiled once a plan.

    Attributes:
        passing: convolutions whose maps are neither moved nor compared (`_passing`).
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


def _passing(plan: ExecutionPlan) -> frozenset[int]:
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


def _compile(plan: ExecutionPlan) -> _CompiledPlan:
    program = Program()
    sizes = [node.map_shape()[:2] if node.is_map else (1, 1) for node in plan.nodes]
    table = ActiveSetTable(sizes)
    positions = torch.empty(max(height * width for height, width in sizes) + 1, 2, dtype=torch.int32)
    compiled = _CompiledPlan(_passing(plan), _mask_spans(plan), CompiledNodes(program, table, positions))
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
    compiled: _CompiledPlan,
    index: int,
    steps: tuple[int, int],
    axes: dict[int, AxisTaps],
) -> None:
    node = plan.nodes[index]
    kind = NodeKind.FOLLOW
    if isinstance(node.operation, Concat):
        kind = NodeKind.COPY if _copies_frame(plan, index) else NodeKind.FOLLOW
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
    pieces = [(0, part.channels)] if kind in (NodeKind.UNION, NodeKind.COPY) else _moved_channels(plan, index)
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


def _moved_channels(plan: ExecutionPlan, index: int) -> list[tuple[int, int]]:
    """(first, count) of the channels of a map that do not lie there already, as parts of a concatenation do."""
    if index in plan.copies:
        return [(start, plan.nodes[source].map_shape()[2]) for source, start in plan.copies[index]]
    return [(0, plan.nodes[index].map_shape()[2])]


def _copies_frame(plan: ExecutionPlan, index: int) -> bool:
    """Whether a concatenation copies anything of the frame, which is new everywhere."""
    for source, _ in plan.copies.get(index, ()):
        while isinstance(plan.nodes[source].operation, Slice):
            source = plan.nodes[source].inputs[0]
        if source == 0:
            return True
    return False
