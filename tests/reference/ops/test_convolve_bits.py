"""The C++ convolution: a position has the same bits in any set, and activations hold at the extremes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from kernels.ops import cpu
from kernels.ops.maps import Halo, Window, list_tiles

pytestmark = pytest.mark.skipif(cpu.unavailable("cpu") is not None, reason="no C++ operations here")

# Rows of taps read in place, pairs of channels, both with a rest; one to four vectors; groups; depthwise.
LAYERS = [
    (3, 16, 3, 2, 1),
    (3, 5, 3, 1, 1),
    (5, 40, 5, 1, 1),
    (16, 8, 3, 1, 1),
    (10, 3, 3, 2, 1),
    (12, 8, 1, 1, 2),
    (7, 20, 3, 1, 1),
    (18, 72, 3, 1, 1),
    (24, 24, 3, 1, 24),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_value_is_the_same_bits_in_any_set_of_any_tiles_with_and_without_halo(
    layer: tuple[int, int, int, int, int],
) -> None:
    inputs, outputs, kernel, stride, groups = layer
    generator = torch.Generator().manual_seed(0)
    height, width = 22, 46
    window = Window((kernel, kernel), (stride, stride), (kernel // 2, kernel // 2))
    weight = torch.randn(outputs, inputs // groups, kernel, kernel, generator=generator)
    bias = torch.randn(outputs, generator=generator)
    packed = cpu.pack_convolution(weight, bias, window, groups, "silu")
    source = torch.randn(height, width, inputs, generator=generator)
    size = window.output_size((height, width))
    whole = torch.empty(*size, outputs)
    cpu.convolve(packed, source, torch.zeros(1, 2, dtype=torch.int32), size, whole)
    expected = functional.conv2d(source.permute(2, 0, 1)[None], weight, bias, stride, kernel // 2, 1, groups)
    torch.testing.assert_close(whole, functional.silu(expected)[0].permute(1, 2, 0), rtol=1e-5, atol=1e-5)
    fresh = (torch.rand(height, width, generator=generator) < 0.5).to(torch.uint8)
    scattered = torch.where(fresh[..., None] > 0, source, torch.nan)
    halo = Halo(source, fresh, torch.zeros(height, width, 2, dtype=torch.int16))
    for tile in (1, 2, 3, 8):
        mask = torch.rand(-(-size[0] // tile), -(-size[1] // tile), generator=generator) < 0.6
        tiles = (list_tiles(mask) * tile).contiguous()
        for read, behind in ((source, None), (scattered, halo)):
            out = torch.full_like(whole, math.nan)
            cpu.convolve(packed, read, tiles, (tile, tile), out, None, behind)
            active = mask.repeat_interleave(tile, 0).repeat_interleave(tile, 1)[: size[0], : size[1]]
            assert torch.equal(out[active], whole[active])
            assert bool(out[~active].isnan().all())


@pytest.mark.parametrize("name", ["silu", "sigmoid", "tanh", "hardswish", "relu6"])
def test_activations_at_the_extremes(name: str) -> None:
    values = torch.cat([torch.linspace(-90, 90, 4001), torch.tensor([-1e4, -200.0, -0.0, 200.0, 1e30])])
    values = torch.cat([values, torch.full((16 - len(values) % 16,), math.nan)]).view(1, -1, 1)
    identity = cpu.pack_convolution(torch.ones(1, 1, 1, 1), None, Window((1, 1)), 1, name)
    out = torch.empty_like(values)
    cpu.convolve(identity, values, torch.zeros(1, 2, dtype=torch.int32), (1, values.shape[1]), out)
    exact = getattr(functional, name, getattr(torch, name, None))(values.double())
    torch.testing.assert_close(
        out.double(), exact, rtol=5e-7, atol=1e-30 if name != "tanh" else 2e-7, equal_nan=True
    )
