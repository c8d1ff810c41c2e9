"""`fixed`: the block set stays what the classifier chose, at every layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from kernels.executor.graph.nodes import Concat, Slice, TransposedConvolution
from kernels.executor.plan.execution_plan import BufferSlice, ExecutionPlan, reads_neighbourhood
from kernels.executor.plan.fused_segments import (
    FusedSegments,
    SegmentLayout,
    by_resolution,
    full_active_sets,
    fuse_segments,
)
from kernels.executor.policies.dense import dense_instead
from kernels.executor.policies.sparse_request import SparseRequest
from kernels.executor.reports.reuse_report import ReuseReport
from kernels.executor.state import active_sets
from kernels.executor.state.active_sets import ActiveSet
from kernels.executor.state.arenas import Arena, ArenaPool
from kernels.executor.state.feature_cache import FeatureCache, PendingRemap
from kernels.executor.state.node_runner import NodeRunner, runs_whole
from kernels.ops.cpu.program import ActiveSetTable
from kernels.ops.maps import Halo

_MOST_VARIANTS = 32


def run_fixed(
    plan: ExecutionPlan,
    pool: ArenaPool,
    request: SparseRequest,
    host_sets: active_sets.HostActiveSets | None = None,
) -> tuple[NodeRunner, FeatureCache, ReuseReport]:
    """The block set stays what the classifier chose; halos come from the cache along the vectors.

    A map reads its neighbourhood in this frame where that is active, elsewhere in the reference's map at the
    moved position (Halo). Nothing is moved before it is needed. Bilinear sampling moves every kept map first.

    Layers at or past their own break-even (`ExecutionPlan.break_even`) are run in full as far as all that they read
    is complete, from the frame on: complete maps are read without a halo, and nothing of them is moved.

    Args:
        host_sets: what `host_active_sets` made of this plan and request, if it is at hand; no layer is then run in full.
    """
    if float(request.active.float().mean()) >= request.break_even:
        return dense_instead(plan, pool, request, "fixed")
    request.cache.settle()
    source = request.cache.arena
    arena = pool.acquire()
    runner = NodeRunner(plan, pool, arena)
    sets = (host_sets or host_active_sets(plan, request)).to(plan.device)
    complete = complete_nodes(plan, sets) if host_sets is None else frozenset[int]()
    variant = _Variant.of(plan, pool, complete, request.block_px)
    rest = variant.rest
    near = None
    margin = None if rest is None or complete else rest.margin_px
    if margin is not None and _whole_blocks(plan, request.block_px):
        near = (request.active, request.block_px, margin)
    runner.load(request.frame, near)
    compiled = None
    if rest is not None:
        compiled = rest.new_table()
        for key, active_set in sets.items():
            compiled.set(key, active_set.tiles, active_set.tile, active_set.fresh, active_set.displacement)
    cache = FeatureCache(pool, arena, PendingRemap(request.cache, sets, compiled))
    cache.residuals = {
        key: None if variant.covers(plan, key) else active_set.residual for key, active_set in sets.items()
    }
    if plan.bilinear:
        cache.settle()
        if complete:
            runner.load(request.frame)  # of which slices may have been moved
    elif complete:
        _leave_complete(plan, cache, sets, source, complete)
    memory = (arena.memory, pool.workspace.memory, source.memory)
    # Nodes before these have been run by a program: of those that are not complete, and of those that are.
    done = [0, 0]
    for index in range(1, len(plan.nodes)):
        if rest is not None and compiled is not None and index in rest.spans:
            begin, end, done[0] = rest.spans[index]
            rest.program.run(begin, end, compiled, *memory)
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
            runner.whole(index)
        elif sets[plan.resolution_of(index)].positions:
            compute_fixed(plan, runner, source, sets, index, complete)
    for index in plan.graph.output_nodes():
        _settle(plan, cache, index)
    return runner, cache, ReuseReport("fixed", _reused(plan, sets, complete))


def complete_nodes(plan: ExecutionPlan, sets: Mapping[int, ActiveSet]) -> frozenset[int]:
    """Nodes that a frame with these levels computes everywhere: a prefix of the graph, the frame left out."""
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


def active_share(plan: ExecutionPlan, sets: Mapping[int, ActiveSet], index: int) -> float:
    """Share of active positions of a node, or for `TransposedConvolution` of those that its patches are made of."""
    node = plan.nodes[index]
    key = plan.resolution_of(node.inputs[0] if isinstance(node.operation, TransposedConvolution) else index)
    resolution = plan.resolutions[key]
    return sets[key].positions / (resolution.height * resolution.width)


@dataclass(frozen=True, slots=True)
class _Variant:
    """How a plan runs with one set of complete nodes.

    Attributes:
        complete: the set.
        rest: programs of all other nodes; None where there are none.
        whole: programs of the set itself, but for what torch's own convolution does.
        everything: the levels for these.
        tiles: of each resolution, all of it.
    """

    complete: frozenset[int]
    rest: FusedSegments | None
    whole: FusedSegments | None = None
    everything: ActiveSetTable | None = None
    tiles: Mapping[int, tuple[torch.Tensor, tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: ExecutionPlan, pool: ArenaPool, complete: frozenset[int], block_px: int) -> _Variant:
        """Made when first needed, and kept."""
        if not complete:
            return cls(complete, pool.segments)
        known: dict[tuple[frozenset[int], int], _Variant] = pool.compiled.setdefault("fixed", {})
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

    def covers(self, plan: ExecutionPlan, active_set: int) -> bool:
        """Whether every map of a resolution but the frame is complete."""
        return bool(self.complete) and all(
            index in self.complete
            for index, key in enumerate(plan.node_resolutions)
            if key == active_set and index > 0
        )


def _run_full(plan: ExecutionPlan, runner: NodeRunner, variant: _Variant, index: int) -> None:
    if runs_whole(plan, index):
        runner.whole(index)
    elif index in plan.torch_weights:
        runner.compute_dense(index)
    else:
        node = plan.nodes[index]
        key = plan.resolution_of(
            node.inputs[0] if isinstance(node.operation, TransposedConvolution) else index
        )
        runner.compute(index, *variant.tiles[key])


def _leave_complete(
    plan: ExecutionPlan,
    cache: FeatureCache,
    sets: Mapping[int, ActiveSet],
    source: Arena,
    complete: frozenset[int],
) -> None:
    """Have nothing of complete maps moved; of a region that they share, move the rest now."""
    for buffer, regions in plan.kept.items():
        own = [
            place for node in complete if (place := plan.slices[node]) is not None and place.buffer == buffer
        ]
        for region in regions if own else []:
            missing = torch.ones(region.channels, dtype=torch.bool)
            for place in own:
                missing[
                    max(0, place.start - region.start) : max(0, place.start + place.channels - region.start)
                ] = False
            if bool(missing.all()):
                continue
            for first, end in _spans(missing):
                part = BufferSlice(buffer, region.start + first, end - first)
                active_set = sets[plan.buffer_resolutions[buffer]]
                assert plan.remap_backend is not None
                plan.remap_backend.module.remap(
                    source.region(part), active_set.displacement, cache.arena.region(part), active_set.fresh
                )
            cache.settled.add(region)


def _spans(mask: torch.Tensor) -> list[tuple[int, int]]:
    """[first, end) of every run of True."""
    edges = torch.diff(mask.int(), prepend=torch.zeros(1).int(), append=torch.zeros(1).int())
    starts, ends = (edges == 1).nonzero().flatten(), (edges == -1).nonzero().flatten()
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def active_sets_of(plan: ExecutionPlan, request: SparseRequest) -> dict[int, ActiveSet]:
    """Every resolution that a map other than the frame has, or whose positions make the patches of one."""
    return host_active_sets(plan, request).to(plan.device)


def host_active_sets(plan: ExecutionPlan, request: SparseRequest) -> active_sets.HostActiveSets:
    """The processor's part of `active_sets_of`."""
    wanted = {
        plan.node_resolutions[node.inputs[0] if isinstance(node.operation, TransposedConvolution) else index]
        for index, node in enumerate(plan.nodes)
        if index > 0
    }
    return active_sets.decide_active_sets(
        {
            key: resolution
            for key, resolution in enumerate(plan.resolutions)
            if key in wanted or key in plan.node_resolutions[1:]
        },
        request.active,
        request.vectors,
        request.block_px,
        plan.bilinear,
        request.cache.residuals,
    )


