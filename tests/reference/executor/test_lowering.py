"""What common layers become: at positions where a kernel can, in their place in the frame where none can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from kernels import SparseExecutor
from kernels.ops import registry
from kernels.ops.cuda import shim
from tests.strategies.kernels import SHIM
from tests.strategies.networks import poisoned_memory

BACKENDS = [name for name in ("reference", "cpu") if registry.unavailable(name, "cpu") is None]
DEVICE_CODE = [SHIM] if shim.unavailable("cpu") is None else []  # the CUDA sources, run by the processor


class Forward(nn.Module):
    """Layers with small whole numbers for weights, and a function that puts them together."""

    def __init__(self, forward: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.layers = nn.ModuleList(layers)
        self.run = forward
        for name, value in (*self.named_parameters(), *self.named_buffers()):
            if "running_var" in name:
                value.data.fill_(0.25 - 1e-5)  # deviations of 1/2, with the layer's epsilon
            elif value.is_floating_point():
                value.data.copy_(torch.randint(-2, 3, value.shape, generator=generator))
        self.eval()

    def forward(self, frame: torch.Tensor) -> Any:
        return self.run(frame, *self.layers)


def spatial_attention(x: torch.Tensor, mix: nn.Module, last: nn.Module) -> torch.Tensor:
    gate = mix(torch.cat([x.sum(1, keepdim=True), x.max(1, keepdim=True)[0]], 1))
    return last(x * gate)


def focus(x: torch.Tensor, mix: nn.Module) -> torch.Tensor:
    return mix(torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1))


def twice(x: torch.Tensor, one: nn.Module, other: nn.Module) -> torch.Tensor:
    around = functional.pad(x, (1, 1, 1, 1))
    return one(around) + other(around)


def aside(x: torch.Tensor, one: nn.Module, other: nn.Module) -> torch.Tensor:
    kept = one(x)
    return other(functional.relu_(kept.clone())) + kept


def inverted(x: torch.Tensor, wide: nn.Module, narrow: nn.Module) -> torch.Tensor:
    """A ConvNeXt's block without its norm: products of rows, a factor a channel, the block's input added."""
    rows = narrow(functional.relu(wide(x.permute(0, 2, 3, 1)))) + torch.tensor([1.0, 2.0, 3.0])
    return x + SCALE[0] * rows.permute(0, 3, 1, 2)


def plain_rows(x: torch.Tensor, mix: nn.Module, last: nn.Module) -> torch.Tensor:
    """Rows that lie one after the other, as behind a norm: their product is that of two matrices."""
    rows = functional.relu(x.permute(0, 2, 3, 1).contiguous())
    return last((mix(rows) + rows).permute(0, 3, 1, 2))


MEAN = torch.tensor([1.0, -2.0, 3.0]).view(3, 1, 1)
SCALE = torch.tensor([2.0, 0.5, -4.0]).view(1, 3, 1, 1)


def conv(inputs: int = 3, outputs: int = 4, kernel: int = 3, stride: int = 1, padding: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding)


# name: the network, and its layers that run whole
NETWORKS: dict[str, tuple[nn.Module, set[str]]] = {
    "divided": (Forward(lambda x, a: a(x / 2.0), conv()), set()),
    "normalised": (Forward(lambda x, a: a((x - MEAN) / SCALE), conv()), set()),
    "constants first": (Forward(lambda x, a: SCALE * a(MEAN - (1 - x)), conv(3, 3)), set()),
    "a multiple added": (Forward(lambda x, a: a(x.add(2, alpha=3).sub(MEAN, alpha=2)), conv()), set()),
    "batch norm behind its activation": (
        Forward(lambda x, a, b, c: c(b(a(x).relu())), conv(), nn.BatchNorm2d(4), conv(4, 2)),
        set(),
    ),
    "a copy changed in place": (Forward(aside, conv(), conv(4, 4)), set()),
    "clamped": (Forward(lambda x, a, b: b(a(x).clamp(min=0)).clamp(0, 6), conv(), conv(4, 4)), set()),
    "clamped elsewhere": (Forward(lambda x, a, b: b(a(x).clamp(-7, 9)), conv(), conv(4, 4)), {"clamp"}),
    "one slope": (Forward(lambda x, a, b: b(a(x)), conv(), nn.PReLU()), set()),
    "a slope a channel": (Forward(lambda x, a, b: b(a(x)), conv(), nn.PReLU(4)), {"layers.1"}),
    "a maximum rounded up": (
        Forward(lambda x, a, b: b(a(x)), conv(kernel=2, padding=0), nn.MaxPool2d(3, 2, ceil_mode=True)),
        set(),
    ),
    "means rounded up": (
        Forward(
            lambda x, a, b, c: c(b(a(x))),
            conv(kernel=2, padding=0),
            nn.AvgPool2d(2, 2, ceil_mode=True),
            nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
        ),
        set(),
    ),
    "a mean that counts its padding": (
        Forward(lambda x, a, b: b(a(x)), conv(), nn.AvgPool2d(4, 2, 1, ceil_mode=True)),
        {"layers.1"},
    ),
    "padding a convolution takes": (
        Forward(lambda x, a, b: b(a(x)), nn.ZeroPad2d(2), conv(kernel=5, stride=2, padding=0)),
        set(),
    ),
    "padding a convolution takes in part": (
        Forward(lambda x, a, b: b(a(x)), nn.ZeroPad2d((1, 2, 0, 1)), conv(kernel=4, stride=2, padding=1)),
        set(),
    ),
    "padding behind": (
        Forward(lambda x, a, b: b(a(x)), nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2)),
        set(),
    ),
    "padding before": (
        Forward(lambda x, a, b: b(a(x)), nn.ZeroPad2d(1), nn.MaxPool2d(3, 2)),
        {"layers.0"},
    ),
    "padding read twice": (Forward(twice, conv(padding=0), conv(padding=0)), {"constant_pad_nd"}),
    "padding that is not zero": (
        Forward(lambda x, a: a(functional.pad(x, (1, 1, 1, 1), value=2.0)), conv(padding=0)),
        {"constant_pad_nd"},
    ),
    "reflected": (
        Forward(lambda x, a, b: b(a(x)), nn.ReflectionPad2d((2, 1, 1, 2)), conv(kernel=4, padding=0)),
        {"layers.0"},
    ),
    "repeated": (
        Forward(lambda x, a, b: b(a(x)), nn.ReplicationPad2d((2, 1, 1, 2)), conv(kernel=4, padding=0)),
        {"layers.0"},
    ),
    "shuffled": (
        Forward(lambda x, a, b, c: c(b(a(x))), conv(3, 12), nn.PixelShuffle(2), conv(3, 2)),
        set(),
    ),
    "unshuffled": (Forward(lambda x, a, b: b(a(x)), nn.PixelUnshuffle(2), conv(12, 4)), {"layers.0"}),
    "every other row and column": (Forward(focus, conv(12, 4)), set()),
    "cropped": (Forward(lambda x, a: a(x[..., 2:, :-3]), conv()), {"slice"}),
    "spatial attention": (Forward(spatial_attention, conv(2, 1), conv()), {"sum", "max", "mul"}),
    "the larger of two": (
        Forward(lambda x, a, b: torch.maximum(a(x), b(x)), conv(), conv()),
        {"maximum"},
    ),
    "products of rows": (Forward(inverted, nn.Linear(3, 8), nn.Linear(8, 3, bias=False)), set()),
    "plain rows": (Forward(plain_rows, nn.Linear(3, 3), conv(3, 2)), set()),
    "transposed, overlapping": (
        Forward(lambda x, a, b: b(a(x)), conv(), nn.ConvTranspose2d(4, 3, 4, 2, 1)),
        {"layers.1"},
    ),
}


def scene(seed: int = 0) -> torch.Tensor:
    return torch.randint(-4, 5, (1, 3, 48, 72), generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("backend", BACKENDS + DEVICE_CODE)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_pan_is_certified_and_exact(name: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight pixels to the left, with something new in the middle: the bits of the module, and reuse."""
    monkeypatch.setattr(registry, "BACKENDS", (*registry.BACKENDS, SHIM))
    network, _ = NETWORKS[name]
    before, frame = scene()[..., :64].contiguous(), scene()[..., 8:].contiguous()
    frame[..., 20:24, 30:34] = scene(1)[..., 20:24, 30:34]
    vectors = torch.zeros(3, 4, 2, dtype=torch.int64)
    vectors[..., 0] = 8
    with poisoned_memory():
        executor = SparseExecutor(network, "exact", backend)
        dense, cache = executor.dense(before)
        outputs, _, report = executor.sparse(frame, torch.zeros(3, 4, dtype=torch.bool), vectors, cache)
    with torch.no_grad():
        assert torch.equal(dense, network(before))
        assert torch.equal(outputs, network(frame))
    for layer in report.reused:
        assert float(report.certified(layer).float().mean()) > 0.3, layer


