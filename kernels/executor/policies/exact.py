"""`exact`: only positions with a certificate are reused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from kernels.executor.certificates.certificate import CONDITIONS, Certificate, Certifier
from kernels.executor.certificates.certificate_classes import CertificateClasses, find_classes
from kernels.executor.graph.nodes import (
    Concat,
    Convolution,
    Pointwise,
    TransposedConvolution,
    Upsample,
)
from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.plan.fused_segments import FusedSegments, SegmentLayout, fuse_segments
from kernels.executor.policies.sparse_request import SparseRequest, is_unchanged
from kernels.executor.reports.reuse_report import ReuseReport
from kernels.executor.state import active_sets
from kernels.executor.state.arenas import ArenaPool, ContentOrigin
from kernels.executor.state.feature_cache import FeatureCache
from kernels.executor.state.node_runner import NodeRunner, output_dense_calls, runs_whole
from kernels.ops.cpu.program import ActiveSetTable
from kernels.ops.maps import list_tiles

Tiles = tuple[torch.Tensor, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _NodeGroup:
    """Nodes with one certificate that decide alike what to compute.

    Attributes:
        of: their certificate class.
        resolution: of the positions that are computed: the class's, or for a transposed convolution its
            input's.
        step: (down, across) positions of the class that one computed position makes.
        break_even: share of positions to compute from which all are computed.
    """

    of: int
    resolution: int
    step: tuple[int, int]
    break_even: float


class _ExactPlan:
    """What does not change between frames of one plan.

    Attributes:
        groups: the different node groups.
        of_node: for each map node, the index of its group; None for tensors that are no maps.
        full: for each resolution, tiles that cover all of it.
        dense_calls: the nodes left to run for a frame that has not changed.
        made_for: the break-evens and the block size that this was made for.
        patches: for each `TransposedConvolution`, the index of the group of its input positions.
    """

    def __init__(self, plan: ExecutionPlan, block_px: int) -> None:
        self.classes: CertificateClasses = find_classes(plan)
        reported = {self.classes.of(index) for index, node in enumerate(plan.nodes) if index and node.is_map}
        self.certifier = Certifier(self.classes, tuple(reported))
        self.full: list[Tiles] = [
            active_sets.full_tiles(resolution, block_px, plan.device) for resolution in plan.resolutions
        ]
        self.dense_calls = output_dense_calls(plan)
        self._known: dict[_NodeGroup, int] = {}
        self.of_node: list[int | None] = []
        self.patches: dict[int, int] = {}
        self.made_for = dict(plan.break_even), block_px
        for index, node in enumerate(plan.nodes):
            if not node.is_map:
                self.of_node.append(None)
                continue
            # The inputs that a concatenation copies are complete, and its own map is never moved.
            copied = isinstance(node.operation, Concat)
            share = 0.0 if copied else plan.break_even.get(index, default_break_even(node.operation))
            known = self.classes.of(index)
            self.of_node.append(self._add(_NodeGroup(known, plan.resolution_of(index), (1, 1), share)))
            if isinstance(node.operation, TransposedConvolution):
                made = _NodeGroup(known, plan.resolution_of(node.inputs[0]), node.operation.factor, share)
                self.patches[index] = self._add(made)
        self.groups = list(self._known)
        sizes = [plan.resolutions[group.resolution] for group in self.groups]
        layout = SegmentLayout(
            node_sets=self.of_node,
            sizes=[(size.height, size.width) for size in sizes],
            halos=False,
            patches=self.patches,
            remaps=True,
        )
        self.segments: FusedSegments | None = fuse_segments(plan, layout)

    def _add(self, group: _NodeGroup) -> int:
        return self._known.setdefault(group, len(self._known))

    @classmethod
    def of(cls, plan: ExecutionPlan, pool: ArenaPool, block_px: int) -> _ExactPlan:
        found = pool.compiled.get("exact")
        if not isinstance(found, cls) or found.made_for != (plan.break_even, block_px):
            found = pool.compiled["exact"] = cls(plan, block_px)
        return found


def default_break_even(operation: Any) -> float:
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
    if isinstance(operation, Upsample):
        return 0.6
    if isinstance(operation, Pointwise) or (isinstance(operation, Convolution) and operation.groups > 1):
        return 0.8
    return 0.95


def run_exact(
    plan: ExecutionPlan, pool: ArenaPool, request: SparseRequest, conditions: frozenset[str] = CONDITIONS
) -> tuple[NodeRunner, FeatureCache, ReuseReport]:
    """Only certified positions are reused; all others are computed from inputs that are complete.

    A layer with few certified positions is computed in full. The result is the same to the last bit: a
    value does not depend on which other positions are computed with it.
    """
    prepared = _ExactPlan.of(plan, pool, request.block_px)
    source = request.cache.arena
    if is_unchanged(request, source.views[0]):
        # A cache is never written to again, so the reference's serves for this frame too.
        runner = NodeRunner(plan, pool, source)
        for index in prepared.dense_calls:
            runner.run_whole(index)
        return runner, request.cache, _report_unchanged(plan)
    arena = pool.acquire()
    runner = NodeRunner(plan, pool, arena)
    runner.load(request.frame)
    certificates = prepared.certifier.certify(
        runner.view(0).cpu(),
        source.views[0].cpu(),
        request.active,
        request.vectors,
        request.block_px,
        conditions,
        arena.up_to_date_with(source),
    )
    if prepared.certifier.unmoved is not None:
        arena.origin = ContentOrigin(source.content, prepared.certifier.unmoved)
    decisions = _FrameDecisions(plan, prepared, certificates)
    segments = prepared.segments
    table = decisions.table(segments) if segments is not None else None
    index = 1
    while index < len(plan.nodes):
        if segments is not None and table is not None and index in segments.spans:
            begin, end, index = segments.spans[index]
            segments.program.run(begin, end, table, arena.memory, pool.workspace.memory, source.memory)
            continue
        if runs_whole(plan, index):
            runner.run_whole(index)
        else:
            decisions.compute(runner, source.views[index], index)
        index += 1
    return runner, FeatureCache(pool, arena, None), decisions.report()


class _FrameDecisions:
    """One frame's certificates, and what each node group computes because of them."""

    def __init__(self, plan: ExecutionPlan, prepared: _ExactPlan, certificates: list[Certificate]) -> None:
        self._plan = plan
        self._prepared = prepared
        self._certificates = certificates
        self._tiles: dict[int, Tiles] = {}
        self._moved: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def _reuses(self, group: _NodeGroup) -> bool:
        certificate = self._certificates[group.of]
        return certificate.count > 0 and 1.0 - certificate.share < group.break_even

    def _missing(self, key: int) -> Tiles:
        """The tiles that a group computes."""
        group = self._prepared.groups[key]
        certificate = self._certificates[group.of]
        if certificate.missing is None or not self._reuses(group):
            return self._prepared.full[group.resolution]
        if group.step == (1, 1):
            return certificate.missing, (1, 1)
        # All positions of a patch read the same ones, so they are certified together.
        return list_tiles(~certificate.certified[:: group.step[0], :: group.step[1]]), (1, 1)

    def table(self, segments: FusedSegments) -> ActiveSetTable:
        """The active sets of the groups, for programs."""
        made = segments.new_table()
        for key, group in enumerate(self._prepared.groups):
            tiles, tile = self._missing(key)
            if self._reuses(group) and group.step == (1, 1):
                certificate = self._certificates[group.of]
                made.set(key, tiles, tile, certificate.fresh, certificate.displacement)
            else:
                made.set(key, tiles, tile)
        return made

    def compute(self, runner: NodeRunner, reference: torch.Tensor, index: int) -> None:
        """Run one node that no program runs."""
        plan, prepared = self._plan, self._prepared
        own = prepared.of_node[index]
        assert own is not None
        assert plan.remap_backend is not None
        group = prepared.groups[own]
        certificate = self._certificates[group.of]
        if certificate.fresh is not None and certificate.displacement is not None and self._reuses(group):
            if group.of not in self._moved:
                moved = certificate.displacement.to(plan.device), certificate.fresh.to(plan.device)
                self._moved[group.of] = moved
            displacement, fresh = self._moved[group.of]
            plan.remap_backend.module.remap(reference, displacement, runner.view(index), fresh)
        key = prepared.patches.get(index, own)
        if key not in self._tiles:
            tiles, tile = self._missing(key)
            self._tiles[key] = tiles.to(plan.device), tile
        runner.compute(index, *self._tiles[key])

    def report(self) -> ReuseReport:
        plan, prepared = self._plan, self._prepared
        reused: dict[str, float] = {}
        shares = [
            self._certificates[group.of].share if self._reuses(group) else 0.0 for group in prepared.groups
        ]
        for index in plan.reported:
            key = prepared.of_node[index]
            assert key is not None
            reused[plan.nodes[index].name] = 0.0 if runs_whole(plan, index) else shares[key]
        maps = {
            node.name: self._certificates[prepared.classes.of(index)].certified
            for index, node in enumerate(plan.nodes)
            if node.is_map and index > 0
        }
        return ReuseReport("exact", reused, maps)


def _report_unchanged(plan: ExecutionPlan) -> ReuseReport:
    everything: Mapping[int, torch.Tensor] = {
        key: torch.ones(resolution.height, resolution.width, dtype=torch.bool)
        for key, resolution in enumerate(plan.resolutions)
    }
    maps = {
        node.name: everything[plan.resolution_of(index)]
        for index, node in enumerate(plan.nodes)
        if node.is_map and index > 0
    }
    return ReuseReport("exact", {plan.nodes[index].name: 1.0 for index in plan.reported}, maps)
