"""`fixed`: the block set stays what the classifier chose, at every layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from kernels.executor.graph.nodes import Concat, Slice, Unfold
from kernels.executor.plan.plan import Place, Plan, reads_around
from kernels.executor.plan.segments import Layout, Stretches, by_resolution, find_stretches, full_levels
from kernels.executor.policies.dense import dense_instead
from kernels.executor.policies.request import Request
from kernels.executor.report import Report
from kernels.executor.state import active_sets
from kernels.executor.state.cache import Arena, Cache, Level, Pending, Pool
from kernels.executor.state.steps import Steps, runs_whole
from kernels.ops.cpu.program import Levels
from kernels.ops.maps import Halo

_MOST_VARIANTS = 32


def run_fixed(
    plan: Plan, pool: Pool, request: Request, draft: active_sets.Draft | None = None
) -> tuple[Steps, Cache, Report]:
    """The block set stays what the classifier chose; halos come from the cache along the vectors.

    A map reads its neighbourhood in this frame where that is active, elsewhere in the reference's map at the
    moved position (Halo). Nothing is moved before it is needed. Bilinear sampling moves every kept map first.

    Layers at or past their own break-even (`Plan.break_even`) are run in full as far as all that they read
    is complete, from the frame on: complete maps are read without a halo, and nothing of them is moved.

    Args:
        draft: what `draft_of` made of this plan and request, if it is at hand; no layer is then run in full.
    """
    if float(request.active.float().mean()) >= request.break_even:
        return dense_instead(plan, pool, request, "fixed")
    request.cache.settle()
    source = request.cache.arena
    arena = pool.take()
    steps = Steps(plan, pool, arena)
    levels = (draft or draft_of(plan, request)).on(plan.device)
    complete = complete_nodes(plan, levels) if draft is None else frozenset[int]()
    variant = _Variant.of(plan, pool, complete, request.block_px)
    rest = variant.rest
    near = None
    margin = None if rest is None or complete else rest.margin
    if margin is not None and _whole_blocks(plan, request.block_px):
        near = (request.active, request.block_px, margin)
    steps.load(request.frame, near)
    compiled = None
    if rest is not None:
        compiled = rest.levels()
        for key, level in levels.items():
            compiled.set(key, level.tiles, level.tile, level.fresh, level.displacement)
    cache = Cache(pool, arena, Pending(request.cache, levels, compiled))
    cache.residuals = {
        key: None if variant.covers(plan, key) else level.residual for key, level in levels.items()
    }
    if plan.bilinear:
        cache.settle()
        if complete:
            steps.load(request.frame)  # of which slices may have been moved
    elif complete:
        _leave_complete(plan, cache, levels, source, complete)
    memory = (arena.memory, pool.shared.memory, source.memory)
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
            _run_full(plan, steps, variant, index)
            continue
        if runs_whole(plan, index):
            for read in plan.nodes[index].inputs:
                _settle(plan, cache, read)
            steps.whole(index)
        elif levels[plan.level(index)].positions:
            compute_fixed(plan, steps, source, levels, index, complete)
    for index in plan.graph.output_nodes():
        _settle(plan, cache, index)
    return steps, cache, Report("fixed", _reused(plan, levels, complete))


def complete_nodes(plan: Plan, levels: Mapping[int, Level]) -> frozenset[int]:
    """Nodes that a frame with these levels computes everywhere: a prefix of the graph, the frame left out."""
    if not plan.break_even:
        return frozenset()
    complete = {0}
    for index, node in enumerate(plan.nodes):
        if index == 0 or not all(read in complete for read in node.inputs):
            continue
        follows = isinstance(node.work, (Slice, Concat)) or runs_whole(plan, index)
        if follows or active_share(plan, levels, index) >= plan.break_even.get(index, math.inf):
            complete.add(index)
    return frozenset(complete - {0}) if complete & plan.break_even.keys() else frozenset()


def active_share(plan: Plan, levels: Mapping[int, Level], index: int) -> float:
    """Share of active positions of a node, or for `Unfold` of those that its patches are made of."""
    node = plan.nodes[index]
    key = plan.level(node.inputs[0] if isinstance(node.work, Unfold) else index)
    resolution = plan.resolutions[key]
    return levels[key].positions / (resolution.height * resolution.width)


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
    rest: Stretches | None
    whole: Stretches | None = None
    everything: Levels | None = None
    tiles: Mapping[int, tuple[torch.Tensor, tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, pool: Pool, complete: frozenset[int], block_px: int) -> _Variant:
        """Made when first needed, and kept."""
        if not complete:
            return cls(complete, pool.stretches)
        known: dict[tuple[frozenset[int], int], _Variant] = pool.compiled.setdefault("fixed", {})
        if (complete, block_px) not in known:
            if len(known) == _MOST_VARIANTS:
                del known[next(iter(known))]
            layout = by_resolution(plan)
            others = (frozenset(range(len(plan.nodes))) - complete) | plan.dense.keys()
            whole = find_stretches(plan, Layout(layout.levels, layout.sizes, halos=False, complete=others))
            tiles = {
                key: active_sets.full_level(resolution, block_px, plan.device)
                for key, resolution in enumerate(plan.resolutions)
            }
            known[complete, block_px] = cls(
                complete,
                find_stretches(plan, by_resolution(plan, complete)),
                whole,
                None if whole is None else full_levels(whole, tiles),
                tiles,
            )
        return known[complete, block_px]

    def covers(self, plan: Plan, level: int) -> bool:
        """Whether every map of a resolution but the frame is complete."""
        return bool(self.complete) and all(
            index in self.complete for index, key in enumerate(plan.levels) if key == level and index > 0
        )


def _run_full(plan: Plan, steps: Steps, variant: _Variant, index: int) -> None:
    if runs_whole(plan, index):
        steps.whole(index)
    elif index in plan.dense:
        steps.compute_dense(index)
    else:
        node = plan.nodes[index]
        key = plan.level(node.inputs[0] if isinstance(node.work, Unfold) else index)
        steps.compute(index, *variant.tiles[key])


def _leave_complete(
    plan: Plan, cache: Cache, levels: Mapping[int, Level], source: Arena, complete: frozenset[int]
) -> None:
    """Have nothing of complete maps moved; of a region that they share, move the rest now."""
    for slot, regions in plan.kept.items():
        own = [place for node in complete if (place := plan.places[node]) is not None and place.slot == slot]
        for region in regions if own else []:
            missing = torch.ones(region.channels, dtype=torch.bool)
            for place in own:
                missing[
                    max(0, place.start - region.start) : max(0, place.start + place.channels - region.start)
                ] = False
            if bool(missing.all()):
                continue
            for first, end in _spans(missing):
                part = Place(slot, region.start + first, end - first)
                level = levels[plan.slot_levels[slot]]
                assert plan.remapper is not None
                plan.remapper.module.remap(
                    source.region(part), level.displacement, cache.arena.region(part), level.fresh
                )
            cache.settled.add(region)


def _spans(mask: torch.Tensor) -> list[tuple[int, int]]:
    """[first, end) of every run of True."""
    edges = torch.diff(mask.int(), prepend=torch.zeros(1).int(), append=torch.zeros(1).int())
    starts, ends = (edges == 1).nonzero().flatten(), (edges == -1).nonzero().flatten()
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def levels_of(plan: Plan, request: Request) -> dict[int, Level]:
    """Every resolution that a map other than the frame has, or whose positions make the patches of one."""
    return draft_of(plan, request).on(plan.device)


def draft_of(plan: Plan, request: Request) -> active_sets.Draft:
    """The processor's share of `levels_of`."""
    wanted = {
        plan.levels[node.inputs[0] if isinstance(node.work, Unfold) else index]
        for index, node in enumerate(plan.nodes)
        if index > 0
    }
    return active_sets.draft_levels(
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


def compute_fixed(
    plan: Plan,
    steps: Steps,
    source: Arena,
    levels: Mapping[int, Level],
    index: int,
    complete: frozenset[int] = frozenset(),
) -> None:
    node = plan.nodes[index]
    read = node.inputs[0]
    level = levels[plan.level(read if isinstance(node.work, Unfold) else index)]
    halo = None
    if not plan.bilinear and read != 0 and read not in complete and reads_around(node, 0):
        behind = levels[plan.level(read)]
        halo = Halo(source.region(plan.place(read)), behind.fresh, behind.displacement)
    steps.compute(index, level.tiles, level.tile, halo)


def _reused(plan: Plan, levels: Mapping[int, Level], complete: frozenset[int]) -> dict[str, float]:
    """Share of positions that were not computed, by layer."""
    shares = {}
    for key, level in levels.items():
        resolution = plan.resolutions[key]
        shares[key] = 1.0 - level.positions / (resolution.height * resolution.width)
    return {
        plan.nodes[index].name: 0.0
        if runs_whole(plan, index) or index in complete
        else shares[plan.level(index)]
        for index in plan.counted
    }


def _settle(plan: Plan, cache: Cache, index: int) -> None:
    if index != 0 and plan.nodes[index].is_map:
        cache.settle_region(plan.place(index))
