"""`fixed`: the block set stays what the classifier chose, at every layer."""

from __future__ import annotations

from collections.abc import Mapping

from kernels.executor import blocks
from kernels.executor.cache import Arena, Cache, Level, Pending, Pool
from kernels.executor.graph import Unfold
from kernels.executor.plan import Plan, reads_around
from kernels.executor.policies.dense import dense_instead
from kernels.executor.policies.request import Request
from kernels.executor.report import Report
from kernels.executor.steps import Steps, runs_whole
from kernels.ops.maps import Halo


def run_fixed(
    plan: Plan, pool: Pool, request: Request, draft: blocks.Draft | None = None
) -> tuple[Steps, Cache, Report]:
    """The block set stays what the classifier chose; halos come from the cache along the vectors.

    A map reads its neighbourhood in this frame where that is active, elsewhere in the reference's map at the
    moved position (Halo). Nothing is moved before it is needed. Bilinear sampling moves every kept map first.

    Args:
        draft: what `draft_of` made of this plan and request, if it is at hand.
    """
    if float(request.active.float().mean()) >= request.break_even:
        return dense_instead(plan, pool, request, "fixed")
    request.cache.settle()
    source = request.cache.arena
    arena = pool.take()
    steps = Steps(plan, pool, arena)
    stretches = pool.stretches
    near = None
    if stretches is not None and stretches.margin is not None and _whole_blocks(plan, request.block_px):
        near = (request.active, request.block_px, stretches.margin)
    steps.load(request.frame, near)
    levels = (draft or draft_of(plan, request)).on(plan.device)
    compiled = None
    if stretches is not None:
        compiled = stretches.levels()
        for key, level in levels.items():
            compiled.set(key, level.tiles, level.tile, level.fresh, level.displacement)
    cache = Cache(pool, arena, Pending(request.cache, levels, compiled))
    cache.residuals = {key: level.residual for key, level in levels.items()}
    if plan.bilinear:
        cache.settle()
    index = 1
    while index < len(plan.nodes):
        if stretches is not None and compiled is not None and index in stretches.spans:
            begin, end, index = stretches.spans[index]
            memory = (arena.memory, pool.shared.memory, source.memory)
            stretches.program.run(begin, end, compiled, *memory)
            continue
        if runs_whole(plan, index):
            for read in plan.nodes[index].inputs:
                _settle(plan, cache, read)
            steps.whole(index)
        elif levels[plan.level(index)].positions:
            _compute_fixed(plan, steps, source, levels, index)
        index += 1
    for index in plan.graph.output_nodes():
        _settle(plan, cache, index)
    return steps, cache, Report("fixed", _reused(plan, levels))


def levels_of(plan: Plan, request: Request) -> dict[int, Level]:
    """Every resolution that a map other than the frame has, or whose positions make the patches of one."""
    return draft_of(plan, request).on(plan.device)


def draft_of(plan: Plan, request: Request) -> blocks.Draft:
    """The processor's share of `levels_of`."""
    wanted = {
        plan.levels[node.inputs[0] if isinstance(node.work, Unfold) else index]
        for index, node in enumerate(plan.nodes)
        if index > 0
    }
    return blocks.draft_levels(
        {
            key: resolution
            for key, resolution in enumerate(plan.resolutions)
            if key in wanted or key in plan.levels[1:]
        },
        request.active,
        request.vectors,
        request.block_px,
        plan.bilinear,
        request.cache.residuals,
    )


def _whole_blocks(plan: Plan, block_px: int) -> bool:
    """Whether the frame's readers work in positions that no active block shares with an inactive one."""
    readers = plan.graph.consumers()[0]
    return all(block_px % scale == 0 for reader in readers for scale in plan.nodes[reader].map_scale())


def _compute_fixed(plan: Plan, steps: Steps, source: Arena, levels: Mapping[int, Level], index: int) -> None:
    node = plan.nodes[index]
    read = node.inputs[0]
    level = levels[plan.level(read if isinstance(node.work, Unfold) else index)]
    halo = None
    if not plan.bilinear and read != 0 and reads_around(node, 0):
        behind = levels[plan.level(read)]
        halo = Halo(source.region(plan.place(read)), behind.fresh, behind.displacement)
    steps.compute(index, level.tiles, level.tile, halo)


def _reused(plan: Plan, levels: Mapping[int, Level]) -> dict[str, float]:
    """Share of positions that were not computed, by layer."""
    shares = {}
    for key, level in levels.items():
        resolution = plan.resolutions[key]
        shares[key] = 1.0 - level.positions / (resolution.height * resolution.width)
    return {
        plan.nodes[index].name: 0.0 if runs_whole(plan, index) else shares[plan.level(index)]
        for index in plan.counted
    }


def _settle(plan: Plan, cache: Cache, index: int) -> None:
    if index != 0 and plan.nodes[index].is_map:
        cache.settle_region(plan.place(index))
