"""The whole executor on the CUDA kernels, run by the processor: `exact` is the dense run to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from torch.utils import _pytree as pytree

from kernels import SparseExecutor
from kernels.models import build_model
from kernels.ops import registry
from kernels.ops.cuda import shim
from tests.strategies.kernels import SHIM
from tests.strategies.networks import MovingFrame, RandomNetwork, cases, poisoned_memory

pytestmark = pytest.mark.skipif(shim.unavailable("cpu") is not None, reason=str(shim.unavailable("cpu")))


@contextmanager
def known_to_the_registry() -> Iterator[None]:
    with mock.patch.object(registry, "BACKENDS", (*registry.BACKENDS, SHIM)):
        yield


@settings(max_examples=15, deadline=None)
@given(case=cases(most=6))
def test_sparse_equals_dense_to_the_last_bit(case: tuple[RandomNetwork, MovingFrame]) -> None:
    network, motion = case
    with torch.no_grad():
        expected = network(motion.frame)
    with known_to_the_registry(), poisoned_memory():
        executor = SparseExecutor(network, "exact", SHIM, block_px=8)
        _, cache = executor.dense(motion.reference)
        outputs, _, _ = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
    assert all(torch.equal(one, other) for one, other in zip(outputs, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("sampling", ["nearest", "bilinear"])
def test_a_real_network_in_either_precision(dtype: torch.dtype, sampling: str) -> None:
    """YOLO11n-seg with new content in four blocks, all else moved: as with the reference's operations."""
    torch.manual_seed(0)
    model = build_model("yolo11n-seg").eval()
    first = torch.rand(1, 3, 64, 96)
    second = first.clone()
    second[..., 16:48, 32:64] = torch.rand(1, 3, 32, 32)
    active = torch.zeros(4, 6, dtype=torch.bool)
    active[1:3, 2:4] = True
    vectors = torch.zeros(4, 6, 2, dtype=torch.int32)
    vectors[..., 0] = 5
    made = []
    for backend in (SHIM, "reference"):
        with known_to_the_registry():
            executor = SparseExecutor(model, "fixed", backend, sampling=sampling, dtype=dtype)
            names = {choice.name for choice in executor.plan(first).backends.values()}
            assert names == {backend}
            _, cache = executor.dense(first)
            made.append(pytree.tree_leaves(executor.sparse(second, active, vectors, cache)[0]))
    for one, other in zip(*made, strict=True):
        tolerance = 1e-5 if dtype == torch.float32 else 5e-3
        assert float((one - other).abs().max()) <= tolerance * float(other.abs().max())


@pytest.mark.parametrize("policy", ["fixed", "truncate"])
@settings(max_examples=8, deadline=None)
@given(case=cases(most=6))
def test_every_policy_gives_what_the_reference_gives(
    policy: str, case: tuple[RandomNetwork, MovingFrame]
) -> None:
    network, motion = case
    made = []
    for backend in (SHIM, "reference"):
        with known_to_the_registry(), poisoned_memory():
            executor = SparseExecutor(network, policy, backend, block_px=8)
            _, cache = executor.dense(motion.reference)
            outputs, _, _ = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
            made.append(outputs)
    assert all(torch.equal(one, other) for one, other in zip(*made, strict=True))
