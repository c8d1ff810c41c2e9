"""`exact`: only what a certificate covers is reused."""

from __future__ import annotations

import torch

from kernels.executor import blocks
from kernels.executor.cache import Cache, Pool
from kernels.executor.certificate import CONDITIONS, Certificate, certify
from kernels.executor.graph import Concat, Input, Slice, Unfold
from kernels.executor.plan import Plan
from kernels.executor.policies.request import Request
from kernels.executor.report import Report
from kernels.executor.steps import Steps, runs_whole
from kernels.ops.maps import list_tiles


def run_exact(
    plan: Plan, pool: Pool, request: Request, conditions: frozenset[str] = CONDITIONS
) -> tuple[Steps, Cache, Report]:
    """Only certified positions are reused; all others are computed from inputs that are complete."""
    source = request.cache.arena
    arena = pool.take()
    steps = Steps(plan, pool, arena)
    steps.load(request.frame)
    height, width = request.frame.shape[2:]
    certificates = certify(
        plan,
        steps.view(0).cpu(),
        source.views[0].cpu(),
        blocks.per_pixel(request.active, height, width, request.block_px),
        blocks.per_pixel(request.vectors, height, width, request.block_px),
        conditions,
    )
    assert plan.remapper is not None
    maps: dict[str, torch.Tensor] = {}
    shares: dict[int, float] = {}
    lists: dict[tuple[int, tuple[int, int]], tuple[torch.Tensor, tuple[int, int]]] = {}
    for index, node in enumerate(plan.nodes):
        if isinstance(node.work, Input):
            continue
        if not node.is_map:
            steps.whole(index)
            continue
        certificate = certificates[index]
        known = id(certificate)
        if known not in shares:
            shares[known] = float(certificate.certified.float().mean())
        maps[node.name] = certificate.certified
        if runs_whole(plan, index):
            shares[-index] = 0.0
            steps.whole(index)
            continue
        if shares[known] > 0 and not isinstance(node.work, (Slice, Concat)):
            plan.remapper.module.remap(
                source.views[index],
                certificate.displacement.to(plan.device),
                steps.view(index),
                (~certificate.certified).to(plan.device, torch.uint8),
            )
        factor = node.work.factor if isinstance(node.work, Unfold) else (1, 1)
        if (known, factor) not in lists:
            lists[known, factor] = _missing(plan, certificate, factor, request.block_px, plan.level(index))
        if isinstance(node.work, Concat):  # copies of parts that are complete
            level = plan.resolutions[plan.level(index)]
            steps.compute(index, *blocks.full_level(level, request.block_px, plan.device))
        else:
            steps.compute(index, *lists[known, factor])
    reused = {
        plan.nodes[index].name: shares.get(-index, shares[id(certificates[index])]) for index in plan.counted
    }
    return steps, Cache(pool, arena, None), Report("exact", reused, maps)


def _missing(
    plan: Plan, certificate: Certificate, factor: tuple[int, int], block_px: int, level: int
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Tiles of what is not certified; of the inputs, where each makes a patch of `factor` outputs."""
    missing = ~certificate.certified[:: factor[0], :: factor[1]]
    if factor == (1, 1) and bool(missing.all()):
        return blocks.full_level(plan.resolutions[level], block_px, plan.device)
    return list_tiles(missing).to(plan.device), (1, 1)
