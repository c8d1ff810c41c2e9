"""`fixed`: the active blocks are those that the classifier chose, and a margin around them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from kernels.executor.graph.nodes import Concat, Slice
from kernels.executor.plan.execution_plan import BufferSlice, ExecutionPlan, reads_neighbourhood
from kernels.executor.plan.fused_segments import (
    FusedSegments,
    SegmentLayout,
    by_resolution,
    full_active_sets,
    fuse_segments,
)
from kernels.executor.policies.dense import dense_instead
from kernels.executor.policies.fixed_spread import read_pixels, reused_shares, run_spread
from kernels.executor.policies.sparse_request import SparseRequest, host_active_sets
from kernels.executor.reports.reuse_report import ReuseReport
from kernels.executor.state import active_sets
from kernels.executor.state.active_sets import ActiveSet, HostActiveSet
from kernels.executor.state.arenas import Arena, ArenaPool
from kernels.executor.state.feature_cache import FeatureCache, PendingRemap
from kernels.executor.state.node_runner import NodeRunner, runs_whole
from kernels.executor.state.spread_maps import can_spread
from kernels.ops.cpu.program import ActiveSetTable
from kernels.ops.maps import Halo

_MOST_VARIANTS = 32


def run_fixed(
    plan: ExecutionPlan,
    pool: ArenaPool,
    request: SparseRequest,
    host_sets: active_sets.HostActiveSets | None = None,
) -> tuple[NodeRunner, FeatureCache, ReuseReport]:
    """Compute the active blocks and their margin at every layer; halos come from the cache along the vectors.

    A map reads its neighbourhood in this frame where that is active, elsewhere in the reference's map at the
    moved position (`Halo`). Cached maps are moved when they are needed; under bilinear sampling, all at once
    before anything is computed.

    Layers at or past their own break-even (`ExecutionPlan.break_even`) are run in full if everything
    they read is complete, from the frame on: complete maps are read without a halo, and nothing of them is
        moved.

    Args:
        host_sets: the result of `host_active_sets`, if the caller has it; no layer is then run in full.
    """
    if request.runs_densely:
        return dense_instead(plan, pool, request, "fixed")
    decided = host_sets or host_active_sets(plan, request)
    complete = complete_nodes(plan, decided.by_resolution) if host_sets is None else frozenset[int]()
    if not complete and can_spread(plan, pool):
        return run_spread(plan, pool, request, decided)
    request.cache.settle()
    source = request.cache.arena
    arena = pool.acquire()
    runner = NodeRunner(plan, pool, arena)
    sets = decided.to(plan.device)
    variant = _PartlyDensePlan.of(plan, pool, complete, request.block_px)
    rest = variant.rest
    near = None
    if rest is not None and not complete:
        near = read_pixels(plan, request, rest)
    runner.load(request.frame, near)
    table = None
    if rest is not None:
        table = rest.new_table()
        for key, active_set in sets.items():
            table.set(key, active_set.tiles, active_set.tile, active_set.fresh, active_set.displacement)
    cache = FeatureCache(pool, arena, PendingRemap(request.cache, sets, table))
    cache.residuals = {
        key: None if variant.covers(plan, key) else active_set.residual for key, active_set in sets.items()
    }
    if plan.bilinear:
        cache.settle()
        if complete:
            runner.load(request.frame)  # settling may have moved slices of it
    elif complete:
        _leave_complete(plan, cache, sets, source, complete)
    memory = (arena.memory, pool.workspace.memory, source.memory)
    # Programs have run all nodes before these: first of the nodes that are not complete, then of the others.
    done = [0, 0]
    for index in range(1, len(plan.nodes)):
        if rest is not None and table is not None and index in rest.spans:
            begin, end, done[0] = rest.spans[index]
            rest.program.run(begin, end, table, *memory)
        if variant.whole is not None and variant.everything is not None and index in variant.whole.spans:
            begin, end, done[1] = variant.whole.spans[index]
            variant.whole.program.run(begin, end, variant.everything, *memory[:2], None)
        if index < done[index in complete]:
            continue
        if index in complete:
            _run_full(plan, runner, variant, index)
            continue
        if runs_whole(plan, index):
            for read in plan.nodes[index].inputs:
                _settle(plan, cache, read)
            runner.run_whole(index)
        elif sets[plan.resolution_of(index)].positions:
            compute_fixed(plan, runner, source, sets, index, complete)
    for index in plan.graph.output_nodes():
        _settle(plan, cache, index)
    return (
        runner,
        cache,
        ReuseReport(
            "fixed", reused_shares(plan, sets, complete), given=request.active, computed=request.computed
        ),
    )


def complete_nodes(plan: ExecutionPlan, sets: Mapping[int, ActiveSet | HostActiveSet]) -> frozenset[int]:
    """Nodes that are computed everywhere for these active sets: a prefix of the graph, the frame left out."""
    if not plan.break_even:
        return frozenset()
    complete = {0}
    for index, node in enumerate(plan.nodes):
        if index == 0 or not all(read in complete for read in node.inputs):
            continue
        follows = isinstance(node.operation, (Slice, Concat)) or runs_whole(plan, index)
        if follows or active_share(plan, sets, index) >= plan.break_even.get(index, math.inf):
            complete.add(index)
    return frozenset(complete - {0}) if complete & plan.break_even.keys() else frozenset()


def active_share(plan: ExecutionPlan, sets: Mapping[int, ActiveSet | HostActiveSet], index: int) -> float:
    """Share of active positions at the resolution that a node is computed at."""
    plan.nodes[index]
    key = plan.computed_resolution(index)
    resolution = plan.resolutions[key]
    return sets[key].positions / (resolution.height * resolution.width)


@dataclass(frozen=True, slots=True)
class _PartlyDensePlan:
    """How a plan runs with one set of complete nodes.

    Attributes:
        complete: the set.
        rest: fused segments of all other nodes; None where the backend has no programs.
        whole: fused segments of the set itself, without what torch's own convolution does.
        everything: the active sets for these: all positions.
        tiles: for each resolution, tiles that cover all of it.
    """

    complete: frozenset[int]
    rest: FusedSegments | None
    whole: FusedSegments | None = None
    everything: ActiveSetTable | None = None
    tiles: Mapping[int, tuple[torch.Tensor, tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, plan: ExecutionPlan, pool: ArenaPool, complete: frozenset[int], block_px: int
    ) -> _PartlyDensePlan:
        """Made when first needed, and kept."""
        if not complete:
            return cls(complete, pool.segments)
        known: dict[tuple[frozenset[int], int], _PartlyDensePlan] = pool.compiled.setdefault("fixed", {})
        if (complete, block_px) not in known:
            if len(known) == _MOST_VARIANTS:
                del known[next(iter(known))]
            layout = by_resolution(plan)
            others = (frozenset(range(len(plan.nodes))) - complete) | plan.torch_weights.keys()
            whole = fuse_segments(
                plan, SegmentLayout(layout.node_sets, layout.sizes, halos=False, complete=others)
            )
            tiles = {
                key: active_sets.full_tiles(resolution, block_px, plan.device)
                for key, resolution in enumerate(plan.resolutions)
            }
            known[complete, block_px] = cls(
                complete,
                fuse_segments(plan, by_resolution(plan, complete)),
                whole,
                None if whole is None else full_active_sets(whole, tiles),
                tiles,
            )
        return known[complete, block_px]

    def covers(self, plan: ExecutionPlan, resolution: int) -> bool:
        """Whether every map of a resolution but the frame is complete."""
        return bool(self.complete) and all(
            index in self.complete
            for index, key in enumerate(plan.node_resolutions)
            if key == resolution and index > 0
        )


def _run_full(plan: ExecutionPlan, runner: NodeRunner, variant: _PartlyDensePlan, index: int) -> None:
    if runs_whole(plan, index):
        runner.run_whole(index)
    elif index in plan.torch_weights:
        runner.compute_dense(index)
    else:
        plan.nodes[index]
        key = plan.computed_resolution(index)
        runner.compute(index, *variant.tiles[key])


def _leave_complete(
    plan: ExecutionPlan,
    cache: FeatureCache,
    sets: Mapping[int, ActiveSet],
    source: Arena,
    complete: frozenset[int],
) -> None:
    """Mark the kept slices of complete maps as settled; where one holds other maps too, move those now."""
    for buffer, kept_slices in plan.kept.items():
        own = [part for node in complete if (part := plan.slices[node]) is not None and part.buffer == buffer]
        for kept in kept_slices if own else []:
            missing = torch.ones(kept.channels, dtype=torch.bool)
            for part in own:
                start = part.start - kept.start
                missing[max(0, start) : max(0, start + part.channels)] = False
            if bool(missing.all()):
                continue
            for first, end in _spans(missing):
                part = BufferSlice(buffer, kept.start + first, end - first)
                active_set = sets[plan.buffer_resolutions[buffer]]
                assert plan.remap_backend is not None
                plan.remap_backend.module.remap(
                    source.view(part), active_set.displacement, cache.arena.view(part), active_set.fresh
                )
            cache.settled.add(kept)


def _spans(mask: torch.Tensor) -> list[tuple[int, int]]:
    """[first, end) of every run of True."""
    edges = torch.diff(mask.int(), prepend=torch.zeros(1).int(), append=torch.zeros(1).int())
    starts, ends = (edges == 1).nonzero().flatten(), (edges == -1).nonzero().flatten()
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def compute_fixed(
    plan: ExecutionPlan,
    runner: NodeRunner,
    source: Arena,
    sets: Mapping[int, ActiveSet],
    index: int,
    complete: frozenset[int] = frozenset(),
) -> None:
    """Run one node at the active tiles, with a halo where it reads a map that is not complete."""
    node = plan.nodes[index]
    read = node.inputs[0]
    active_set = sets[plan.computed_resolution(index)]
    halo = None
    if not plan.bilinear and read != 0 and read not in complete and reads_neighbourhood(node, 0):
        behind = sets[plan.resolution_of(read)]
        halo = Halo(source.view(plan.slice_of(read)), behind.fresh, behind.displacement)
    runner.compute(index, active_set.tiles, active_set.tile, halo)


def _settle(plan: ExecutionPlan, cache: FeatureCache, index: int) -> None:
    if index != 0 and plan.nodes[index].is_map:
        cache.settle_slice(plan.slice_of(index))
