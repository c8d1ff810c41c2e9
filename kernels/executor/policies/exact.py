"""`exact`: only what a certificate covers is reused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from kernels.executor.certificates.certificate import CONDITIONS, Certificate, Certifier
from kernels.executor.certificates.classes import Classes, find_classes
from kernels.executor.graph.nodes import Concat, Convolve, Leaf, Pointwise, Unfold, Upsample
from kernels.executor.plan.plan import Plan
from kernels.executor.plan.segments import Layout, Stretches, find_stretches
from kernels.executor.policies.request import Request
from kernels.executor.report import Report
from kernels.executor.state import active_sets
from kernels.executor.state.cache import Cache, Origin, Pool
from kernels.executor.state.steps import Steps, runs_whole
from kernels.ops.cpu.program import Levels
from kernels.ops.maps import list_tiles

Tiles = tuple[torch.Tensor, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Level:
    """Nodes of one certificate that choose alike.

    Attributes:
        of: their certificate class.
        resolution: of the positions that are listed: the class's, or for patches that of what makes them.
        step: positions of the class, down and across, that one listed position makes.
        break_even: share of positions to compute from which all of them are.
    """

    of: int
    resolution: int
    step: tuple[int, int]
    break_even: float


class _Prepared:
    """What does not change between frames of one plan.

    Attributes:
        levels: the different levels.
        of_node: of each map node, the index of its level; None for values.
        full: of each resolution, the tiles of all of it.
        values: what is left to do for a frame that has not changed.
        asked: the break-evens and the block size that this was made for.
        patches: of each `Unfold`, the index of the level of its input positions.
    """

    def __init__(self, plan: Plan, block_px: int) -> None:
        self.classes: Classes = find_classes(plan)
        reported = {self.classes.of(index) for index, node in enumerate(plan.nodes) if index and node.is_map}
        self.certifier = Certifier(self.classes, tuple(reported))
        self.full: list[Tiles] = [
            active_sets.full_level(resolution, block_px, plan.device) for resolution in plan.resolutions
        ]
        self.values = _output_values(plan)
        self._known: dict[_Level, int] = {}
        self.of_node: list[int | None] = []
        self.patches: dict[int, int] = {}
        self.asked = dict(plan.break_even), block_px
        for index, node in enumerate(plan.nodes):
            if not node.is_map:
                self.of_node.append(None)
                continue
            # What a concatenation copies is complete, and its own map is never moved.
            copied = isinstance(node.work, Concat)
            share = 0.0 if copied else plan.break_even.get(index, default_break_even(node.work))
            known = self.classes.of(index)
            self.of_node.append(self._add(_Level(known, plan.level(index), (1, 1), share)))
            if isinstance(node.work, Unfold):
                made = _Level(known, plan.level(node.inputs[0]), node.work.factor, share)
                self.patches[index] = self._add(made)
        self.levels = list(self._known)
        sizes = [plan.resolutions[level.resolution] for level in self.levels]
        layout = Layout(
            levels=self.of_node,
            sizes=[(size.height, size.width) for size in sizes],
            halos=False,
            patches=self.patches,
            moves=True,
        )
        self.stretches: Stretches | None = find_stretches(plan, layout)

    def _add(self, level: _Level) -> int:
        return self._known.setdefault(level, len(self._known))

    @classmethod
    def of(cls, plan: Plan, pool: Pool, block_px: int) -> _Prepared:
        found = pool.compiled.get("exact")
        if not isinstance(found, cls) or found.asked != (plan.break_even, block_px):
            found = pool.compiled["exact"] = cls(plan, block_px)
        return found


def default_break_even(work: Any) -> float:
    """The share of positions to compute from which a layer is computed in full, unless the plan knows better.

    Measured with the C++ operations on maps of YOLO11n-seg at 640²: the time to move the rest of a map and to
    compute a list of positions, over the time to compute all (one thread of a Zen 5; ranges are over
    resolutions; what is certified is one rectangle):

    | to compute        | 10 %    | 50 %    | 80 %     | 90 %     | 95 %     |
    |-------------------|---------|---------|----------|----------|----------|
    | 3×3 convolution   | .15–.28 | .52–.65 | .80–.84  | .89–.93  | .88–1.02 |
    | 1×1 convolution   | .28–.33 | .60–.65 | .83–.88  | .90–.97  | .93–1.03 |
    | 3×3 depthwise     | .41–.51 | .73–.86 | .94–1.04 | .91–1.06 | 1.06–1.2 |
    | 5×5 max pooling   | .31     | .63     | .89      | .96      | 1.0      |
    | addition, SiLU    | .28–.76 | .54–.85 | .72–1.02 | .83–1.09 | .84–1.14 |
    | upsampling        | .6–1.3  | .8–1.1  | .9–1.1   | .8–1.2   | .7–1.6   |
    """
    if isinstance(work, Upsample):
        return 0.6
    if isinstance(work, Pointwise) or (isinstance(work, Convolve) and work.groups > 1):
        return 0.8
    return 0.95


def run_exact(
    plan: Plan, pool: Pool, request: Request, conditions: frozenset[str] = CONDITIONS
) -> tuple[Steps, Cache, Report]:
    """Only certified positions are reused; all others are computed from inputs that are complete.

    A layer of which little is certified is computed in full: a value does not depend on what is computed with
    it, so it comes out the same.
    """
    prepared = _Prepared.of(plan, pool, request.block_px)
    source = request.cache.arena
    if _unchanged(request, source.views[0]):
        # A cache is never written to again, so that of the reference is this frame's as well.
        steps = Steps(plan, pool, source)
        for index in prepared.values:
            steps.whole(index)
        return steps, request.cache, _report_unchanged(plan)
    arena = pool.take()
    steps = Steps(plan, pool, arena)
    steps.load(request.frame)
    certificates = prepared.certifier.certify(
        steps.view(0).cpu(),
        source.views[0].cpu(),
        request.active,
        request.vectors,
        request.block_px,
        conditions,
        arena.held(source),
    )
    if prepared.certifier.still is not None:
        arena.origin = Origin(source.content, prepared.certifier.still)
    chosen = _Chosen(plan, prepared, certificates)
    stretches = prepared.stretches
    levels = chosen.compiled(stretches) if stretches is not None else None
    index = 1
    while index < len(plan.nodes):
        if stretches is not None and levels is not None and index in stretches.spans:
            begin, end, index = stretches.spans[index]
            stretches.program.run(begin, end, levels, arena.memory, pool.shared.memory, source.memory)
            continue
        if runs_whole(plan, index):
            steps.whole(index)
        else:
            chosen.compute(steps, source.views[index], index)
        index += 1
    return steps, Cache(pool, arena, None), chosen.report()


class _Chosen:
    """One frame's certificates, and what each level makes of them."""

    def __init__(self, plan: Plan, prepared: _Prepared, certificates: list[Certificate]) -> None:
        self._plan = plan
        self._prepared = prepared
        self._certificates = certificates
        self._tiles: dict[int, Tiles] = {}
        self._moved: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def _reuses(self, level: _Level) -> bool:
        certificate = self._certificates[level.of]
        return certificate.count > 0 and 1.0 - certificate.share < level.break_even

    def _missing(self, key: int) -> Tiles:
        """What a level computes."""
        level = self._prepared.levels[key]
        certificate = self._certificates[level.of]
        if certificate.missing is None or not self._reuses(level):
            return self._prepared.full[level.resolution]
        if level.step == (1, 1):
            return certificate.missing, (1, 1)
        # All positions of a patch read the same ones, so they are certified together.
        return list_tiles(~certificate.certified[:: level.step[0], :: level.step[1]]), (1, 1)

    def compiled(self, stretches: Stretches) -> Levels:
        """For programs."""
        made = stretches.levels()
        for key, level in enumerate(self._prepared.levels):
            tiles, tile = self._missing(key)
            if self._reuses(level) and level.step == (1, 1):
                certificate = self._certificates[level.of]
                made.set(key, tiles, tile, certificate.fresh, certificate.displacement)
            else:
                made.set(key, tiles, tile)
        return made

    def compute(self, steps: Steps, reference: torch.Tensor, index: int) -> None:
        """One node by itself."""
        plan, prepared = self._plan, self._prepared
        own = prepared.of_node[index]
        assert own is not None
        assert plan.remapper is not None
        level = prepared.levels[own]
        certificate = self._certificates[level.of]
        if certificate.fresh is not None and certificate.displacement is not None and self._reuses(level):
            if level.of not in self._moved:
                moved = certificate.displacement.to(plan.device), certificate.fresh.to(plan.device)
                self._moved[level.of] = moved
            displacement, fresh = self._moved[level.of]
            plan.remapper.module.remap(reference, displacement, steps.view(index), fresh)
        key = prepared.patches.get(index, own)
        if key not in self._tiles:
            tiles, tile = self._missing(key)
            self._tiles[key] = tiles.to(plan.device), tile
        steps.compute(index, *self._tiles[key])

    def report(self) -> Report:
        plan, prepared = self._plan, self._prepared
        reused: dict[str, float] = {}
        shares = [
            self._certificates[level.of].share if self._reuses(level) else 0.0 for level in prepared.levels
        ]
        for index in plan.counted:
            key = prepared.of_node[index]
            assert key is not None
            reused[plan.nodes[index].name] = 0.0 if runs_whole(plan, index) else shares[key]
        maps = {
            node.name: self._certificates[prepared.classes.of(index)].certified
            for index, node in enumerate(plan.nodes)
            if node.is_map and index > 0
        }
        return Report("exact", reused, maps)


def _unchanged(request: Request, reference: torch.Tensor) -> bool:
    """Whether the frame is the reference's, where it stands."""
    if bool(request.active.any()) or bool(request.vectors.any()):
        return False
    return torch.equal(request.frame[0].permute(1, 2, 0).to(reference.dtype), reference)


def _output_values(plan: Plan) -> list[int]:
    """The values that a frame's outputs are made of, in order: all that is left to do where maps stay."""
    wanted = {leaf.node for leaf in plan.graph.outputs if isinstance(leaf, Leaf)}
    for index in reversed(range(len(plan.nodes))):
        if index in wanted and not plan.nodes[index].is_map:
            wanted.update(plan.nodes[index].inputs)
    return [index for index in sorted(wanted) if not plan.nodes[index].is_map]


def _report_unchanged(plan: Plan) -> Report:
    everything: Mapping[int, torch.Tensor] = {
        key: torch.ones(resolution.height, resolution.width, dtype=torch.bool)
        for key, resolution in enumerate(plan.resolutions)
    }
    maps = {
        node.name: everything[plan.level(index)]
        for index, node in enumerate(plan.nodes)
        if node.is_map and index > 0
    }
    return Report("exact", {plan.nodes[index].name: 1.0 for index in plan.counted}, maps)
