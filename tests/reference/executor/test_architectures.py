"""Architectures as people build them, at sizes that their strides divide and at sizes that they do not."""

from __future__ import annotations

import csv
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from kernels import SparseExecutor
from kernels.bench.architecture_ratios import BATCH_SIZES, BATCHES, MOST, RATIOS, WHY
from kernels.bench.architectures import ARCHITECTURES, SIZES, build, frame_channels
from kernels.executor.calibration.truncation_profile import TruncationProfile, TruncationRow
from kernels.executor.graph.nodes import DenseCall, TensorToMap, TransposedConvolution

SMALL = ((96, 128), (90, 118))
POLICIES = ("exact", "truncate", "fixed")


def leaves(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def distance(one: Any, other: Any) -> float:
    """The largest difference as a share of an output's range, over all outputs."""
    pairs = zip(leaves(one), leaves(other), strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def mean_distance(one: Any, other: Any) -> float:
    return sum(float((a - b).abs().mean()) for a, b in zip(leaves(one), leaves(other), strict=True))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("size", SMALL)
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_dense_sparse_and_everything_between(name: str, size: tuple[int, int], policy: str) -> None:
    model = build(name)
    generator = torch.Generator().manual_seed(2)
    reference, other = torch.rand(2, 1, frame_channels(name), *size, generator=generator)
    active = torch.zeros(-(-size[0] // 16), -(-size[1] // 16), dtype=torch.bool)
    active[1:3, 2:4] = True
    mask = active.repeat_interleave(16, 0).repeat_interleave(16, 1)[: size[0], : size[1]]
    frame, still = torch.where(mask, other, reference), torch.zeros(*active.shape, 2, dtype=torch.int64)
    executor = SparseExecutor(
        model, policy, truncation=TruncationProfile((TruncationRow(0.0, 0.0, 0.0, 0.0),))
    )
    before, cache = executor.dense(reference)
    truth, _ = executor.dense(frame)
    with torch.no_grad():
        assert distance(before, model(reference)) < 1e-4
        assert distance(truth, model(frame)) < 1e-4
    full, _, report = executor.sparse(frame, torch.ones_like(active), still, cache)
    assert distance(full, truth) < 1e-5
    assert set(report.reused.values()) == {0.0}
    made, after, report = executor.sparse(frame, active, still, cache)
    if policy == "fixed":  # what changed around the blocks is left as it was
        assert mean_distance(made, truth) < mean_distance(before, truth)
    else:  # nothing moves, and ε = 0; calls on whole maps agree to rounding
        assert distance(made, truth) < 1e-5
    again, _, _ = executor.sparse(frame, torch.zeros_like(active), still, after)
    assert distance(again, made) < 1e-5
    assert any(share > 0.5 for share in report.reused.values())


@pytest.mark.parametrize("size", SMALL)
@pytest.mark.parametrize(
    ("name", "conversions"),
    [("depthwise with squeeze and excitation", 4), ("efficient (SiLU, squeeze and excitation)", 5)],
)
def test_gates_do_not_make_what_is_behind_them_dense(
    name: str, conversions: int, size: tuple[int, int]
) -> None:
    """Only the pooled branch is: one number a channel comes back, and the maps stay maps."""
    plan = SparseExecutor(build(name), "fixed").plan(torch.rand(1, 3, *size))
    entered = [node for node in plan.nodes if isinstance(node.operation, TensorToMap)]
    assert [node.map_shape()[:2] for node in entered] == [(1, 1)] * conversions
    whole = {node.operation.call.name for node in plan.nodes if isinstance(node.operation, DenseCall)}
    assert not whole & {"mul", "add"}
    assert plan.nodes[-1].is_map


@pytest.mark.parametrize("size", SMALL)
def test_a_channel_shuffle_by_views_is_one_operation(size: tuple[int, int]) -> None:
    plan = SparseExecutor(build("shuffle"), "exact").plan(torch.rand(1, 3, *size))
    assert not any(isinstance(node.operation, (DenseCall, TensorToMap)) for node in plan.nodes)
    orders = [
        node.operation.order for node in plan.nodes if isinstance(node.operation, TransposedConvolution)
    ]
    assert len(orders) == 5
    assert orders[0][:4] == (0, 32, 1, 33)


def test_views_of_channels_that_another_reader_needs() -> None:
    """Followed as far as they only rearrange channels; a mean over the groups needs the tensor itself."""

    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 4, 3, padding=1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            y = self.first(x)
            groups = y.view(1, 3, 4, *y.shape[2:])
            turned = groups.permute(0, 2, 1, 3, 4).reshape(y.shape)
            back = groups.transpose(1, 2).contiguous().transpose(2, 1).reshape(y.shape)
            return self.last(torch.relu(turned)), groups.mean(2), self.last(back) + self.last(y)

    model = Grouped().eval()
    frame = torch.rand(1, 3, 33, 47)
    executor = SparseExecutor(model, "exact", block_px=8)
    outputs, cache = executor.dense(frame)
    with torch.no_grad():
        assert distance(outputs, model(frame)) < 1e-5
    later = frame.clone()
    later[..., 8:16, 8:16] += 1
    still = torch.zeros(5, 6, 2, dtype=torch.int64)
    made, _, _ = executor.sparse(later, torch.zeros(5, 6, dtype=torch.bool), still, cache)
    with torch.no_grad():
        assert distance(made, model(later)) < 1e-5


def test_the_tables_have_every_architecture_and_a_word_for_what_is_slow() -> None:
    with RATIOS.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {(row["architecture"], int(row["height"]), int(row["width"]), row["policy"]) for row in rows}
    assert found == {(name, *size, policy) for name in ARCHITECTURES for size in SIZES for policy in POLICIES}
    assert len(rows) == len(found)
    for row in rows:
        ratio = float(row["ratio"])
        assert ratio == pytest.approx(float(row["sparse_ms"]) / float(row["dense_ms"]), abs=0.011)
        assert (row["over_exact"] != "") == (row["policy"] == "truncate")
        assert (len(row["why"]) > 20) == (max(ratio, float(row["over_exact"] or 0.0)) > MOST), row
        if row["why"]:
            assert row["why"] == WHY[row["architecture"], row["policy"]]
    with BATCHES.open(encoding="utf-8") as file:
        batches = [(row["policy"], int(row["cameras"])) for row in csv.DictReader(file)]
    assert sorted(batches) == sorted((policy, count) for policy in POLICIES for count in BATCH_SIZES)
