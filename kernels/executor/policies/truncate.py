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
from kernels.executor.policies.sparse_request import SparseRequest, active_sets_of
from kernels.executor.reports.reuse_report import ReuseReport
from kernels.executor.state import active_sets
from kernels.executor.state.active_sets import ActiveSet
from kernels.executor.state.arenas import Arena, ArenaPool
from kernels.executor.state.feature_cache import FeatureCache
from kernels.executor.state.node_runner import NodeRunner, runs_whole
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
    if "truncate" not in pool.compiled:
        pool.compiled["truncate"] = _compile(plan)
    compiled: _CompiledPlan = pool.compiled["truncate"]
    arena = pool.acquire()
    runner = NodeRunner(plan, pool, arena)
    runner.load(request.frame)
    sets = active_sets_of(plan, request)
    frame = _FrameState(plan, runner, request.cache.arena, arena, sets, epsilon_of, compiled)
    frame.changed.update(compiled.changed)
    height, width = request.frame.shape[2:]
    frame.mark(0, active_sets.per_pixel(request.active, height, width, request.block_px))
    compiled.prepare(plan, epsilon_of)
    index = 1
    while index < len(plan.nodes):
        if index in compiled.spans:
            begin, end, index = compiled.spans[index]
            displacements = [frame.displacement(key) for key in range(len(plan.resolutions))]
            compiled.nodes.run(begin, end, displacements, arena.memory, frame.source.memory)
            continue
        frame.run(index)
        index += 1
    frame.computed.update(zip(compiled.numbers, compiled.nodes.computed(), strict=True))
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
            candidates = torch.full(node.map_shape()[:2], self._any_changed(node.inputs[0]))
        else:
            reached = [
                tap_tables.max_over_taps(self.changed[read].bool(), *taps)
                for read, taps in zip(node.inputs, node.taps, strict=True)
            ]
            candidates = torch.stack(reached).any(0)
        if runs_whole(plan, index):
            self._run_whole(index, candidates)
        elif isinstance(node.operation, Concat):
            if index in plan.copies:
                whole = list_tiles(torch.ones_like(candidates)).to(plan.device)
                self.runner.compute(index, whole, (1, 1))
        elif isinstance(node.operation, Convolution):
            candidates = self._pruned(index, candidates)
        else:
            self._move(index, candidates)
            self._compute(index, candidates)
        self.mark(index, candidates)

    def _any_changed(self, index: int) -> bool:
        """Whether anything of a node's result changed."""
        changed = self.changed.get(index)
        return self.tensor_changed[index] if changed is None else bool(changed.any())

    def _run_whole(self, index: int, candidates: torch.Tensor) -> None:
        """A call on the whole map, of which the candidates count; the rest is moved, as everywhere."""
        self.computed[index] = 0
        if bool(candidates.any()):
            self.runner.run_whole(index)
            self.computed[index] = candidates.numel()
        if not bool(candidates.all()):
            self._move(index, candidates)

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

    def _move(self, index: int, candidates: torch.Tensor | None) -> None:
        """Move the reference's map along the vectors, except at the candidates."""
        plan = self.plan
        assert plan.remap_backend is not None
        fresh = None if candidates is None else candidates.to(plan.device, torch.uint8)
        displacement = self.displacement(plan.resolution_of(index))
        plan.remap_backend.module.remap(
            self.source.views[index], displacement, self.runner.view(index), fresh
        )


@dataclass(slots=True)
class _CompiledPlan:
    """What is compiled once a plan.

    Attributes:
        passing: convolutions whose maps are neither moved nor compared (`_passing`).
        nodes: the nodes that the C++ library runs, in order.
        spans: runs of these, by their first node of the plan: first and one past the last of `nodes`, one
            past the last of the plan.
        numbers: for each such node of the plan, its index in `nodes`.
        changed: by map node, uint8 (H, W); empty if the library runs none.
    """

    passing: frozenset[int]
    nodes: CompiledNodes
    spans: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    changed: dict[int, torch.Tensor] = field(default_factory=dict)

    def break_even(self, plan: ExecutionPlan, index: int) -> float:
        """Share of positions from which a node computes all; never, where its input is not complete."""
        if any(read in self.passing for read in plan.nodes[index].inputs):
            return math.inf
        return plan.break_even.get(index, BREAK_EVEN)

    def prepare(self, plan: ExecutionPlan, epsilon_of: Callable[[int], float]) -> None:
        """Set the thresholds of a frame."""
        epsilons = [
            epsilon_of(index) if isinstance(plan.nodes[index].operation, Convolution) else 0.0
            for index in self.numbers
        ]
        self.nodes.set(epsilons, [self.break_even(plan, index) for index in self.numbers])


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
    compiled = _CompiledPlan(_passing(plan), CompiledNodes(program, table, positions))
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
            compiled.numbers[index] = len(compiled.nodes)
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
        kind = NodeKind.COPY if index in plan.copies else NodeKind.UNION
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
    address = MapAddress(False, plan.offsets[part.buffer] + part.start, plan.buffer_shapes[part.buffer][2])
    set_index = node.inputs[0] if kind is NodeKind.TRANSPOSED else index
    compiled.nodes.add(
        kind,
        list(inputs.values()),
        compiled.changed[index],
        steps,
        set_index,
        plan.resolution_of(index),
        address,
        part.channels,
    )
