"""A whole frame: everything is computed, nothing is reused."""

from __future__ import annotations

import torch

from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.plan.fused_segments import full_active_sets
from kernels.executor.policies.sparse_request import SparseRequest
from kernels.executor.reports.reuse_report import ReuseReport
from kernels.executor.state import active_sets
from kernels.executor.state.arenas import ArenaPool
from kernels.executor.state.feature_cache import FeatureCache
from kernels.executor.state.node_runner import NodeRunner, runs_whole


def run_dense(
    plan: ExecutionPlan, pool: ArenaPool, frame: torch.Tensor, block_px: int
) -> tuple[NodeRunner, FeatureCache]:
    """Compute every map everywhere."""
    arena = pool.acquire()
    runner = NodeRunner(plan, pool, arena)
    runner.load(frame)
    tiles = {
        key: active_sets.full_tiles(resolution, block_px, plan.device)
        for key, resolution in enumerate(plan.resolutions)
    }
    segments = pool.segments
    table = full_active_sets(segments, tiles) if segments is not None else None
    index = 1
    while index < len(plan.nodes):
        if segments is not None and table is not None and index in segments.spans:
            begin, end, index = segments.spans[index]
            segments.program.run(begin, end, table, arena.memory, pool.workspace.memory, None)
            continue
        if runs_whole(plan, index):
            runner.run_whole(index)
        elif index in plan.torch_weights:
            # The C++ kernel is as fast as torch's at full activity, and its sums do not depend on the set.
            runner.compute_dense(index)
        else:
            key = plan.computed_resolution(index)
            runner.compute(index, *tiles[key])
        index += 1
    return runner, FeatureCache(pool, arena, None)


def dense_instead(
    plan: ExecutionPlan, pool: ArenaPool, request: SparseRequest, policy: str
) -> tuple[NodeRunner, FeatureCache, ReuseReport]:
    """Run the whole frame densely, and report under `policy` that nothing was reused.

    Under `truncate` no blocks are reported, as ever there: what it computes are positions.
    """
    runner, cache = run_dense(plan, pool, request.frame, request.block_px)
    reused = {plan.nodes[index].name: 0.0 for index in plan.reported}
    if policy == "truncate":
        return runner, cache, ReuseReport(policy, reused)
    everything = torch.ones_like(request.active)
    return runner, cache, ReuseReport(policy, reused, given=request.active, computed=everything)
