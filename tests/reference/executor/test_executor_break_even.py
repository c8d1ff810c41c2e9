"""Layers run in full past their own break-even, how that is measured, and how many sizes are kept."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kernels import SparseExecutor
from kernels.executor.calibration.break_even import SHARES, break_even_share
from kernels.executor.graph.nodes import Convolution
from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.policies.fixed import complete_nodes
from kernels.executor.policies.sparse_request import SparseRequest, active_sets_of
from kernels.executor.reports.plan_table import summarise, table
from kernels.ops import registry
from tests.strategies.networks import MovingFrame, RandomNetwork, cases, poisoned_memory

BACKENDS = [name for name in ("reference", "cpu") if registry.unavailable(name, "cpu") is None]


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 4, 3, 2, 1)
    ).eval()


def reaches_everywhere(plan: ExecutionPlan, node: int) -> set[int]:
    """All that a node depends on, and itself."""
    found = {node}
    for read in plan.nodes[node].inputs:
        found |= reaches_everywhere(plan, read)
    return found


@settings(max_examples=25, deadline=None)
@given(case=cases(), data=st.data())
def test_complete_layers_are_those_of_a_dense_run_and_all_backends_agree_on_the_rest(
    case: tuple[RandomNetwork, MovingFrame], data: st.DataObject
) -> None:
    network, motion = case
    chosen: set[str] | None = None
    results = []
    for backend in BACKENDS:
        with poisoned_memory():
            executor = SparseExecutor(network, "fixed", backend, block_px=8)
            expected, wanted = executor.dense(motion.frame)
            _, cache = executor.dense(motion.reference)
            plan = executor.plan(motion.frame)
            if chosen is None:
                chosen = {plan.nodes[index].name for index in plan.reported if data.draw(st.booleans())}
            plan.break_even.update({i: 0.0 for i in plan.reported if plan.nodes[i].name in chosen})
            outputs, made, report = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
            request = SparseRequest(motion.frame, motion.active, motion.vectors.long(), cache, 8)
            complete = complete_nodes(plan, active_sets_of(plan, request))
            made.settle()
            again, _, _ = executor.sparse(
                motion.frame, torch.zeros_like(motion.active), torch.zeros_like(motion.vectors), made
            )
        results.append((outputs, again, report.reused))
        for index in plan.reported:
            alone = {one for one in reaches_everywhere(plan, index) if one in plan.reported}
            if alone <= plan.break_even.keys():
                assert index in complete
            if index in complete:
                assert report.reused[plan.nodes[index].name] == 0.0
                if index in made.arena.views and plan.slices[index].buffer in plan.kept:
                    assert torch.equal(made.arena.views[index], wanted.arena.views[index])
        if plan.reported and complete >= set(plan.reported) and bool(motion.active.any()):
            assert all(torch.equal(one, two) for one, two in zip(outputs, expected, strict=True))
    for one, two in itertools.pairwise(results):
        assert one[2] == two[2]
        for left, right in zip((*one[0], *one[1]), (*two[0], *two[1]), strict=True):
            assert torch.equal(left, right)


def test_a_layer_behind_one_that_is_sparse_stays_sparse() -> None:
    frame, before = torch.rand(2, 1, 3, 64, 64)
    active, vectors = torch.arange(16).view(4, 4) < 8, torch.zeros(4, 4, 2, dtype=torch.int64)
    executor = SparseExecutor(small(), "fixed")
    _, cache = executor.dense(before)
    plan = executor.plan(frame)
    first, second, third = (i for i, node in enumerate(plan.nodes) if isinstance(node.operation, Convolution))
    names = [plan.nodes[index].name for index in (first, second, third)]
    for shares, reused in (
        ({second: 0.0, third: 0.0}, [0.5, 0.5, 0.5]),
        ({first: 0.5, third: 0.0}, [0.0, 0.5, 0.5]),
        ({first: 0.5, second: 0.51}, [0.0, 0.5, 0.5]),
        ({first: 0.5, second: 0.5}, [0.0, 0.0, 0.5]),
        ({first: 0.2, second: 0.3, third: 0.4}, [0.0, 0.0, 0.0]),
    ):
        plan.break_even.clear()
        plan.break_even.update(shares)
        _, _, report = executor.sparse(frame, active, vectors, cache)
        assert [report.reused[name] for name in names] == reused


def test_where_a_sparse_run_takes_as_long_as_a_full_one() -> None:
    assert break_even_share((0.25, 0.5, 1.0), (1.0, 2.0, 4.0), 4.5) is None
    assert break_even_share((0.25, 0.5, 1.0), (1.0, 2.0, 4.0), 3.0) == 0.75
    assert break_even_share((0.25, 0.5, 1.0), (1.0, 2.0, 4.0), 0.5) == 0.125
    assert break_even_share((0.25, 0.5), (2.0, 2.0), 2.0) == 0.25
    assert break_even_share((0.25, 0.5), (2.0, 1.0), 1.5) is None  # one slow run
    assert break_even_share((0.25, 0.5, 0.75), (2.0, 1.0, 2.0), 1.5) == 0.625


@pytest.mark.parametrize("policy", ["exact", "truncate", "fixed"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_calibration_measures_each_layer_and_the_frame(policy: str, backend: str) -> None:
    frame = torch.rand(1, 3, 64, 64)
    executor = SparseExecutor(small(), policy, backend)
    dense, _ = executor.dense(frame)
    plan = executor.plan(frame)
    assert not plan.break_even
    assert 0.0 <= executor.calibrate(frame, repeats=2) == executor.break_even <= 1.0
    assert set(plan.break_even) <= set(plan.reported)
    assert all(0.0 < share <= max(SHARES) for share in plan.break_even.values())
    assert all(isinstance(plan.nodes[index].operation, Convolution) for index in plan.torch_weights)
    executor.break_even = 1.0
    active, vectors = torch.ones(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int64)
    active[0, 0] = False
    _, cache = executor.dense(frame)
    outputs, _, _ = executor.sparse(frame, active, vectors, cache)
    torch.testing.assert_close(outputs, dense, rtol=1e-4, atol=1e-5)


def test_torchs_own_convolution_runs_in_full_where_it_is_noted() -> None:
    from kernels.executor.plan.execution_plan import pack_for_torch

    frame, before = torch.rand(2, 1, 3, 64, 64)
    executor = SparseExecutor(small(), "fixed")
    dense, _ = executor.dense(frame)
    _, cache = executor.dense(before)
    plan = executor.plan(frame)
    for index, node in enumerate(plan.nodes):
        if isinstance(node.operation, Convolution):
            plan.break_even[index] = 0.0
            plan.torch_weights[index] = pack_for_torch(node.operation, plan.dtype)
    active, vectors = torch.eye(4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int64)
    outputs, _, _ = executor.sparse(frame, active, vectors, cache)
    torch.testing.assert_close(outputs, dense, rtol=1e-4, atol=1e-5)


def test_the_last_four_frame_sizes_are_kept_and_a_cache_of_one_before_is_refused() -> None:
    executor = SparseExecutor(small(), "fixed")
    caches = {side: executor.dense(torch.rand(1, 3, side, side))[1] for side in (32, 48, 64, 80)}
    plans = {side: cache.plan for side, cache in caches.items()}
    assert executor.plan(torch.rand(1, 3, 32, 32)) is plans[32]  # used again, so that 48 is the oldest

    def sparse(side: int) -> None:
        blocks = -(-side // 16)
        active = torch.zeros(blocks, blocks, dtype=torch.bool)
        vectors = torch.zeros(blocks, blocks, 2, dtype=torch.int64)
        executor.sparse(torch.rand(1, 3, side, side), active, vectors, caches[side])

    executor.dense(torch.rand(1, 3, 96, 96))
    for side in (32, 64, 80):
        sparse(side)
    with pytest.raises(ValueError, match=r"among the last 4 sizes"):
        sparse(48)
    assert executor.plan(torch.rand(1, 3, 48, 48)) is not plans[48]
    with pytest.raises(ValueError, match="cache must come from"):
        sparse(48)


class Branches(nn.Module):
    """Two paths of different fields, one through half the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, 2, 1)
        self.deep = nn.Conv2d(4, 4, (5, 3), 2, (2, 1))
        self.up = nn.Upsample(scale_factor=2)
        self.last = nn.Conv2d(8, 2, (1, 3), 1, (0, 1))

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        first = self.first(frame).relu()
        return self.last(torch.cat([first, self.up(self.deep(first))], 1))