@pytest.mark.parametrize("name", NETWORKS)
def test_what_runs_whole_is_known(name: str) -> None:
    network, whole = NETWORKS[name]
    frame, active = scene()[..., :64].contiguous(), torch.zeros(3, 4, dtype=torch.bool)
    active[1, 2] = True
    executor = SparseExecutor(network, "fixed")
    _, cache = executor.dense(frame)
    outputs, _, report = executor.sparse(frame, active, torch.zeros(3, 4, 2, dtype=torch.int64), cache)
    with torch.no_grad():
        assert torch.equal(outputs, network(frame))
    assert {layer for layer, share in report.reused.items() if share == 0.0} == whole


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_gelu(backend: str, approximate: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.GELU(approximate), nn.Conv2d(4, 2, 1)).eval()
    frame, active = torch.randn(1, 3, 48, 64), torch.zeros(3, 4, dtype=torch.bool)
    active[1, 2] = True
    executor = SparseExecutor(network, "fixed", backend)
    _, cache = executor.dense(frame)
    outputs, _, report = executor.sparse(frame, active, torch.zeros(3, 4, 2, dtype=torch.int64), cache)
    with torch.no_grad():
        torch.testing.assert_close(outputs, network(frame), rtol=1e-5, atol=1e-5)
    assert dict(report.reused) == {"0": 11 / 12, "2": 11 / 12}  # the activation is part of its convolution


