"""Convolution on tiles: gather with halo, convolution, bias, activation, residual, in-place write."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional

from kernels.ops.maps import ACTIVATIONS, Halo, PackedConvolution, Window, check_map, check_tiles
from kernels.ops.reference.gather import gather
from kernels.ops.reference.scatter import scatter


def pack_convolution(
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    window: Window,
    groups: int = 1,
    activation: str = "none",
    slope: float = 0.01,
) -> PackedConvolution:
    """Prepare a convolution once, at planning.

    Args:
        weight: (O, I / groups, kh, kw), on the device and in the dtype of the maps.
        bias: (O,) or None for zeros; kept in float32.
        window: kernel, stride, padding (zeros), dilation.
        groups: as in `torch.nn.Conv2d`; I means depthwise.
        activation: one of `ACTIVATIONS`, applied to the biased sum.
        slope: negative slope of leaky_relu.

    Raises:
        ValueError: unknown activation, or a weight that does not fit the window.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {ACTIVATIONS} (got {activation!r})")
    if tuple(weight.shape[2:]) != window.kernel:
        raise ValueError(f"weight must have kernel {window.kernel} (got {tuple(weight.shape)})")
    if bias is None:
        bias = torch.zeros(weight.shape[0], dtype=torch.float32, device=weight.device)
    return PackedConvolution(
        window=window,
        in_channels=weight.shape[1] * groups,
        out_channels=weight.shape[0],
        groups=groups,
        activation=activation,
        slope=slope,
        weight=weight.contiguous(),
        bias=bias.float().contiguous(),
    )


def activate(values: torch.Tensor, activation: str, slope: float = 0.01) -> torch.Tensor:
    """The activation called `activation` (one of `ACTIVATIONS`), element by element."""
    if activation == "leaky_relu":
        return functional.leaky_relu(values, slope)
    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "none": lambda value: value,
        "relu": torch.relu,
        "silu": functional.silu,
        "sigmoid": torch.sigmoid,
        "hardswish": functional.hardswish,
        "relu6": functional.relu6,
        "tanh": torch.tanh,
        "hardsigmoid": functional.hardsigmoid,
        "gelu": functional.gelu,
        "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    }
    return functions[activation](values)


def convolve(
    convolution: PackedConvolution,
    source: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    residual: torch.Tensor | None = None,
    halo: Halo | None = None,
) -> None:
    """out[p] = activation(Σ weight · source[window of p] + bias) + residual[p], p in the tiles.

    Args:
        convolution: from the same backend's `pack_convolution`.
        source: (H, W, I) map.
        tiles: int32 (n, 2) in `out`.
        tile: (height, width) of a tile in output positions.
        out: (H', W', O) map, written in place at the tiles and nowhere else; must not overlap `source`.
        residual: (H', W', O) map added after the activation, or None; may be `out` itself.
        halo: where source positions that are not fresh are read from; None reads all from `source`.
    """
    check_map("source", source)
    check_map("out", out)
    check_tiles(tiles, tile)
    if tiles.shape[0] == 0:
        return
    windows = gather(source, tiles, tile, convolution.window, halo)
    values = activate(_sums(convolution, windows, tile), convolution.activation, convolution.slope)
    if residual is not None:
        values = values + gather(residual, tiles, tile, Window((1, 1)))
    scatter(values.to(source.dtype).contiguous(), tiles, out)


def _sums(convolution: PackedConvolution, windows: torch.Tensor, tile: tuple[int, int]) -> torch.Tensor:
    """Σ weight · window + bias, (n, height, width, O) float32, tap after tap.

    Not torch's conv2d: torch 2.13's for the processor has been wrong, and has crashed, on windows that are
    one position wide, and its cuDNN rounds to TF32.
    """
    window, groups = convolution.window, convolution.groups
    # (groups, O / groups, I / groups, kh, kw)
    weight = convolution.weight.float().unflatten(0, (groups, -1))
    count, each = windows.shape[0] * tile[0] * tile[1], convolution.in_channels // groups
    total = convolution.bias.view(groups, 1, -1).expand(-1, count, -1)
    for row in range(window.kernel[0]):
        for column in range(window.kernel[1]):
            top, left = row * window.dilation[0], column * window.dilation[1]
            bottom, right = (
                start + (size - 1) * step + 1
                for start, size, step in zip((top, left), tile, window.stride, strict=True)
            )
            read = windows[:, top : bottom : window.stride[0], left : right : window.stride[1]].float()
            read = read.reshape(count, groups, each).transpose(0, 1)
            tap = weight[..., row, column].transpose(1, 2)
            total = total + read * tap if each == 1 else torch.baddbmm(total, read, tap)
    return total.transpose(0, 1).reshape(-1, *tile, convolution.out_channels)
