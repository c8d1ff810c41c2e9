"""Bad input to the executor: one line that names the argument or the submodule."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kernels import SparseExecutor
from kernels.executor import UnsupportedModule


@pytest.fixture
def ready() -> tuple[SparseExecutor, dict[str, Any]]:
    executor = SparseExecutor(nn.Conv2d(3, 4, 3, 1, 1).eval(), "fixed")
    frame = torch.rand(1, 3, 32, 48)
    _, cache = executor.dense(frame)
    good = {
        "frame": frame,
        "active": torch.zeros(2, 3, dtype=torch.bool),
        "vectors": torch.zeros(2, 3, 2, dtype=torch.int32),
        "cache": cache,
    }
    return executor, good


BAD = {
    "frame dtype": (
        "frame",
        lambda v: v.double(),
        TypeError,
        r"frame must be a float32 tensor \(got .*float64",
    ),
    "frame no tensor": ("frame", lambda v: v.numpy(), TypeError, r"frame .*\(got ndarray\)"),
    "frame batch": (
        "frame",
        lambda v: v.repeat(2, 1, 1, 1),
        ValueError,
        r"cache must be a list of one a frame, 2 \(got FeatureCache\)",
    ),
    "frame axes": ("frame", lambda v: v[0], ValueError, r"frame must have shape"),
    "frame device": ("frame", lambda v: v.to("meta"), ValueError, r"frame must be on the model's device cpu"),
    "active dtype": (
        "active",
        lambda v: v.int(),
        TypeError,
        r"active must be a bool tensor \(got torch.int32\)",
    ),
    "active shape": (
        "active",
        lambda v: v.T,
        ValueError,
        r"active must have shape \(2, 3\) \(got \(3, 2\)\)",
    ),
    "vectors dtype": (
        "vectors",
        lambda v: v.float(),
        TypeError,
        r"vectors must be a tensor of signed integers",
    ),
    "vectors shape": ("vectors", lambda v: v[..., 0], ValueError, r"vectors must have shape \(2, 3, 2\)"),
    "vectors long": ("vectors", lambda v: v + 20000, ValueError, r"vectors must be at most 16383 px long"),
    "cache type": ("cache", lambda v: None, TypeError, r"cache must come from dense\(\) or sparse\(\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_argument_is_named(ready: tuple[SparseExecutor, dict[str, Any]], case: str) -> None:
    executor, good = ready
    name, spoil, error, message = BAD[case]
    with pytest.raises(error, match=message):
        executor.sparse(**{**good, name: spoil(good[name])})


def test_a_cache_of_another_size_or_executor_is_refused(ready: tuple[SparseExecutor, dict[str, Any]]) -> None:
    executor, good = ready
    _, small = executor.dense(torch.rand(1, 3, 16, 16))
    _, foreign = SparseExecutor(nn.Conv2d(3, 4, 3, 1, 1).eval()).dense(good["frame"])
    for cache in (small, foreign):
        with pytest.raises(ValueError, match=r"cache must come from this executor and a frame of shape"):
            executor.sparse(good["frame"], good["active"], good["vectors"], cache)


def test_vectors_that_point_outside_read_the_border(ready: tuple[SparseExecutor, dict[str, Any]]) -> None:
    executor, good = ready
    outputs, _, _ = executor.sparse(good["frame"], good["active"], good["vectors"] + 1000, good["cache"])
    dense, _ = executor.dense(good["frame"])
    corner = dense[..., -1:, -1:].expand_as(outputs)
    assert torch.equal(outputs, corner)


@pytest.mark.parametrize("policy", ["fixed", "truncate"])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_vectors_that_point_far_outside_a_finer_map_read_its_border(policy: str, backend: str) -> None:
    """Where a pixel is four positions, the longest vectors are more than 32767 of them."""
    model = nn.Sequential(nn.Conv2d(3, 32, 1), nn.PixelShuffle(4), nn.Conv2d(2, 2, 3, 1, 1)).eval()
    executor = SparseExecutor(model, policy, backend, block_px=8)
    frame = torch.rand(1, 3, 16, 16)
    dense, cache = executor.dense(frame)
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    for length, row in ((16383, -1), (-16383, 0)):
        outputs, _, _ = executor.sparse(frame, nothing, torch.full((2, 2, 2), length), cache)
        assert torch.equal(outputs, dense[..., row, row][..., None, None].expand_as(outputs))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": "best"}, r"policy must be one of .* \(got 'best'\)"),
        ({"backend": "quantum"}, r"backend='quantum' cannot run on cpu: unknown backend"),
        ({"block_px": 0}, r"block_px must be a whole number of pixels, at least 1 \(got 0\)"),
        ({"sampling": "cubic"}, r"sampling must be one of"),
    ],
)
def test_a_bad_option_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SparseExecutor(nn.Conv2d(3, 4, 3), **arguments)


class Wrapped(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), inner)

    def forward(self, frame: torch.Tensor) -> Any:
        return self.body(frame)


class Branching(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value if value.sum() > 0 else -value


class Selecting(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value[value > 0]


class Noisy(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value + torch.rand_like(value)


class Painting(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value[0].diagonal(dim1=1, dim2=2).fill_(0)
        return value


class Wordy(nn.Module):
    def forward(self, value: torch.Tensor) -> Any:
        return {value}


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (nn.LSTM(4, 4), r"model\.body\.1: LSTM is not supported"),
        (nn.Conv3d(4, 4, 3), r"model\.body\.1: Conv3d is not supported"),
        (nn.BatchNorm2d(4), r"model\.body\.1: BatchNorm2d is in training mode; call model\.eval\(\) first"),
    ],
)
def test_an_unsupported_module_is_named_before_anything_runs(inner: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedModule, match=message):
        SparseExecutor(Wrapped(inner))


def test_the_model_itself_is_named_without_a_path() -> None:
    with pytest.raises(UnsupportedModule, match=r"^model: LSTM is not supported"):
        SparseExecutor(nn.LSTM(4, 4))


def test_truncation_that_is_no_profile_is_refused() -> None:
    with pytest.raises(TypeError, match=r"truncation must be a TruncationProfile \(got float\)"):
        SparseExecutor(nn.Conv2d(3, 4, 3), "truncate", truncation=0.2)  # type: ignore[arg-type]


def test_calibration_needs_a_run() -> None:
    executor = SparseExecutor(nn.Conv2d(3, 4, 3), "fixed")
    with pytest.raises(ValueError, match=r"repeats must be at least 1 \(got 0\)"):
        executor.calibrate(torch.rand(1, 3, 32, 32), repeats=0)


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (Branching(), r"model\.body\.1: .* depend on values"),
        (Selecting(), r"model\.body\.1: .* depend on values"),
        (Noisy(), r"model\.body\.1: .* draws random numbers"),
        (Painting(), r"model\.body\.1: .* in place"),
        (Wordy(), r"model: returns a set; expected tensors in tuples, lists or dicts"),
    ],
)
def test_what_cannot_be_traced_is_named(inner: nn.Module, message: str) -> None:
    executor = SparseExecutor(Wrapped(inner).eval())
    with pytest.raises(UnsupportedModule, match=message):
        executor.dense(torch.rand(1, 3, 16, 16))


def test_a_certificate_is_asked_of_the_right_policy_and_layer() -> None:
    frame, active = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, dtype=torch.bool)
    vectors = torch.zeros(1, 1, 2, dtype=torch.int64)
    for policy, message in (
        ("fixed", r"under policy='exact' only"),
        ("exact", r"layer must be one of .*conv"),
    ):
        executor = SparseExecutor(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), policy)
        _, cache = executor.dense(frame)
        _, _, report = executor.sparse(frame, active, vectors, cache)
        with pytest.raises(ValueError, match=message.replace("conv", "")):
            report.certified("nothing")
