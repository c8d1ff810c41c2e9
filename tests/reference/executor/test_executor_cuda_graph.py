"""A chain of replayed frames is the executor's own chain, whatever the lists of tiles are filled up to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from kernels import SparseExecutor
from kernels.executor.cuda_graph import CudaGraphRunner
from kernels.models import build_model
from kernels.ops import registry
from tests.strategies.kernels import SHIM


def rerun(run: Callable[[], Any]) -> Callable[[], Any]:
    """In place of a graph, where there is no GPU: the function itself, at the same addresses."""
    return run


def frames(size: tuple[int, int], count: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    grid = size[0] // 16, size[1] // 16
    made = []
    for number in range(count):
        frame = torch.rand(1, 3, *size, generator=generator)
        active = torch.rand(grid, generator=generator) < (0.0, 0.2, 0.9, 0.4)[number % 4]
        made.append((frame, active, torch.randint(-9, 10, (*grid, 2), generator=generator)))
    return made


@pytest.mark.parametrize(("backend", "buckets"), [("cpu", 1), ("cpu", 1000), ("reference", 3), (SHIM, 3)])
def test_a_chain_of_frames(backend: str, buckets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend == SHIM:
        monkeypatch.setattr(registry, "BACKENDS", (*registry.BACKENDS, SHIM))
    reason = registry.unavailable(backend, "cpu")
    if reason is not None:
        pytest.skip(reason)
    torch.manual_seed(0)
    model = build_model("yolo11n-seg").eval()
    first = torch.rand(1, 3, 64, 96)
    executor = SparseExecutor(model, "fixed", backend)
    _, cache = executor.dense(first)
    runner = CudaGraphRunner(executor.plan(first), executor.block_px, buckets, rerun)
    runner.start(cache)
    for frame, active, vectors in frames((64, 96), 5):
        wanted, cache, _ = executor.sparse(frame, active, vectors, cache)
        made = runner.sparse(frame, active, vectors)
        for one, other in zip(pytree.tree_leaves(made), pytree.tree_leaves(wanted), strict=True):
            if backend != "reference":
                assert torch.equal(one, other)
            else:  # the order of its sums depends on how many tiles there are
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_everything_active_is_replayed_too() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2, 2)).eval()
    first = torch.rand(1, 3, 48, 64)
    executor = SparseExecutor(model, "fixed", "reference")
    _, cache = executor.dense(first)
    runner = CudaGraphRunner(executor.plan(first), executor.block_px, 4, rerun)
    runner.start(cache)
    frame = torch.rand(1, 3, 48, 64)
    made = runner.sparse(frame, torch.ones(3, 4, dtype=torch.bool), torch.zeros(3, 4, 2).int())
    with torch.no_grad():
        torch.testing.assert_close(made, model(frame))


def test_a_cache_of_another_plan_is_refused() -> None:
    model = nn.Conv2d(3, 8, 3, 1, 1).eval()
    one, other = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 64)
    executor = SparseExecutor(model, "fixed", "reference")
    _, cache = executor.dense(other)
    with pytest.raises(ValueError, match="cache must come from the same plan"):
        CudaGraphRunner(executor.plan(one), executor.block_px, 4, rerun).start(cache)
