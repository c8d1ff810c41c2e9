"""Under `exact`, a sparse run is the dense run to the last bit, whatever the network and the motion."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from kernels import SparseExecutor
from kernels.ops import registry
from tests.strategies_networks import Motion, RandomNetwork, cases, poisoned_memory

BACKENDS = [name for name in ("reference", "cpu") if registry.unavailable(name, "cpu") is None]


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_sparse_equals_dense_to_the_last_bit(backend: str, case: tuple[RandomNetwork, Motion]) -> None:
    network, motion = case
    with torch.no_grad():
        expected = network(motion.frame)
    with poisoned_memory():
        executor = SparseExecutor(network, "exact", backend, block_px=8)
        dense, cache = executor.dense(motion.reference)
        outputs, after, report = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
        again, _, _ = executor.sparse(motion.reference, motion.active, -motion.vectors, after)
    with torch.no_grad():
        start = network(motion.reference)
    for made, wanted in ((dense, start), (outputs, expected), (again, start)):
        assert all(torch.equal(one, other) for one, other in zip(made, wanted, strict=True))
    assert all(0.0 <= share <= 1.0 for share in report.reused.values())


@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_an_unchanged_frame_reuses_everything(case: tuple[RandomNetwork, Motion]) -> None:
    network, motion = case
    executor = SparseExecutor(network, "exact", block_px=8)
    _, cache = executor.dense(motion.reference)
    still = torch.zeros_like(motion.vectors)
    _, _, report = executor.sparse(motion.reference, torch.zeros_like(motion.active), still, cache)
    local = {"layers." + str(i) for i, step in enumerate(network.steps) if step.kind == "unfold"}
    shares = {name: share for name, share in report.reused.items() if name not in local}
    assert set(shares.values()) <= {1.0}
