"""The sparse executor: inference that computes what changed and reuses the rest along the motion vectors."""

from __future__ import annotations

from kernels.executor.executor import SparseExecutor
from kernels.executor.graph.trace import UnsupportedModule
from kernels.executor.report import Report
from kernels.executor.thresholds import TruncationProfile

__all__ = ["Report", "SparseExecutor", "TruncationProfile", "UnsupportedModule"]
