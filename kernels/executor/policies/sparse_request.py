"""A sparse run as it was asked for, and the active set of each resolution that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from kernels.executor.certificates.certificate import same_bits
from kernels.executor.plan.execution_plan import ExecutionPlan, Resolution
from kernels.executor.state.active_sets import ActiveSet, HostActiveSets, decide_active_sets
from kernels.executor.state.feature_cache import FeatureCache
from kernels.executor.state.margins import computed_blocks, computed_share


@dataclass(frozen=True, slots=True)
class SparseRequest:
    """One sparse run.

    Attributes:
        frame: (1, C, H, W).
        active: bool (rows, columns) of blocks, on the CPU.
        vectors: int64 (rows, columns, 2), (dx, dy) in pixels, on the CPU.
        cache: what to reuse.
        block_px: side of a block.
        break_even: share of the frame within the margin from which the frame is run densely.
        margin_px: how far beyond the active blocks every layer computes.
        salient: bool (rows, columns), the blocks at which layers that feed only salient outputs are computed
            where they are active; None for all.
    """

    frame: torch.Tensor
    active: torch.Tensor
    vectors: torch.Tensor
    cache: FeatureCache
    block_px: int
    break_even: float = 1.0
    margin_px: int = 0
    salient: torch.Tensor | None = None

    @property
    def computed(self) -> torch.Tensor:
        """The blocks of which anything lies within the margin: bool (rows, columns)."""
        return computed_blocks(self.active, self.margin_px, self.block_px)

    @property
    def runs_densely(self) -> bool:
        """Whether so much is to be computed that all is."""
        return computed_share(self.active, self.margin_px, self.block_px) >= self.break_even


def is_unchanged(request: SparseRequest, reference: torch.Tensor) -> bool:
    """Whether the frame equals the reference's (H, W, C), nothing moved and nothing is to be recomputed."""
    if bool(request.active.any()) or bool(request.vectors.any()):
        return False
    frame = request.frame[0].permute(1, 2, 0).to(reference.dtype)
    return torch.equal(frame, reference) and bool(same_bits(frame, reference).all())


def active_sets_of(
    plan: ExecutionPlan, request: SparseRequest, moves_only: bool = False
) -> dict[int, ActiveSet]:
    """The active set of every resolution at which maps are computed, the frame's left out unless shared.

    Args:
        moves_only: whether the displacements are all that is asked for.
    """
    return host_active_sets(plan, request, moves_only).to(plan.device)


def host_active_sets(plan: ExecutionPlan, request: SparseRequest, moves_only: bool = False) -> HostActiveSets:
    """`active_sets_of` before the copy to the device of the maps."""
    made = _decide(plan, request, request.active, plan.everywhere, request.margin_px, moves_only)
    if not plan.salient_only:
        return made
    salient = request.active if request.salient is None else request.active & request.salient
    # Of a salient output, only what lies at salient blocks is read, which reach beyond what was found.
    narrow_px = request.margin_px if request.salient is None else 0
    narrow = _decide(plan, request, salient, plan.salient_only, narrow_px, moves_only)
    return HostActiveSets({**made.by_resolution, **narrow.by_resolution}, made.blocks)


def _decide(
    plan: ExecutionPlan,
    request: SparseRequest,
    active: torch.Tensor,
    resolutions: Mapping[int, Resolution],
    margin_px: int,
    moves_only: bool,
) -> HostActiveSets:
    return decide_active_sets(
        resolutions,
        active,
        request.vectors,
        request.block_px,
        plan.bilinear,
        request.cache.residuals,
        moves_only,
        margin_px,
    )
