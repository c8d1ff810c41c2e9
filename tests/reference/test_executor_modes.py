"""The executor under torch's modes and beside layers that are particular about memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernels import SparseExecutor

ACTIVE = torch.zeros(2, 3, dtype=torch.bool)
VECTORS = torch.zeros(2, 3, 2, dtype=torch.int32)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU()).eval()


@pytest.mark.parametrize("policy", ["exact", "truncate", "fixed"])
@pytest.mark.parametrize("inside", ["dense", "sparse", "both"])
def test_inference_mode_changes_neither_the_plan_nor_the_result(policy: str, inside: str) -> None:
    """Composite calls on inference tensors are not taken apart, and must not be planned as such."""
    model, frame = network(), torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = model(frame)
    executor = SparseExecutor(model, policy)
    with torch.inference_mode(inside != "sparse"):
        _, cache = executor.dense(frame + 0)
    with torch.inference_mode(inside != "dense"):
        outputs, after, report = executor.sparse(frame + 0, ACTIVE | False, VECTORS + 0, cache)
    outputs, _, _ = executor.sparse(frame, ACTIVE, VECTORS, after)
    assert torch.allclose(outputs, expected, atol=1e-6)
    assert not outputs.is_inference()
    assert dict(report.reused) == {"0": 1.0}


def test_group_norm_runs_on_maps() -> None:
    model, frame = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)).eval(), torch.rand(1, 3, 32, 48)
    executor = SparseExecutor(model, "exact")
    outputs, cache = executor.dense(frame)
    again, _, _ = executor.sparse(frame, ACTIVE, VECTORS, cache)
    with torch.no_grad():
        expected = model(frame)
    assert torch.allclose(outputs, expected, atol=1e-5)
    assert torch.equal(outputs, again)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_the_most_negative_vector_is_too_long(dtype: torch.dtype) -> None:
    """It is the one whose absolute value is negative."""
    executor, frame = SparseExecutor(network()), torch.rand(1, 3, 32, 48)
    _, cache = executor.dense(frame)
    vectors = torch.full((2, 3, 2), torch.iinfo(dtype).min, dtype=dtype)
    with pytest.raises(ValueError, match=r"vectors must be at most 16383 px long \(got \d+\)"):
        executor.sparse(frame, ACTIVE, vectors, cache)
