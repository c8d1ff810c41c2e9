"""The whole executor on the CUDA kernels, run by the processor: `exact` is the dense run to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from hypothesis import given, settings

from kernels import SparseExecutor
from kernels.ops import registry
from kernels.ops.cuda import shim
from tests.strategies_kernels import SHIM
from tests.strategies_networks import Motion, RandomNetwork, cases, poisoned_memory

pytestmark = pytest.mark.skipif(shim.unavailable("cpu") is not None, reason=str(shim.unavailable("cpu")))


@contextmanager
def known_to_the_registry() -> Iterator[None]:
    with mock.patch.object(registry, "BACKENDS", (*registry.BACKENDS, SHIM)):
        yield


@settings(max_examples=15, deadline=None)
@given(case=cases(most=6))
def test_sparse_equals_dense_to_the_last_bit(case: tuple[RandomNetwork, Motion]) -> None:
    network, motion = case
    with torch.no_grad():
        expected = network(motion.frame)
    with known_to_the_registry(), poisoned_memory():
        executor = SparseExecutor(network, "exact", SHIM, block_px=8)
        _, cache = executor.dense(motion.reference)
        outputs, _, _ = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
    assert all(torch.equal(one, other) for one, other in zip(outputs, expected, strict=True))


@pytest.mark.parametrize("policy", ["fixed", "truncate"])
@settings(max_examples=8, deadline=None)
@given(case=cases(most=6))
def test_every_policy_gives_what_the_reference_gives(policy: str, case: tuple[RandomNetwork, Motion]) -> None:
    network, motion = case
    made = []
    for backend in (SHIM, "reference"):
        with known_to_the_registry(), poisoned_memory():
            executor = SparseExecutor(network, policy, backend, block_px=8)
            _, cache = executor.dense(motion.reference)
            outputs, _, _ = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
            made.append(outputs)
    assert all(torch.equal(one, other) for one, other in zip(*made, strict=True))
