"""The sparse executor: inference that computes what changed and reuses the rest along the motion vectors."""

from __future__ import annotations

from kernels.executor.calibration.truncation_profile import TruncationProfile
from kernels.executor.executor import SparseExecutor
from kernels.executor.graph.module_trace import UnsupportedModule
from kernels.executor.reports.reuse_report import ReuseReport

__all__ = ["ReuseReport", "SparseExecutor", "TruncationProfile", "UnsupportedModule"]
