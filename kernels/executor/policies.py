"""The three ways in which an active set goes through a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from kernels.executor import blocks
from kernels.executor.cache import Arena, Cache, Level, Pending, Pool
from kernels.executor.certificate import CONDITIONS, Certificate, certify
from kernels.executor.geometry import spread
from kernels.executor.graph import Concat, Convolve, Input, Slice, Unfold
from kernels.executor.plan import Plan, reads_around
from kernels.executor.report import Report
from kernels.executor.steps import Steps, runs_whole
from kernels.executor.stretches import full_levels
from kernels.ops.maps import Halo, list_tiles


@dataclass(frozen=True, slots=True)
class Request:
    """One sparse run.

    Attributes:
        frame: (1, C, H, W).
        active: bool (rows, columns) of blocks, on the processor.
        vectors: int64 (rows, columns, 2), (dx, dy) in pixels, on the processor.
        cache: what to reuse.
        block_px: side of a block.
        break_even: share of active blocks from which the frame is run densely.
    """

    frame: torch.Tensor
    active: torch.Tensor
    vectors: torch.Tensor
    cache: Cache
    block_px: int
    break_even: float = 1.0


def run_dense(plan: Plan, pool: Pool, frame: torch.Tensor, block_px: int) -> tuple[Steps, Cache]:
    """Compute every map everywhere."""
    arena = pool.take()
    steps = Steps(plan, pool, arena)
    steps.load(frame)
    tiles = {
        key: blocks.full_level(resolution, block_px, plan.device)
        for key, resolution in enumerate(plan.resolutions)
    }
    stretches = pool.stretches
    levels = full_levels(plan, stretches, tiles) if stretches is not None else None
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


def _dense_instead(plan: Plan, pool: Pool, request: Request, policy: str) -> tuple[Steps, Cache, Report]:
    steps, cache = run_dense(plan, pool, request.frame, request.block_px)
    return steps, cache, Report(policy, {plan.nodes[index].name: 0.0 for index in plan.counted})


def run_fixed(plan: Plan, pool: Pool, request: Request) -> tuple[Steps, Cache, Report]:
    """The block set stays what the classifier chose; halos come from the cache along the vectors.

    A map reads its neighbourhood in this frame where that is active, elsewhere in the reference's map at the
    moved position (Halo). Nothing is moved before it is needed. Bilinear sampling moves every kept map first.
    """
    if float(request.active.float().mean()) >= request.break_even:
        return _dense_instead(plan, pool, request, "fixed")
    request.cache.settle()
    source = request.cache.arena
    arena = pool.take()
    steps = Steps(plan, pool, arena)
    stretches = pool.stretches
    near = None
    if stretches is not None and stretches.margin is not None and _whole_blocks(plan, request.block_px):
        near = (request.active, request.block_px, stretches.margin)
    steps.load(request.frame, near)
    levels = _levels(plan, request)
    compiled = None
    if stretches is not None:
        compiled = stretches.levels(plan)
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


def _levels(plan: Plan, request: Request) -> dict[int, Level]:
    """Every resolution that a map other than the frame has, or whose positions make the patches of one."""
    wanted = {
        plan.levels[node.inputs[0] if isinstance(node.work, Unfold) else index]
        for index, node in enumerate(plan.nodes)
        if index > 0
    }
    return {
        key: blocks.level_of(
            resolution,
            request.active,
            request.vectors,
            request.block_px,
            plan.bilinear,
            request.cache.residuals.get(key),
            plan.device,
        )
        for key, resolution in enumerate(plan.resolutions)
        if key in wanted or key in plan.levels[1:]
    }


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


def run_truncate(
    plan: Plan, pool: Pool, request: Request, epsilon_of: Callable[[int], float]
) -> tuple[Steps, Cache, Report]:
    """The active set grows with each window, and is pruned wherever |new − moved cached| ≤ ε of the layer.

    Args:
        epsilon_of: the threshold of a convolution node, in units of its output.
    """
    if bool(request.active.all()):
        # Growth alone does not see the seams of the motion field; nothing is left to take from the cache.
        return _dense_instead(plan, pool, request, "truncate")
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
    levels = _levels(plan, request)
    for slot, regions in plan.kept.items():
        if slot == plan.place(0).slot:
            continue  # the frame itself is given
        displacement = levels[plan.slot_levels[slot]].displacement
        for place in regions:
            plan.remapper.module.remap(source.region(place), displacement, arena.region(place))
    return {key: level.residual for key, level in levels.items()}
