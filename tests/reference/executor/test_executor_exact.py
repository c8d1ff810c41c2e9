"""Under `exact`, a sparse run is the dense run to the last bit, whatever the network and the motion."""

from __future__ import annotations

import gc
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kernels import SparseExecutor
from kernels.ops import registry
from tests.strategies.networks import MovingFrame, RandomNetwork, cases, poisoned_memory

BACKENDS = [name for name in ("reference", "cpu") if registry.unavailable(name, "cpu") is None]


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_sparse_equals_dense_to_the_last_bit(backend: str, case: tuple[RandomNetwork, MovingFrame]) -> None:
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


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_without_a_compiler(case: tuple[RandomNetwork, MovingFrame]) -> None:
    """Certificates are then made in torch."""
    network, motion = case
    real = registry.unavailable

    def no_compiler(backend: str, device: str) -> str | None:
        return "no C++ compiler found" if backend == "cpu" else real(backend, device)

    with mock.patch.object(registry, "unavailable", no_compiler), poisoned_memory():
        executor = SparseExecutor(network, "exact", block_px=8)
        _, cache = executor.dense(motion.reference)
        outputs, _, report = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
    compiled = SparseExecutor(network, "exact", block_px=8)
    _, cache = compiled.dense(motion.reference)
    expected, _, other = compiled.sparse(motion.frame, motion.active, motion.vectors, cache)
    assert all(torch.equal(one, two) for one, two in zip(outputs, expected, strict=True))
    assert report.reused == other.reused


@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_an_unchanged_frame_reuses_everything(case: tuple[RandomNetwork, MovingFrame]) -> None:
    network, motion = case
    executor = SparseExecutor(network, "exact", block_px=8)
    _, cache = executor.dense(motion.reference)
    still = torch.zeros_like(motion.vectors)
    _, _, report = executor.sparse(motion.reference, torch.zeros_like(motion.active), still, cache)
    local = {"layers." + str(i) for i, step in enumerate(network.steps) if step.kind == "unfold"}
    shares = {name: share for name, share in report.reused.items() if name not in local}
    assert set(shares.values()) <= {1.0}


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=25, deadline=None)
@given(case=cases(), data=st.data())
def test_any_layer_may_be_computed_in_full(
    backend: str, case: tuple[RandomNetwork, MovingFrame], data: st.DataObject
) -> None:
    """Whatever the break-even of each layer, at its share or not: the same bits and certificates."""
    network, motion = case
    with poisoned_memory():
        executor = SparseExecutor(network, "exact", backend, block_px=8)
        _, cache = executor.dense(motion.reference)
        plan = executor.plan(motion.frame)
        first, _, report = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
        shares = {name: float(report.certified(name).double().mean()) for name in report.reused}
        for index in plan.reported:
            computed = 1.0 - shares[plan.nodes[index].name]
            choices = [0.0, computed, computed + 1e-9, 1.0, 2.0]
            plan.break_even[index] = data.draw(st.sampled_from(choices))
        for index in set(range(len(plan.nodes))) - set(plan.reported):
            plan.break_even[index] = data.draw(st.sampled_from([0.0, 2.0]))
        outputs, after, chosen = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
        again, _, _ = executor.sparse(motion.reference, motion.active, -motion.vectors, after)
    with torch.no_grad():
        start = network(motion.reference)
    for made, wanted in ((outputs, first), (again, start)):
        assert all(torch.equal(one, other) for one, other in zip(made, wanted, strict=True))
    changed = bool(motion.active.any() or motion.vectors.any()) or not torch.equal(
        motion.frame, motion.reference
    )
    for index in plan.reported:
        name = plan.nodes[index].name
        assert torch.equal(chosen.certified(name), report.certified(name))
        share, even = shares[name], plan.break_even[index]
        if changed and 1.0 - share >= even:
            assert chosen.reused[name] == 0.0
        elif even >= 2.0 and report.reused[name] > 0.0:
            assert chosen.reused[name] == pytest.approx(share)


def pair(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 3, (1, 1, 32, 32), generator=generator).float() for _ in range(2)]


def small() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, 2, 1), torch.nn.Conv2d(4, 2, 3, 1, 1)).eval()


def test_a_frame_that_did_not_change_keeps_its_cache() -> None:
    """No memory is taken, none is given away twice, and the cache serves on, whoever still holds it."""
    executor = SparseExecutor(small(), "exact", block_px=8)
    frame, other = pair(0)
    nothing, still = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int32)
    expected, cache = executor.dense(frame)
    free = executor._prepared[tuple(frame.shape)].pool._free
    outputs, after, _ = executor.sparse(frame.clone(), nothing, still, cache)
    assert torch.equal(outputs, expected)
    assert outputs.data_ptr() != expected.data_ptr()
    outputs.zero_()  # what was returned is the caller's
    del cache
    gc.collect()
    assert free == []
    moved, next_cache, _ = executor.sparse(other, nothing, still, after)
    again, _, report = executor.sparse(frame, nothing, still, after)
    assert torch.equal(again, expected)
    assert set(report.reused.values()) == {1.0}
    assert torch.equal(moved, executor.dense(other)[0])
    del after, next_cache
    gc.collect()
    arenas = [id(arena) for arena in free]
    assert len(arenas) == len(set(arenas)) >= 2