def _whole_blocks(plan: ExecutionPlan, block_px: int) -> bool:
    """Whether the frame's readers work in positions that no active block shares with an inactive one."""
    readers = plan.graph.consumers()[0]
    return all(block_px % scale == 0 for reader in readers for scale in plan.nodes[reader].map_scale())


def compute_fixed(
    plan: ExecutionPlan,
    runner: NodeRunner,
    source: Arena,
    sets: Mapping[int, ActiveSet],
    index: int,
    complete: frozenset[int] = frozenset(),
) -> None:
    node = plan.nodes[index]
    read = node.inputs[0]
    active_set = sets[
        plan.resolution_of(read if isinstance(node.operation, TransposedConvolution) else index)
    ]
    halo = None
    if not plan.bilinear and read != 0 and read not in complete and reads_neighbourhood(node, 0):
        behind = sets[plan.resolution_of(read)]
        halo = Halo(source.region(plan.slice_of(read)), behind.fresh, behind.displacement)
    runner.compute(index, active_set.tiles, active_set.tile, halo)


def _reused(plan: ExecutionPlan, sets: Mapping[int, ActiveSet], complete: frozenset[int]) -> dict[str, float]:
    """Share of positions that were not computed, by layer."""
    shares = {}
    for key, active_set in sets.items():
        resolution = plan.resolutions[key]
        shares[key] = 1.0 - active_set.positions / (resolution.height * resolution.width)
    return {
        plan.nodes[index].name: 0.0
        if runs_whole(plan, index) or index in complete
        else shares[plan.resolution_of(index)]
        for index in plan.reported
    }


def _settle(plan: ExecutionPlan, cache: FeatureCache, index: int) -> None:
    if index != 0 and plan.nodes[index].is_map:
        cache.settle_slice(plan.slice_of(index))