def test_a_norm_over_channels_is_certified() -> None:
    torch.manual_seed(0)

    def forward(x: torch.Tensor, first: nn.Module, norm: nn.Module, wide: nn.Module) -> torch.Tensor:
        rows: torch.Tensor = wide(norm(first(x).permute(0, 2, 3, 1)))
        return rows.permute(0, 3, 1, 2)

    network = Forward(forward, conv(3, 8), nn.LayerNorm(8), nn.Linear(8, 5))
    before, frame = scene()[..., :64].contiguous(), scene()[..., 8:].contiguous()
    vectors = torch.zeros(3, 4, 2, dtype=torch.int64)
    vectors[..., 0] = 8
    executor = SparseExecutor(network, "exact")
    _, cache = executor.dense(before)
    outputs, _, report = executor.sparse(frame, torch.zeros(3, 4, dtype=torch.bool), vectors, cache)
    with torch.no_grad():
        torch.testing.assert_close(outputs, network(frame), rtol=1e-5, atol=1e-5)
    assert float(report.certified("layers.2").float().mean()) > 0.6
    assert {layer for layer, share in report.reused.items() if share == 0.0} == {"layers.1"}


def test_rows_may_be_read_by_what_is_not_local() -> None:
    """And returned as they are."""

    def forward(x: torch.Tensor, first: nn.Module, mix: nn.Module) -> tuple[torch.Tensor, ...]:
        rows = first(x).permute(0, 2, 3, 1)
        kept = mix(rows)
        return functional.relu(kept), kept + rows.flip(2), rows, kept.flatten(1, 2).softmax(1), kept.mean(1)

    network = Forward(forward, conv(3, 4), nn.Linear(4, 4))
    frame, active = scene()[..., :64].contiguous(), torch.zeros(3, 4, dtype=torch.bool)
    executor = SparseExecutor(network, "exact")
    dense, cache = executor.dense(frame)
    sparse, _, _ = executor.sparse(frame, active, torch.zeros(3, 4, 2, dtype=torch.int64), cache)
    with torch.no_grad():
        wanted = network(frame)
    for made in (dense, sparse):
        for one, other in zip(made, wanted, strict=True):
            torch.testing.assert_close(one, other)


def test_rows_may_be_of_a_map_that_was_made_from_a_value() -> None:
    """As behind a gate of the whole frame, which a convolution reads as well."""

    def forward(x: torch.Tensor, first: nn.Module, mix: nn.Module) -> tuple[torch.Tensor, ...]:
        gated = x * torch.sigmoid(x.mean((2, 3), keepdim=True))
        return first(gated), mix(gated.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    network = Forward(forward, conv(3, 4), nn.Linear(3, 4))
    frame, active = scene()[..., :64].contiguous(), torch.zeros(3, 4, dtype=torch.bool)
    frame_after = frame + 0.5
    executor = SparseExecutor(network, "exact")
    _, cache = executor.dense(frame)
    made, _, _ = executor.sparse(frame_after, active, torch.zeros(3, 4, 2, dtype=torch.int64), cache)
    with torch.no_grad():
        torch.testing.assert_close(made, network(frame_after))


def test_a_constant_with_a_place_in_the_frame_is_not_local() -> None:
    """A position's value then depends on where it is: nothing that moved may be reused."""
    ramp = torch.arange(64.0).expand(48, 64)
    network = Forward(lambda x, a: a(x + ramp), conv())
    before, frame = scene()[..., :64].contiguous(), scene()[..., 8:].contiguous()
    vectors = torch.zeros(3, 4, 2, dtype=torch.int64)
    vectors[..., 0] = 8
    executor = SparseExecutor(network, "exact")
    _, cache = executor.dense(before)
    outputs, _, report = executor.sparse(frame, torch.zeros(3, 4, dtype=torch.bool), vectors, cache)
    with torch.no_grad():
        assert torch.equal(outputs, network(frame))
    assert set(report.reused.values()) == {0.0}


def test_a_wider_constant_makes_wider_maps() -> None:
    network = Forward(lambda x, a: a((x * MEAN.double()).float()) * MEAN.double(), conv(3, 3))
    frame, active = scene()[..., :64].contiguous(), torch.zeros(3, 4, dtype=torch.bool)
    executor = SparseExecutor(network, "exact")
    dense, cache = executor.dense(frame)
    sparse, _, _ = executor.sparse(frame, active, torch.zeros(3, 4, 2, dtype=torch.int64), cache)
    with torch.no_grad():
        wanted = network(frame)
    assert wanted.dtype == torch.float64
    assert torch.equal(dense, wanted)
    assert torch.equal(sparse, wanted)
