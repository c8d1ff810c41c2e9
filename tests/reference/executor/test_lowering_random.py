"""Any order of foldable, fusible and aliasing operations means what the module means."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from kernels import SparseExecutor

CHANNELS = 4


class Drawn(nn.Module):
    """Applies named operations to maps and rows made before, the last few of each; returns some of both."""

    def __init__(self, steps: list[tuple[str, int, int]], seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.steps = steps
        self.same, self.valid = (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=pad) for pad in (1, 0))
        self.point, self.patch = (
            nn.Conv2d(CHANNELS, CHANNELS, 1),
            nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, 2),
        )
        self.norm, self.layer_norm = nn.BatchNorm2d(CHANNELS), nn.LayerNorm(CHANNELS)
        self.linear = nn.Linear(CHANNELS, CHANNELS)
        self.factor = nn.Parameter(torch.empty(CHANNELS, 1, 1))
        for name, value in (*self.named_parameters(), *self.named_buffers()):
            if "running_var" in name:
                value.data.uniform_(0.5, 2.0, generator=generator)
            elif value.is_floating_point():
                value.data.normal_(std=0.4, generator=generator)
        self.eval()

    def on_maps(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        factor, positive = self.factor, self.factor.abs() + 1
        return {
            "convolve": lambda a, b: self.same(a),
            "one position": lambda a, b: self.point(a),
            "padded before": lambda a, b: self.valid(functional.pad(a, (1, 1, 1, 1))),
            "batch norm": lambda a, b: self.norm(a),
            "relu": lambda a, b: functional.relu(a),
            "silu": lambda a, b: functional.silu(a),
            "clamp": lambda a, b: a.clamp(min=0),
            "copy": lambda a, b: a.clone(),
            "copy changed": lambda a, b: a.clone().relu_(),
            "copy added to": lambda a, b: a.clone().add_(b),
            "add": lambda a, b: a + b,
            "multiply": lambda a, b: a * b.sigmoid(),
            "constant added": lambda a, b: factor + a,
            "taken from a constant": lambda a, b: 1 - (factor - a),
            "constant factor": lambda a, b: factor * a,
            "constant divisor": lambda a, b: a / positive,
            "halves exchanged": lambda a, b: torch.cat([*a.chunk(2, 1)[::-1]], 1),
            "halves of two": lambda a, b: torch.cat([a[:, :2], b[:, 2:]], 1),
            "half the rows and back": lambda a, b: self.patch(a[..., ::2, ::2]),
            "mean of channels": lambda a, b: a * a.mean(1, keepdim=True),
        }

    def on_rows(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        last = self.factor.flatten()
        return {
            "product": lambda a, b: self.linear(a),
            "layer norm": lambda a, b: self.layer_norm(a),
            "rows' gelu": lambda a, b: functional.gelu(a),
            "rows copied": lambda a, b: a.clone().relu_(),
            "rows added": lambda a, b: a + b,
            "rows' factor": lambda a, b: last * a + last,
        }

    def forward(self, frame: Tensor) -> list[Tensor]:
        maps, on_maps, on_rows = [self.point(frame)], self.on_maps(), self.on_rows()
        rows = [maps[0].permute(0, 2, 3, 1)]
        for name, first, second in self.steps:
            if name in on_maps:
                maps.append(on_maps[name](maps[-min(first, len(maps))], maps[-min(second, len(maps))]))
            elif name in on_rows:
                rows.append(on_rows[name](rows[-min(first, len(rows))], rows[-min(second, len(rows))]))
            elif name == "to rows":
                rows.append(maps[-min(first, len(maps))].permute(0, 2, 3, 1))
            else:
                maps.append(rows[-min(first, len(rows))].permute(0, 3, 1, 2))
        return [*maps[-3:], rows[-1]]


COMMON = ("convolve", "batch norm", "relu", "copy changed", "add", "constant factor", "to rows", "to a map")
NAMES = [*Drawn([], 0).on_maps(), *2 * [*Drawn([], 0).on_rows()], *3 * COMMON]
steps = st.lists(
    st.tuples(st.sampled_from(NAMES), *[st.sampled_from([1, 1, 2, 3])] * 2), min_size=4, max_size=12
)


@settings(max_examples=120, deadline=None)
@given(steps=steps, seed=st.integers(0, 2**31))
def test_the_lowered_network_is_the_module(steps: list[tuple[str, int, int]], seed: int) -> None:
    network = Drawn(steps, seed)
    generator = torch.Generator().manual_seed(seed)
    before = torch.randn(1, CHANNELS, 32, 40, generator=generator)
    frame = before.clone()
    frame[..., 8:12, 20:30] = torch.randn(CHANNELS, 4, 10, generator=generator)
    executor = SparseExecutor(network, "exact")
    dense, cache = executor.dense(before)
    still = torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2, 3, 2, dtype=torch.int64)
    sparse, _, _ = executor.sparse(frame, *still, cache)
    with torch.no_grad():
        wanted = (*network(before), *network(frame))
    for made, expected in zip((*dense, *sparse), wanted, strict=True):
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(made, expected, rtol=1e-3, atol=1e-4 * scale)
