"""The executor under torch's modes and beside layers that are particular about memory."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from kernels import SparseExecutor
from kernels.executor import UnsupportedModule
from kernels.executor.graph.lowering import lower
from kernels.executor.graph.tracing import trace_module

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


def test_autocast_outside_does_not_reach_inside() -> None:
    model, frame = network(), torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = model(frame)
    executor = SparseExecutor(model)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, cache = executor.dense(frame)
        again, _, report = executor.sparse(frame, ACTIVE, VECTORS, cache)
    assert outputs.dtype == again.dtype == torch.float32
    assert torch.allclose(outputs, expected, atol=1e-6)
    assert dict(report.reused) == {"0": 1.0}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("policy", ["exact", "truncate", "fixed"])
def test_the_default_dtype_is_not_taken_for_the_maps(policy: str, backend: str) -> None:
    model, frame = network(), torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = model(frame)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        executor = SparseExecutor(model, policy, backend, sampling="bilinear")
        _, cache = executor.dense(frame)
        outputs, _, _ = executor.sparse(frame, ACTIVE.logical_not(), VECTORS, cache)
    finally:
        torch.set_default_dtype(before)
    assert torch.allclose(outputs, expected, atol=1e-6)


def test_batch_norm_folds_where_the_weights_are() -> None:
    """A convolution without a bias gets one beside its weight, not on the processor."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)).eval().to("meta")
    graph = lower(trace_module(model, torch.empty(1, 3, 8, 8, device="meta")), model)
    assert graph.nodes[1].operation.bias.device.type == "meta"


class Anchored(nn.Module):
    """Returns a constant of the frame size and a parameter, and changes a constant that it has used."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.slope, self.head = nn.Conv2d(3, 4, 1), nn.PReLU(4), nn.Linear(4, 2)
        self.strides = nn.Parameter(torch.arange(3.0))

    def forward(self, frame: torch.Tensor) -> dict[str, torch.Tensor]:
        made, offset = self.slope(self.mix(frame)), torch.zeros(1, 4, 1, 1)
        first = made.flip(3) + offset
        offset += 1
        second = made.flip(3) + offset
        scores = self.head(made.mean((2, 3)))
        return {
            "maps": made,
            "first": first,
            "second": second,
            "scores": scores,
            "anchors": torch.arange(5.0),
            "strides": self.strides,
        }


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("policy", ["exact", "truncate", "fixed"])
def test_constants_are_those_of_the_first_frame(policy: str, backend: str) -> None:
    """Neither later changes of the weights are seen, nor what is written into the outputs."""
    model, frame = Anchored().eval(), torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = {name: value.clone() for name, value in model(frame).items()}
    executor = SparseExecutor(model, policy, backend)
    outputs, cache = executor.dense(frame)
    for _ in range(2):
        assert outputs.keys() == expected.keys()
        for name, value in outputs.items():
            assert torch.allclose(value, expected[name], atol=1e-6), name
            value.fill_(float("nan"))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3)
        outputs, cache, _ = executor.sparse(frame, ACTIVE, VECTORS, cache)
    assert torch.equal(model.strides.detach(), torch.arange(3.0) * 9)


class Addressing(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value.as_strided((1, 2, 4, 4), value.stride())


def test_what_a_model_cannot_take_or_we_cannot_follow_is_named() -> None:
    frame = torch.rand(1, 3, 32, 48)
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module \(got function\)"):
        SparseExecutor(lambda value: value)
    with pytest.raises(
        ValueError, match=r"frame of shape \(1, 4, 9, 9\) does not go through .*: at model\.0: "
    ):
        SparseExecutor(network()).dense(torch.rand(1, 4, 9, 9))
    with pytest.raises(UnsupportedModule, match=r"model\.0: aten\.as_strided.* memory"):
        SparseExecutor(nn.Sequential(Addressing())).dense(frame)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_patches_may_be_made_of_the_frame_itself(backend: str) -> None:
    """A transposed convolution works in positions of its input, also where that is the frame."""
    model, frame = nn.ConvTranspose2d(3, 4, 2, 2).eval(), torch.rand(1, 3, 32, 48)
    executor = SparseExecutor(model, "fixed", backend)
    before, cache = executor.dense(frame)
    active = ACTIVE.clone()
    active[1, 2] = True
    changed = frame.clone()
    changed[..., 16:, 32:] += 1
    outputs, _, _ = executor.sparse(changed, active, VECTORS, cache)
    with torch.no_grad():
        expected = model(changed)
    assert torch.allclose(outputs, expected, atol=1e-6)
    assert torch.equal(outputs[..., :32, :], before[..., :32, :])


@pytest.mark.parametrize("shared", [True, False], ids=["one executor", "one model"])
def test_threads_do_not_meddle_with_each_other(shared: bool) -> None:
    """Traces hook into the model, and runs share buffers: neither may be seen by another thread."""
    model = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()) for _ in range(8))).eval()
    one = SparseExecutor(model, "exact")

    def run(seed: int) -> bool:
        executor = one if shared else SparseExecutor(model, "exact")
        frames = torch.rand(12, 1, 3, 32, 48, generator=torch.Generator().manual_seed(seed))
        _, cache = executor.dense(frames[0])
        right = True
        for frame in frames:
            outputs, cache, _ = executor.sparse(frame, ACTIVE, VECTORS, cache)
            with torch.no_grad():
                right &= torch.allclose(outputs, model(frame), atol=1e-6)
        return right

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(run, range(6)))


def test_a_cache_may_be_settled_by_another_thread() -> None:
    """While the next frame is already made from it."""
    model = nn.Sequential(*[nn.Conv2d(3 if layer == 0 else 4, 4, 3, 1, 1) for layer in range(8)]).eval()
    executor = SparseExecutor(model, "fixed", block_px=8)
    frame, active = torch.rand(1, 3, 32, 32), torch.rand(4, 4) < 0.3
    vectors = torch.ones(4, 4, 2, dtype=torch.int64)
    _, cache = executor.dense(frame)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(3) as idle:
            for _ in range(150):
                expected, made, _ = executor.sparse(frame, active, vectors, cache)
                settled = [idle.submit(made.settle) for _ in range(3)]
                executor.sparse(frame, active, vectors, made)
                for each in settled:
                    each.result()
                again, _, _ = executor.sparse(frame, active, vectors, cache)
                assert torch.equal(again, expected)
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_frame_of_a_single_block_is_a_frame(backend: str) -> None:
    frame = torch.rand(1, 3, 16, 16)
    executor = SparseExecutor(network(), "fixed", backend)
    before, cache = executor.dense(frame)
    outputs, _, _ = executor.sparse(frame, ACTIVE[:1, :1], VECTORS[:1, :1], cache)
    assert torch.equal(outputs, before)
