"""Calls that networks make in ways of their own: the executor's result is the module's, on other frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from kernels import SparseExecutor
from kernels.ops import registry

BACKENDS = [name for name in ("reference", "cpu") if registry.unavailable(name, "cpu") is None]
STILL = torch.zeros(2, 3, 2, dtype=torch.int64)


class Network(nn.Module):
    """A function of the map of a first convolution, and of further layers."""

    def __init__(self, forward: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, 1, 1)
        self.layers = nn.ModuleList(layers)
        self.run = forward
        self.eval()

    def forward(self, frame: torch.Tensor) -> Any:
        return self.run(self.first(frame), *self.layers)


def shared(x: torch.Tensor) -> torch.Tensor:
    whole = torch.zeros(1, 8, *x.shape[2:])
    part = whole[:, :4]
    whole.add_(x)
    return part


def filled(x: torch.Tensor) -> torch.Tensor:
    whole = torch.empty(1, 8, *x.shape[2:])
    whole[:, 2:6] = x[:, :4]
    whole[:, 6:], whole[:, :2] = 3.0, x[:, 6:]
    whole[:, 1:3, 2:5, ::2] *= 2
    return whole.relu_()


def tokens(x: torch.Tensor) -> torch.Tensor:
    flat = x.clone().flatten(2)
    first, second = flat.chunk(2, 1)
    second.mul_(2)
    flat.transpose(1, 2)[..., 0].add_(1)
    return torch.cat([flat, first, second], 1)


def twice(x: torch.Tensor) -> torch.Tensor:
    part = x[:, 2:4]
    part += 1
    x *= 2
    part -= x[:, :2]
    return torch.cat([x, part], 1)


def turned(x: torch.Tensor) -> torch.Tensor:
    made = x.clone()
    made.unsqueeze_(0).squeeze_(0).transpose_(2, 3)
    made[:, :2] = 1
    return made


def ghost(x: torch.Tensor, last: nn.Module) -> torch.Tensor:
    made = torch.cat([x, x * 2], 1)[:, :8]
    made += x
    return torch.as_tensor(last(made))


def shuffled(x: torch.Tensor) -> torch.Tensor:
    made = x.view(1, 2, 4, *x.shape[2:]).transpose(1, 2).reshape(1, 8, *x.shape[2:])
    return functional.relu_(made)


def pose(x: torch.Tensor) -> torch.Tensor:
    made = x.clone()
    made[:, 2::3] = made[:, 2::3].sigmoid()
    made[:, 0::3] = made[:, 0::3] * 2.0 + 1.0
    return made


def normed(x: torch.Tensor) -> torch.Tensor:
    return functional.relu_(functional.layer_norm(x.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2))


def adaptive(x: torch.Tensor, style: nn.Module) -> torch.Tensor:
    """AdaIN: batch norm as instance norm, of weights that follow from the frame."""
    weight, bias = style(x.mean((2, 3)))[0].chunk(2)
    return functional.batch_norm(x, torch.zeros(8), torch.ones(8), weight, bias, training=True)


def rows(height: int, width: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: x.permute(0, 2, 3, 1).reshape(1, height, width, 8).permute(0, 3, 1, 2)


def windows(x: torch.Tensor) -> torch.Tensor:
    parts = x.permute(0, 2, 3, 1).reshape(1, 4, 8, 6, 8, 8).transpose(2, 3)
    return parts.reshape(-1, 64, 8).softmax(1)


def apply(x: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    return torch.as_tensor(layer(x))


def resized(mode: str, factor: float) -> Callable[..., torch.Tensor]:
    return lambda x, last: last(functional.interpolate(x, scale_factor=factor, mode=mode))


LEVELS = torch.linspace(-1, 1, 8).view(8, 1, 1)
NETWORKS: dict[str, nn.Module] = {
    "a constant that shares memory": Network(shared),
    "an empty map filled by parts": Network(filled),
    "tokens in place": Network(tokens),
    "a part, the whole, the part": Network(twice),
    "turned in place": Network(turned),
    "channels painted": Network(lambda x: x[:, :1].fill_(0) + x[:, 1:].zero_() + x[:, 2:3]),
    "ghost": Network(ghost, nn.Conv2d(8, 4, 3)),
    "shuffled channels in place": Network(shuffled),
    "pose": Network(pose),
    "layer norm in place": Network(normed),
    "instance norm in place": Network(lambda x: functional.relu_(functional.instance_norm(x))),
    "channels by number": Network(lambda x, last: last(x[:, [2, 1, 0, 0, -1]]), nn.Conv2d(5, 4, 3)),
    "channels by a mask": Network(lambda x: x[:, torch.tensor([True, False] * 4)]),
    "powers in place": Network(lambda x: x.clone().abs_().pow_(2).clamp_(max=0.5).div_(3).sub_(x, alpha=2)),
    "many channels by number": Network(lambda x: x[:, [0, 2, 4, 6] * 8]),
    "randomised slope": Network(lambda x, act: act(x), nn.RReLU()),
    "randomised slope in place": Network(lambda x, act: act(x), nn.RReLU(0.1, 0.5, inplace=True)),
    "circular padding": Network(lambda x, last: last(x), nn.Conv2d(8, 4, 3, 1, 1, padding_mode="circular")),
    "statistics of the frame": Network(lambda x: functional.batch_norm(x, None, None, training=True)),
    "batch norm without statistics": Network(lambda x, n: n(x), nn.BatchNorm2d(8, track_running_stats=False)),
    "instance norm with statistics": Network(
        lambda x, n: n(x), nn.InstanceNorm2d(8, track_running_stats=True)
    ),
    "adaptive instance norm": Network(adaptive, nn.Linear(8, 16)),
    "rows to half the height": Network(rows(16, 96)),
    "rows to strips": Network(rows(96, 16)),
    "windows": Network(windows),
    **{
        f"{mode} by {factor}": Network(resized(mode, factor), nn.Conv2d(8, 4, 3))
        for mode in ("bilinear", "nearest", "bicubic", "nearest-exact")
        for factor in (2.0, 2.02, 1.5, 0.7)
    },
    "clamped at a tensor": Network(lambda x, last: last(x.clamp(min=LEVELS)), nn.Conv2d(8, 4, 3)),
    "clamped between maps": Network(lambda x: x.clamp(LEVELS - x.mean(), torch.full(x.shape, 0.2))),
    "clamped at a number of the frame": Network(lambda x: x.clamp(max=x.mean())),
    "bits": Network(lambda x: (x.view(torch.int32) & -4096).view(torch.float32)),
}


def scene(seed: int) -> torch.Tensor:
    return torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) * (seed + 1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_result_is_the_modules(name: str, backend: str) -> None:
    network = NETWORKS[name]
    before, frame = scene(0), scene(1)
    frame[:, :, :, 20:] = before[:, :, :, 20:]
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    executor = SparseExecutor(network, "exact", backend)
    dense, cache = executor.dense(before)
    sparse, _, _ = executor.sparse(frame, nothing, STILL, cache)
    tolerance = 2e-3 if name == "bits" else 1e-5  # the last bits of a convolution are not the module's
    with torch.no_grad():
        torch.testing.assert_close(dense, network(before), rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(sparse, network(frame), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["ghost", "pose", "channels by number", "channels painted"])
def test_channels_in_place_stay_sparse(name: str) -> None:
    executor, frame = SparseExecutor(NETWORKS[name], "exact"), scene(0)
    _, cache = executor.dense(frame)
    frame = frame.clone()
    frame[..., 3:6, 3:6] = 0
    _, _, report = executor.sparse(frame, torch.zeros(2, 3, dtype=torch.bool), STILL, cache)
    for layer in report.reused:
        assert float(report.certified(layer).float().mean()) > 0.9, layer
    assert report.reused["first"] > 0.9


def test_nothing_is_added_for_a_view_that_nothing_reads_again() -> None:
    kept = Network(lambda x: torch.relu(torch.cat([x, x], 1)[:, :12]))
    changed = Network(lambda x: torch.cat([x, x], 1)[:, :12].relu_())
    plans = [SparseExecutor(network).plan(scene(0)) for network in (kept, changed)]
    assert len(plans[0].nodes) == len(plans[1].nodes)


class Alone(nn.Module):
    def __init__(self, forward: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.run = forward

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return self.run(frame)


@pytest.mark.parametrize("policy", ["exact", "truncate", "fixed"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_shuffled_pixels_keep_their_nan(policy: str, backend: str, activation: str) -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        made = functional.pixel_shuffle(torch.log(x), 2)
        return made if activation == "none" else made.relu()

    network, frame = Alone(forward), torch.rand(1, 12, 32, 48)
    frame[:, 5, 3, 4], frame[:, 2, 7, 7] = -1.0, 0.0  # NaN and -infinity
    executor = SparseExecutor(network, policy, backend)
    dense, cache = executor.dense(frame)
    active = torch.zeros(2, 3, dtype=torch.bool)
    active[0, 0] = True
    sparse, _, _ = executor.sparse(frame, active, STILL, cache)
    for made in (dense, sparse):
        torch.testing.assert_close(made, network(frame), rtol=1e-6, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scaled", [False, True])
def test_minus_zero_is_another_pixel(backend: str, scaled: bool) -> None:
    network = Alone(lambda x: 1 / (x * 2) if scaled else 1 / x)
    before = torch.zeros(1, 3, 32, 48)
    frame = before.clone()
    frame[..., 3:6, 10:30] = -0.0
    nothing, executor = torch.zeros(2, 3, dtype=torch.bool), SparseExecutor(network, "exact", backend)
    dense, cache = executor.dense(before)
    sparse, made, _ = executor.sparse(frame, nothing, STILL, cache)
    back, _, _ = executor.sparse(before, nothing, STILL, made)
    assert torch.equal(dense, network(before))
    assert torch.equal(sparse, network(frame))
    assert torch.equal(back, network(before))


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu of tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "relu6": functional.relu6,
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_huge_numbers(name: str, backend: str) -> None:
    values = [-3e38, 3e38, -1e30, 1e30, -100.0, -88.5, -89.0, -87.0, -60.0, 0.0, -0.0, 60.0, 88.0, 89.0]
    values += [float("-inf"), float("inf"), float("nan"), -3.0, 3.0]
    frame = torch.tensor(values).repeat(300)[: 3 * 32 * 48].view(1, 3, 32, 48)
    dense, _ = SparseExecutor(Alone(ACTIVATIONS[name]), "exact", backend).dense(frame)
    torch.testing.assert_close(dense, ACTIVATIONS[name](frame), rtol=2e-6, atol=1e-7, equal_nan=True)
