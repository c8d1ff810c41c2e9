"""A sparse run as it was asked for, and the active set of each resolution that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kernels.executor.certificates.certificate import same_bits
from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.state.active_sets import ActiveSet, HostActiveSets, decide_active_sets
from kernels.executor.state.feature_cache import FeatureCache


@dataclass(frozen=True, slots=True)
class SparseRequest:
    """One sparse run.

    Attributes:
        frame: (1, C, H, W).
        active: bool (rows, columns) of blocks, on the CPU.
        vectors: int64 (rows, columns, 2), (dx, dy) in pixels, on the CPU.
        cache: what to reuse.
        block_px: side of a block.
        break_even: share of active blocks from which the frame is run densely.
    """

    frame: torch.Tensor
    active: torch.Tensor
    vectors: torch.Tensor
    cache: FeatureCache
    block_px: int
    break_even: float = 1.0


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
    computed = {
        plan.node_resolutions[index] if not node.is_map else plan.computed_resolution(index)
        for index, node in enumerate(plan.nodes)
        if index > 0
    }
    resolutions = {
        key: resolution
        for key, resolution in enumerate(plan.resolutions)
        if key in computed or key in plan.node_resolutions[1:]
    }
    return decide_active_sets(
        resolutions,
        request.active,
        request.vectors,
        request.block_px,
        plan.bilinear,
        request.cache.residuals,
        moves_only,
    )
