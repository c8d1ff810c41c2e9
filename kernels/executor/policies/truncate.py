"""`truncate`: the active set grows with each window, and is pruned where nothing much changed.

A layer computes its candidates: the positions that read anything that changed. The rest of its map is the
reference's, moved along the vectors. What it passes on as changed are the candidates whose new value differs
from the moved one by more than ε in any channel; the others fall back to the moved value. Two things are not
worth their time, and a larger computed set can only find more that changed: a layer most of whose positions
are candidates is computed everywhere; and of a piece of the candidates (`piece_positions`) a sample is
compared first: where hardly any of these came out as they were, the whole piece counts as changed.

Where the C++ operations do a node, runs of nodes are one call (kernels/ops/cpu/truncate.cpp), which marks and
moves for torch's calls too; elsewhere every node runs through the operations of its backend. Both do the same
to the last bit.
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

# Of each piece every 13th position is compared first; if 19 of 20 of these changed, all did: pruning less
# than a twentieth of a layer saves less behind it than comparing costs. 13 does not divide a block's side:
# every 16th position of a block's rows is one column, perhaps the one at its rim.
SAMPLED, MOST_OF = 13, 20


def piece_positions(channels: int) -> int:
    """Positions of a layer that are compared together: as many as fit a small second-level cache."""
    return 192 * max(1, 49152 // 192 // channels)


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
    frame = _FrameState(plan, runner, source, arena, _moves(plan, request), epsilon_of, compiled)
    frame.begin(request)
    for step in compiled.schedule:
        if isinstance(step, tuple):
            compiled.nodes.run(*step)
        else:
            frame.run(step)
    arena.origin = ContentOrigin(source.content, frame.unmoved)
    frame.computed.update(zip(compiled.order, compiled.nodes.computed(), strict=True))
    compiled.nodes.end()
    reused = {}
    for index in plan.reported:
        height, width, _ = plan.nodes[index].map_shape()
        reused[plan.nodes[index].name] = 1.0 - frame.computed[index] / (height * width)
    cache = FeatureCache(pool, arena, None)
    cache.residuals = {key: active_set.residual for key, active_set in frame.sets.items()}
    return runner, cache, ReuseReport("truncate", reused)


def _moves(plan: ExecutionPlan, request: SparseRequest) -> dict[int, ActiveSet]:
    """Along what the maps move, by resolution; nothing where nothing moves, or has to catch up."""
    residuals = request.cache.residuals.values()
    if not bool(request.vectors.any()) and all(one is None for one in residuals):
        return {}
    return active_sets_of(plan, request, moves_only=True)


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
        sets: the displacement of each resolution, if anything moves; else empty.
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
        self.changed.update((index, one.mask) for index, one in self.compiled.changed.items())
        self.up_to_date = self.arena.up_to_date_with(self.source)
        self.unmoved = torch.zeros(self.compiled.positions, dtype=torch.bool)
        resolutions = range(len(self.plan.resolutions))
        moves = [bool(self.sets) and bool(self.displacement(key).any()) for key in resolutions]
        self.still = bytes(not any_moves for any_moves in moves)

    def begin(self, request: SparseRequest) -> None:
        """Mark what changed in the frame, and hand it to the C++ library, if that runs any node."""
        if not self.compiled.changed:
            height, width = request.frame.shape[2:]
            self.mark(0, active_sets.per_pixel(request.active, height, width, request.block_px))
            return
        self.compiled.nodes.mark_blocks(self.compiled.changed[0], request.active, request.block_px)
        displacements = [self.displacement(key) for key in range(len(self.plan.resolutions))]
        self.compiled.nodes.begin(
            *self.compiled.thresholds(self.plan, self.epsilon_of),
            displacements,
            self.still,
            (self.arena.memory, self.source.memory),
            self.up_to_date,
            self.unmoved,
        )

    def displacement(self, resolution: int) -> torch.Tensor:
        """The displacement of a resolution; any will do for the frame's own, by which no map moves."""
        if not self.sets:
            return self.compiled.resting(self.plan, resolution)
        return (self.sets.get(resolution) or next(iter(self.sets.values()))).displacement

    def mark(self, index: int, mask: torch.Tensor) -> None:
        """Set what changed in a node."""
        if index in self.compiled.changed:
            self.changed[index].copy_(mask)
            self.compiled.nodes.found[self.compiled.changed[index].count] = int(mask.sum())
        else:
            self.changed[index] = mask

    def run(self, index: int) -> None:
        """Run one node by itself."""
        node = self.plan.nodes[index]
        if not node.is_map:
            self.runner.run_whole(index)
            self.tensor_changed[index] = any(map(self._any_changed, node.inputs))
        elif isinstance(node.operation, Slice):
            self.changed[index] = self.changed[node.inputs[0]]
        elif index in self.compiled.own:
            self._run_marked(index, self.compiled.own[index])
        else:
            self._run_apart(index)

    def _run_marked(self, index: int, own: int) -> None:
        """Run a node of which the C++ library marks the candidates, and moves the rest."""
        plan, node, nodes = self.plan, self.plan.nodes[index], self.compiled.nodes
        if isinstance(node.operation, TensorToMap):
            new = None
            if self._any_changed(node.inputs[0]):
                new = self.runner.tensors[node.inputs[0]][0].permute(1, 2, 0)
                new = new.to(plan.dtype).contiguous()
            nodes.enter(own, new)
            return
        tiles, tile = nodes.candidates(own)
        if not runs_whole(plan, index):
            self.runner.compute(index, tiles, tile)
        elif len(tiles):
            whole = self.runner.whole_map(index).to(plan.dtype)
            if tile == node.map_shape()[:2]:
                self.runner.view(index).copy_(whole)
            else:
                nodes.put(own, whole)
            height, width, _ = node.map_shape()
            nodes.set_computed(own, height * width)

    def _run_apart(self, index: int) -> None:
        """Run a node through the operations of its backend."""
        plan, node = self.plan, self.plan.nodes[index]
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
        if index in self.tensor_changed:
            return self.tensor_changed[index]
        known = self.compiled.changed.get(index)
        return (
            bool(self.changed[index].any()) if known is None else self.compiled.nodes.found[known.count] > 0
        )

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
        plan, node = self.plan, self.plan.nodes[index]
        height, width, channels = node.map_shape()
        kept = torch.zeros(height, width, dtype=torch.uint8, device=plan.device)
        self.computed[index] = 0
        self._move(index, None)
        if self._any_changed(node.inputs[0]):
            self.computed[index] = height * width
            new = torch.empty(height, width, channels, dtype=plan.dtype, device=plan.device)
            new.copy_(self.runner.tensors[node.inputs[0]][0].permute(1, 2, 0))
            self._compare(index, new, list_tiles(torch.ones_like(kept)), kept)
        self.mark(index, kept.cpu())
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
        self._compare(index, fresh, tiles, kept)
        return kept.cpu().bool()

    def _compare(self, index: int, new: torch.Tensor, tiles: torch.Tensor, kept: torch.Tensor) -> None:
        """Write what differs of `new` over the moved map, and mark it in `kept` (uint8), piece by piece."""
        out, epsilon = self.runner.view(index), self.epsilon_of(index)
        for piece in tiles.long().split(piece_positions(out.shape[2])):
            y, x = piece.unbind(1)
            sample = y[::SAMPLED], x[::SAMPLED]
            far = ~((new[sample] - out[sample]).abs() <= epsilon).all(-1)  # a NaN is far
            if int(far.sum()) * MOST_OF >= len(far) * (MOST_OF - 1):
                out[y, x] = new[y, x]
                kept[y, x] = 1
            else:
                module = self.plan.backends[index].module
                module.prune(new, piece.int().contiguous(), (1, 1), out, epsilon, kept)

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