def test_one_pixel_or_one_vector_is_a_change() -> None:
    executor = SparseExecutor(small(), "exact", block_px=8)
    frame, _ = pair(1)
    nothing, still = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int32)
    _, cache = executor.dense(frame)
    other, flagged, moving = frame.clone(), nothing.clone(), still.clone()
    other[0, 0, 31, 31] += 1
    flagged[0, 0] = True
    moving[3, 3, 0] = 2
    unknown = frame.clone()
    unknown[0, 0, 5, 5] = float("nan")
    for image, active, vectors in (
        (other, nothing, still),
        (frame, flagged, still),
        (frame, nothing, moving),
        (unknown, nothing, still),
    ):
        outputs, after, report = executor.sparse(image, active, vectors, cache)
        assert after is not cache
        assert min(report.reused.values()) < 1.0
        torch.testing.assert_close(outputs, executor.dense(image)[0], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("chained", [True, False])
@settings(max_examples=25, deadline=None)
@given(case=cases(), data=st.data())
def test_memory_is_used_again_with_what_it_holds(
    chained: bool, case: tuple[RandomNetwork, MovingFrame], data: st.DataObject
) -> None:
    """Frame after frame, each from the one before or all from the first; motion and full runs in between."""
    network, motion = case
    executor = SparseExecutor(network, "exact", block_px=8)
    frame = motion.reference.clone()
    _, first = executor.dense(frame)
    cache = first
    for _ in range(6):
        kind = data.draw(st.sampled_from(["still", "still", "moved", "dense"]))
        active, vectors = torch.zeros_like(motion.active), torch.zeros_like(motion.vectors)
        if kind == "moved":
            frame, active, vectors = motion.frame.clone(), motion.active, motion.vectors
        else:
            y, x = data.draw(st.integers(0, 31)), data.draw(st.integers(0, 31))
            frame = frame.clone() if chained else motion.reference.clone()
            frame[..., y : y + 6, x : x + 6] = data.draw(st.integers(-3, 3))
        if kind == "dense":
            outputs, made = executor.dense(frame)
        else:
            outputs, made, _ = executor.sparse(frame, active, vectors, cache)
        with torch.no_grad():
            expected = network(frame)
        assert all(torch.equal(one, two) for one, two in zip(outputs, expected, strict=True))
        if chained:
            cache, first = made, made
        del made


@pytest.mark.skipif("cpu" not in BACKENDS, reason="followed by the C++ certificates only")
@pytest.mark.parametrize("chained", [True, False])
def test_what_memory_holds_is_not_moved_again(chained: bool) -> None:
    """A camera that stands still: after two frames, a map is moved only where the last frames differ."""
    executor = SparseExecutor(small(), "exact", "cpu", block_px=8)
    frame, _ = pair(2)
    nothing, still = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int32)
    _, cache = executor.dense(frame)
    pool = executor._prepared[tuple(frame.shape)].pool
    moved = []
    for step in range(4):
        frame = frame.clone()
        frame[0, 0, 4 * step, 4] += 1
        _, made, report = executor.sparse(frame, nothing, still, cache)
        certifier = pool.compiled["exact"].certifier._compiled
        moved.append(int((certifier.fresh[certifier.spans[1][0] :] == 0).sum()))
        assert min(report.reused.values()) > 0.5
        if chained:
            cache = made
        del made
    assert moved[0] > 100
    assert max(moved[2:]) < 20


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("backend", BACKENDS)
def test_bilinear_upsampling_moves_with_the_content_where_its_weights_do(
    backend: str, factor: int, align_corners: bool
) -> None:
    """With aligned corners they are another at every place of the map: nothing that moved is reused."""
    torch.manual_seed(0)
    up = nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=align_corners)
    scene = torch.randn(1, 2, 40, 64)
    before, frame = scene[..., :48].contiguous(), scene[..., 8:56].contiguous()
    vectors = torch.zeros(5, 6, 2, dtype=torch.int64)
    vectors[..., 0] = 8
    executor = SparseExecutor(nn.Sequential(up).eval(), "exact", backend, block_px=8)
    _, cache = executor.dense(before)
    made, _, report = executor.sparse(frame, torch.zeros(5, 6, dtype=torch.bool), vectors, cache)
    dense, _ = executor.dense(frame)
    assert torch.equal(made, dense)
    torch.testing.assert_close(made, up(frame), rtol=1e-4, atol=1e-5)
    assert report.reused["0"] == (0.0 if align_corners else pytest.approx(0.82, abs=0.02))
