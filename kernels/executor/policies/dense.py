"""A whole frame: everything is computed, nothing is reused."""

from __future__ import annotations

import torch

from kernels.executor.graph.nodes import Unfold
from kernels.executor.plan.plan import Plan
from kernels.executor.plan.segments import full_levels
from kernels.executor.policies.request import Request
from kernels.executor.report import Report
from kernels.executor.state import active_sets
from kernels.executor.state.cache import Cache, Pool
from kernels.executor.state.steps import Steps, runs_whole


def run_dense(plan: Plan, pool: Pool, frame: torch.Tensor, block_px: int) -> tuple[Steps, Cache]:
    """Compute every map everywhere."""
    arena = pool.take()
    steps = Steps(plan, pool, arena)
    steps.load(frame)
    tiles = {
        key: active_sets.full_level(resolution, block_px, plan.device)
        for key, resolution in enumerate(plan.resolutions)
    }
    stretches = pool.stretches
    levels = full_levels(stretches, tiles) if stretches is not None else None
    index = 1
    while index < len(plan.nodes):
        if stretches is not None and levels is not None and index in stretches.spans:
            begin, end, index = stretches.spans[index]
            stretches.program.run(begin, end, levels, arena.memory, pool.shared.memory, None)
            continue
        node = plan.nodes[index]
        if runs_whole(plan, index):
            steps.whole(index)
        elif index in plan.dense:
            # The C++ kernel is as fast as torch's at full activity, and its sums do not depend on the set.
            steps.compute_dense(index)
        else:
            key = plan.level(node.inputs[0] if isinstance(node.work, Unfold) else index)
            steps.compute(index, *tiles[key])
        index += 1
    return steps, Cache(pool, arena, None)


def dense_instead(plan: Plan, pool: Pool, request: Request, policy: str) -> tuple[Steps, Cache, Report]:
    steps, cache = run_dense(plan, pool, request.frame, request.block_px)
    return steps, cache, Report(policy, {plan.nodes[index].name: 0.0 for index in plan.counted})
