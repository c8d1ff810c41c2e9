"""What a sparse run is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kernels.executor.state.feature_cache import FeatureCache


@dataclass(frozen=True, slots=True)
class SparseRequest:
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
    cache: FeatureCache
    block_px: int
    break_even: float = 1.0
