"""`truncate`: the active set grows with each window, and is pruned where nothing much changed."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kernels.executor import blocks
from kernels.executor.cache import Arena, Cache, Pool
from kernels.executor.geometry import spread
from kernels.executor.graph import Concat, Convolve, Input, Unfold
from kernels.executor.plan import Plan
from kernels.executor.policies.dense import dense_instead
from kernels.executor.policies.fixed import levels_of
from kernels.executor.policies.request import Request
from kernels.executor.report import Report
from kernels.executor.steps import Steps, runs_whole
from kernels.ops.maps import list_tiles


def run_truncate(
    plan: Plan, pool: Pool, request: Request, epsilon_of: Callable[[int], float]
) -> tuple[Steps, Cache, Report]:
    """The active set grows with each window, and is pruned wherever |new − moved cached| ≤ ε of the layer.

    Args:
        epsilon_of: the threshold of a convolution node, in units of its output.
    """
    if bool(request.active.all()):
        # Growth alone does not see the seams of the motion field; nothing is left to take from the cache.
        return dense_instead(plan, pool, request, "truncate")
    source = request.cache.arena
    arena = pool.take()
    steps = Steps(plan, pool, arena)
    residuals = _move_everything(plan, source, arena, request)
    steps.load(request.frame)
    height, width = request.frame.shape[2:]
    changed: dict[int, torch.Tensor] = {
        0: blocks.per_pixel(request.active, height, width, request.block_px).clone()
    }
    reused: dict[str, float] = {}
    for index, node in enumerate(plan.nodes):
        if isinstance(node.work, Input):
            continue
        if not node.is_map:
            steps.whole(index)
            continue
        candidates = _reached(node.taps, [changed[read] for read in node.inputs if read in changed])
        size = node.map_shape()[:2]
        if runs_whole(plan, index):
            candidates = torch.ones(size, dtype=torch.bool)
            steps.whole(index)
        elif isinstance(node.work, Convolve) and candidates is not None:
            tiles = list_tiles(candidates).to(plan.device)
            fresh = torch.empty(node.map_shape(), dtype=plan.dtype, device=plan.device)
            steps.compute(index, tiles, (1, 1), out=fresh)
            kept = torch.zeros(size, dtype=torch.uint8, device=plan.device)
            module = plan.choices[index].module
            module.prune(fresh, tiles, (1, 1), steps.view(index), epsilon_of(index), kept)
            changed[index] = kept.cpu().bool()
        elif candidates is not None:
            positions = candidates
            if isinstance(node.work, Unfold):
                down, across = node.work.factor
                positions = candidates[::down, ::across]
            elif isinstance(node.work, Concat):
                positions = torch.ones(size, dtype=torch.bool)
            steps.compute(index, list_tiles(positions).to(plan.device), (1, 1))
        assert candidates is not None
        changed.setdefault(index, candidates)
        if index in plan.counted:
            reused[node.name] = 1.0 - float(candidates.float().mean())
    cache = Cache(pool, arena, None)
    cache.residuals = residuals
    return steps, cache, Report("truncate", reused)


def _reached(
    taps: tuple[tuple[torch.Tensor, torch.Tensor], ...], changed: list[torch.Tensor]
) -> torch.Tensor | None:
    """Positions that read anything that changed."""
    result: torch.Tensor | None = None
    for table, mask in zip(taps, changed, strict=True):
        part = spread(mask, *table)
        result = part if result is None else result | part
    return result


def _move_everything(
    plan: Plan, source: Arena, arena: Arena, request: Request
) -> dict[int, torch.Tensor | None]:
    """Move every kept map; returns what the roundings left over, by resolution."""
    assert plan.remapper is not None
    levels = levels_of(plan, request)
    for slot, regions in plan.kept.items():
        if slot == plan.place(0).slot:
            continue  # the frame itself is given
        displacement = levels[plan.slot_levels[slot]].displacement
        for place in regions:
            plan.remapper.module.remap(source.region(place), displacement, arena.region(place))
    return {key: level.residual for key, level in levels.items()}
