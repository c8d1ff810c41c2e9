"""`truncate`: the active set grows with each window, and is pruned where nothing much changed.

A layer computes its candidates: the positions that read anything that changed. The rest of its map is the
reference's, moved along the vectors. What it passes on as changed are the candidates whose new value differs
from the moved one by more than ε in any channel; the others fall back to the moved value. A layer most of
whose positions are candidates is computed everywhere: a larger computed set can only find more that changed.

Where the C++ operations do a node, runs of nodes are one call (kernels/ops/cpu/truncate.cpp); elsewhere every
node runs through the operations of its backend. Both do the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from kernels.executor.graph import tap_tables
from kernels.executor.graph.nodes import Concat, Convolution, Slice, TensorToMap, TransposedConvolution
from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.policies.dense import dense_instead
from kernels.executor.policies.sparse_request import SparseRequest, active_sets_of, is_unchanged
from kernels.executor.policies.truncate_plan import (
    CompiledTruncation,
    compile_truncation,
    copies_frame,
    moved_channels,
)
from kernels.executor.reports.reuse_report import ReuseReport
from kernels.executor.state import active_sets
from kernels.executor.state.active_sets import ActiveSet
from kernels.executor.state.arenas import Arena, ArenaPool, ContentOrigin
from kernels.executor.state.feature_cache import FeatureCache
from kernels.executor.state.node_runner import NodeRunner, output_dense_calls, runs_whole
from kernels.ops.maps import list_tiles

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
        return (
            runner,
            request.cache,
            ReuseReport("truncate", {plan.nodes[index].name: 1.0 for index in plan.reported}),
        )
    if "truncate" not in pool.compiled:
        pool.compiled["truncate"] = compile_truncation(plan)
    compiled: CompiledTruncation = pool.compiled["truncate"]
    arena = pool.acquire()
    runner = NodeRunner(plan, pool, arena)
    runner.load(request.frame)
    sets = active_sets_of(plan, request, moves_only=True)
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
    compiled: CompiledTruncation
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
        active_set = self.sets.get(resolution) or next(iter(self.sets.values()), None)
        if active_set is not None:
            return active_set.displacement
        frame = self.plan.resolutions[resolution]  # of a network that computes no map
        return torch.zeros(frame.height, frame.width, 2, dtype=torch.int16, device=self.plan.device)

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
        reached = [
            tap_tables.max_over_taps(self.changed[read].bool(), *taps)
            for read, taps in zip(node.inputs, node.taps, strict=True)
        ]
        candidates = torch.stack(reached).any(0)
        if runs_whole(plan, index):
            self._run_whole(index, candidates)
        elif isinstance(node.operation, Concat):
            if index in plan.copies and copies_frame(plan, index):
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
        """A map made from a tensor, of which positions that came out as they were are pruned."""
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
        for start, channels in moved_channels(plan, index):
            part = slice(start, start + channels)
            plan.remap_backend.module.remap(behind[:, :, part], displacement, to[:, :, part], marked)

    def _note_unmoved(self, index: int) -> None:
        """Remember where a map has the reference's values of the same position."""
        resolution = self.plan.resolution_of(index)
        unmoved = ~self.changed[index].bool()
        if not self.still[resolution]:
            unmoved &= ~self.displacement(resolution).bool().any(-1).cpu()
        self.unmoved[self.compiled.masks[index]] = unmoved.flatten()
