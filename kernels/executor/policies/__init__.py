"""Policies: the ways in which an active set propagates through a network, one a module."""

from __future__ import annotations

from kernels.executor.policies.adaptive import MARGIN_PX, run_adaptive
from kernels.executor.policies.dense import run_dense
from kernels.executor.policies.dense_check import check_dense
from kernels.executor.policies.exact import run_exact
from kernels.executor.policies.fixed import run_fixed
from kernels.executor.policies.placement_check import check_placement
from kernels.executor.policies.sparse_request import SparseRequest
from kernels.executor.policies.truncate import run_truncate

__all__ = [
    "MARGIN_PX",
    "SparseRequest",
    "check_dense",
    "check_placement",
    "run_adaptive",
    "run_dense",
    "run_exact",
    "run_fixed",
    "run_truncate",
]
