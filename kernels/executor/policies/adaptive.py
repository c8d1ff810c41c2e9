"""`adaptive`: a margin around the active blocks; layers that only salient content needs, computed only there.

What spoils `fixed` is the seam around its blocks; a margin stops it (`kernels.executor.state.margins`) and
doubles the arithmetic. What pays for the margin: layers that feed only `salient_outputs` (boxes, coefficients
and prototypes of the masks of a detector, close to half of its arithmetic) are computed at salient blocks
only; elsewhere their maps move along. Where a block was computed but not salient, these layers are behind the
others; the cache remembers where, and a block that becomes salient is brought up to date, active or not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.policies.fixed import run_fixed
from kernels.executor.policies.sparse_request import SparseRequest
from kernels.executor.reports.reuse_report import ReuseReport
from kernels.executor.state.arenas import ArenaPool
from kernels.executor.state.feature_cache import FeatureCache
from kernels.executor.state.node_runner import NodeRunner

MARGIN_PX = 16


def run_adaptive(
    plan: ExecutionPlan, pool: ArenaPool, request: SparseRequest
) -> tuple[NodeRunner, FeatureCache, ReuseReport]:
    """The active blocks, and the salient ones at which some layers are behind, with their margin."""
    if not plan.salient_only:
        runner, cache, report = run_fixed(plan, pool, request)
        return runner, cache, replace(report, policy="adaptive")
    everywhere = torch.ones_like(request.active)
    salient = everywhere if request.salient is None else request.salient
    behind = moved_blocks(request.cache.behind, request.vectors, request.block_px)
    if behind is None:
        behind = torch.zeros_like(request.active)
    asked = replace(request, active=request.active | (behind & salient))
    runner, cache, report = run_fixed(plan, pool, asked)
    if not asked.runs_densely:
        assert report.computed is not None
        caught_up = report.computed if request.salient is None else asked.active & salient
        behind = (behind | report.computed) & ~caught_up
        cache.behind = behind if bool(behind.any()) else None
    return runner, cache, replace(report, policy="adaptive", given=request.active)


def moved_blocks(blocks: torch.Tensor | None, vectors: torch.Tensor, block_px: int) -> torch.Tensor | None:
    """Values (rows, columns) of the reference's blocks for those of the frame, by where most of each was."""
    if blocks is None:
        return None
    rows, columns = blocks.shape
    moves = (vectors.numpy() + block_px // 2) // block_px
    y = (np.arange(rows)[:, None] + moves[..., 1]).clip(0, rows - 1)
    x = (np.arange(columns)[None, :] + moves[..., 0]).clip(0, columns - 1)
    return torch.from_numpy(blocks.numpy()[y, x])
