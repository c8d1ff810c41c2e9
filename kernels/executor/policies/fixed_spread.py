"""`fixed` where maps lie spread over several arenas: programs read reused values where they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from kernels.executor.plan.attention import TokenMap, find_token_maps
from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.plan.fused_segments import FusedSegments
from kernels.executor.policies.sparse_request import SparseRequest
from kernels.executor.reports.reuse_report import ReuseReport
from kernels.executor.state.active_sets import ActiveSet, HostActiveSet, HostActiveSets
from kernels.executor.state.arenas import ArenaLease, ArenaPool
from kernels.executor.state.feature_cache import FeatureCache
from kernels.executor.state.node_runner import NodeRunner, output_dense_calls, runs_whole
from kernels.executor.state.spread_maps import SpreadMaps


def run_spread(
    plan: ExecutionPlan, pool: ArenaPool, request: SparseRequest, sets: HostActiveSets
) -> tuple[NodeRunner, FeatureCache, ReuseReport]:
    """As `run_fixed`, for plans that `can_spread`: only what has to be is moved."""
    segments = pool.segments
    assert segments is not None
    before, there = request.cache.spread()
    arena = ArenaLease(pool, pool.acquire())
    maps = SpreadMaps.after(segments, (arena, *before), there, sets)
    cache = FeatureCache(pool, arena, None, maps)
    cache.residuals = sets.residuals()
    runner = NodeRunner(plan, pool, arena.arena)
    runner.load(request.frame, read_pixels(plan, request, segments))
    memory = (arena.arena.memory, pool.workspace.memory, None, maps.arenas)
    token_maps, wanted = _whole_nodes(plan, pool, sets)
    for index in sorted(segments.spans.keys() | token_maps.keys() | wanted):
        if index in segments.spans and sets.blocks:
            begin, end, _ = segments.spans[index]
            segments.program.run(begin, end, maps.table, *memory)
        if index in token_maps:
            made = token_maps[index]
            cache.settle_slice(plan.slice_of(made.source))
            tokens = maps.fresh_positions(plan.resolution_of(index))
            values = made.at(runner.view(made.source).flatten(0, 1), tokens)
            runner.view(index).flatten(0, 1)[tokens] = values
        elif index in wanted:
            for read in plan.nodes[index].inputs:
                if read != 0 and plan.nodes[read].is_map:
                    cache.settle_slice(plan.slice_of(read))
            runner.run_whole(index)
    for index in plan.graph.output_nodes():
        if index != 0 and plan.nodes[index].is_map:
            runner.tensors[index] = maps.whole(plan, index)
    maps.drop_oldest()
    report = ReuseReport("fixed", _shares(plan, pool, sets), given=request.active, computed=request.computed)
    return runner, cache, report


@dataclass(frozen=True, slots=True)
class _WholeNodes:
    """The nodes that run on whole maps.

    Attributes:
        every: all of them.
        for_outputs: those that outputs need even where nothing is active; maps count at active positions.
        token_maps: those of which active positions can be computed alone.
        others: what has to run beside these.
    """

    every: frozenset[int]
    for_outputs: frozenset[int]
    token_maps: Mapping[int, TokenMap]
    others: frozenset[int]

    @classmethod
    def of(cls, plan: ExecutionPlan) -> _WholeNodes:
        every = frozenset(index for index in range(len(plan.nodes)) if runs_whole(plan, index))
        token_maps = find_token_maps(plan.graph)
        others = {index for index in every if plan.nodes[index].is_map} - token_maps.keys()
        others |= every & set(plan.graph.output_nodes())
        for index in sorted(every, reverse=True):
            if index in others:
                others.update(every.intersection(plan.nodes[index].inputs) - token_maps.keys())
        return cls(every, frozenset(output_dense_calls(plan)), token_maps, frozenset(others))


def _whole_nodes(
    plan: ExecutionPlan, pool: ArenaPool, sets: HostActiveSets
) -> tuple[Mapping[int, TokenMap], frozenset[int]]:
    """The token maps to compute at active positions only, and the nodes to run whole."""
    if "whole" not in pool.compiled:
        pool.compiled["whole"] = _WholeNodes.of(plan)
    nodes: _WholeNodes = pool.compiled["whole"]
    if sets.blocks == 0:
        return {}, nodes.for_outputs
    for index in nodes.token_maps:
        key = plan.resolution_of(index)
        size = plan.resolutions[key]
        if sets.by_resolution[key].positions < size.height * size.width:
            continue
        return {}, nodes.every  # all as in a dense run, to the last bit
    return nodes.token_maps, nodes.others


def _shares(plan: ExecutionPlan, pool: ArenaPool, sets: HostActiveSets) -> dict[str, float]:
    """As `reused_shares`, without asking every node again."""
    if "layers" not in pool.compiled:
        pool.compiled["layers"] = [
            (plan.nodes[index].name, None if runs_whole(plan, index) else plan.resolution_of(index))
            for index in plan.reported
        ]
    shares = _shares_by_resolution(plan, sets.by_resolution)
    return {name: 0.0 if key is None else shares[key] for name, key in pool.compiled["layers"]}


def read_pixels(
    plan: ExecutionPlan, request: SparseRequest, segments: FusedSegments
) -> tuple[torch.Tensor, int, int] | None:
    """Where the frame is read, as `NodeRunner.load` takes it; None where it may be read anywhere."""
    if segments.margin_px is None or not _whole_blocks(plan, request.block_px):
        return None
    return request.computed, request.block_px, segments.margin_px


def _whole_blocks(plan: ExecutionPlan, block_px: int) -> bool:
    """Whether the frame's readers work in positions that no active block shares with an inactive one."""
    readers = plan.graph.consumers()[0]
    in_place = all(plan.resolutions[plan.resolution_of(reader)].is_in_place for reader in readers)
    return in_place and all(
        block_px % scale == 0 for reader in readers for scale in plan.nodes[reader].map_scale()
    )


def reused_shares(
    plan: ExecutionPlan,
    sets: Mapping[int, ActiveSet | HostActiveSet],
    complete: frozenset[int] = frozenset(),
) -> dict[str, float]:
    """Share of positions that were not computed, by layer."""
    shares = _shares_by_resolution(plan, sets)
    return {
        plan.nodes[index].name: 0.0
        if runs_whole(plan, index) or index in complete
        else shares[plan.resolution_of(index)]
        for index in plan.reported
    }


def _shares_by_resolution(
    plan: ExecutionPlan, sets: Mapping[int, ActiveSet | HostActiveSet]
) -> dict[int, float]:
    """Share of each resolution's positions that are not computed."""
    shares = {}
    for key, active_set in sets.items():
        resolution = plan.resolutions[key]
        shares[key] = 1.0 - active_set.positions / (resolution.height * resolution.width)
    return shares