def test_the_summary_says_what_a_layer_sees_and_from_when_it_runs_in_full() -> None:
    torch.manual_seed(0)
    network, frame = Branches().eval(), torch.rand(1, 3, 64, 96)
    executor = SparseExecutor(network, "fixed")
    plan = executor.plan(frame)
    plan.break_even[next(i for i in plan.reported if plan.nodes[i].name == "deep")] = 0.75
    rows = {row.name: row for row in summarise(plan, 16)}
    assert [rows[name].field_px for name in ("first", "deep", "up", "last")] == [
        (3, 3),
        (11, 7),
        (11, 7),
        (11, 11),  # two windows of `up` overlap on one of its positions, or stand side by side
    ]
    assert [rows[name].period_px for name in ("first", "deep", "up", "last")] == [(2, 2), *[(4, 4)] * 3]
    assert (rows["deep"].tile, rows["up"].tile, rows["deep"].full_from) == ((4, 4), (8, 8), 0.75)
    # No position depends on more, as autograd sees it.
    image = frame.clone().requires_grad_()
    for column in (23, 24):
        image.grad = None
        network(image)[0, :, 16, column].sum().backward()
        assert image.grad is not None
        where = image.grad[0].abs().sum(0) > 0
        down, across = where.any(1).nonzero(), where.any(0).nonzero()
        assert int(down.max() - down.min()) < 11
        assert int(across.max() - across.min()) < 11
    text = table(list(rows.values()))
    assert [line.split()[0] for line in text.splitlines()] == ["layer", *rows]
    assert "75%" in text.splitlines()[1 + list(rows).index("deep")]


