"""The oracle itself, against sums written out in float64."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.ops import reference
from kernels.ops.maps import Window, list_tiles

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Window, int]:
    """A map of small whole numbers down to one position wide, a weight, a bias, a window and groups."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    window = Window(draw(pairs), draw(pairs), draw(st.tuples(*[st.integers(0, 2)] * 2)), draw(pairs))
    output = draw(st.tuples(*[st.integers(1, 4)] * 2))
    extent = window.extent(output)
    height, width = (max(1, extent[axis] - 2 * window.padding[axis]) for axis in (0, 1))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.sampled_from([1, 2, 9]))

    def whole(*shape: int) -> torch.Tensor:
        return torch.randint(-4, 5, shape, generator=generator).float()

    weight = whole(outputs, inputs // groups, *window.kernel)
    return whole(height, width, inputs), weight, whole(outputs), window, groups


def by_hand(
    source: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, window: Window, groups: int
) -> torch.Tensor:
    """out[y, x, o] = bias[o] + Σ weight[o, i, ky, kx] · source[..., i], one product after another."""
    height, width = window.output_size((source.shape[0], source.shape[1]))
    outputs, each = weight.shape[0], weight.shape[1]
    values, factors = source.double().tolist(), weight.double().tolist()
    out = bias.double().expand(height, width, outputs).clone()
    for y in range(height):
        for x in range(width):
            for o in range(outputs):
                first = o // (outputs // groups) * each
                for ky in range(window.kernel[0]):
                    for kx in range(window.kernel[1]):
                        row = y * window.stride[0] - window.padding[0] + ky * window.dilation[0]
                        column = x * window.stride[1] - window.padding[1] + kx * window.dilation[1]
                        if 0 <= row < source.shape[0] and 0 <= column < source.shape[1]:
                            read = values[row][column][first : first + each]
                            out[y, x, o] += sum(value * factors[o][i][ky][kx] for i, value in enumerate(read))
    return out


@settings(max_examples=100, deadline=None)
@given(case=convolutions(), tile=st.sampled_from([(1, 1), (2, 2), (3, 1)]))
def test_a_convolution_is_its_sum(
    case: tuple[torch.Tensor, torch.Tensor, torch.Tensor, Window, int], tile: tuple[int, int]
) -> None:
    source, weight, bias, window, groups = case
    expected = by_hand(source, weight, bias, window, groups)
    for dtype in (torch.float32, torch.float16):
        packed = reference.pack_convolution(weight.to(dtype), bias, window, groups)
        out = torch.full(expected.shape, float("nan"), dtype=dtype)
        tiles = list_tiles(torch.ones(out.shape[:2], dtype=torch.bool), tile)
        reference.convolve(packed, source.to(dtype), tiles, tile, out)
        assert torch.equal(out.double(), expected)  # below 2048: exact in half precision as well