@pytest.mark.parametrize("block_px", [True, False, 0, -16, 16.0, "16", Fraction(16)])
def test_a_block_is_a_whole_number_of_pixels(block_px: object) -> None:
    with pytest.raises(ValueError, match="block_px must be a whole number of pixels"):
        SparseExecutor(small(), block_px=block_px)  # type: ignore[arg-type]


def test_whole_numbers_of_any_kind_are_taken() -> None:
    assert SparseExecutor(small(), block_px=np.int64(8)).block_px == 8  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_complete_maps_read_all_of_a_frame_of_which_a_slice_is_kept(backend: str) -> None:
    """Also where maps are sampled between positions, and therefore moved before anything is computed."""

    class Halves(nn.Module):
        def forward(self, frame: torch.Tensor) -> tuple[torch.Tensor, ...]:
            first, second = frame.split([1, 2], 1)
            return second, torch.relu(second), torch.relu(first)

    model = Halves()
    executor = SparseExecutor(model, "fixed", backend, 8, sampling="bilinear")
    before, after = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 32, 32)
    _, cache = executor.dense(before)
    plan = executor.plan(before)
    plan.break_even.update(dict.fromkeys(plan.reported, 0.25))
    active = torch.zeros(4, 4, dtype=torch.bool)
    active[:2] = True
    outputs, _, report = executor.sparse(after, active, torch.ones(4, 4, 2, dtype=torch.int64), cache)
    assert set(report.reused.values()) == {0.0}
    for made, expected in zip(outputs, model(after), strict=True):
        assert torch.equal(made, expected)
