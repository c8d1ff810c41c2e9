"""Torch tensors to pointers: each function has the signature and meaning of its namesake in the reference."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch

from kernels.ops import reference
from kernels.ops.cpu.loader import library
from kernels.ops.maps import ACTIVATIONS, Halo, PackedConvolution, Window, check_map, check_tiles
from kernels.ops.reference.pointwise import OPERATIONS
from kernels.ops.reference.upsample import linear_taps

_long = ctypes.c_int64
_float = ctypes.c_float
_int = ctypes.c_int
_pointer = ctypes.c_void_p


@dataclass(frozen=True, slots=True)
class _KernelArguments:
    geometry: ctypes.Array[_long]
    zeros: torch.Tensor
    activation: int


def panel_vectors(vectors: int) -> list[int]:
    """How many vectors of output channels the kernel takes at a time, as `panel` in convolve.cpp."""
    panels = []
    while vectors > 0:
        wide = (3 if vectors == 5 else 4) if vectors >= 4 else vectors
        panels.append(wide)
        vectors -= wide
    return panels


def in_pairs(outputs: int, inputs: int, lanes: int) -> bool:
    """Whether the kernel takes two input channels of a group at a time, as `paired` in convolve.cpp."""
    return outputs * 2 <= lanes and inputs % 2 == 0


def pack_convolution(
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    window: Window,
    groups: int = 1,
    activation: str = "none",
    slope: float = 0.01,
) -> PackedConvolution:
    """As the reference's; weights become panels [tap][input][up to 4 vectors of outputs], zero-padded."""
    plain = reference.pack_convolution(weight, bias, window, groups, activation, slope)
    lanes = library().fluxshard_lanes()
    outputs, inputs, height, width = weight.shape
    taps = height * width
    if inputs == 1 and outputs == groups and groups > 1:
        padded = -(-outputs // lanes) * lanes
        packed = torch.zeros(taps, padded, dtype=torch.float32)
        packed[:, :outputs] = weight.reshape(outputs, taps).T
        offsets = torch.zeros(padded, dtype=torch.float32)
        offsets[:outputs] = plain.bias
    else:
        each = outputs // groups
        vectors = -(-each // lanes)
        cube = torch.zeros(groups, taps * inputs, vectors * lanes, dtype=torch.float32)
        cube[:, :, :each] = weight.reshape(groups, each, inputs, taps).permute(0, 3, 2, 1).flatten(1, 2)
        offsets = torch.zeros(groups, vectors * lanes, dtype=torch.float32)
        if in_pairs(each, inputs, lanes):  # output j in lanes 2j and 2j + 1, for even and odd channels
            half = cube[:, :, : lanes // 2].unflatten(1, (-1, 2))
            packed = half.transpose(2, 3).flatten(1)
            offsets[:, : 2 * each : 2] = plain.bias.view(groups, each)
        else:
            panels = torch.split(cube, [wide * lanes for wide in panel_vectors(vectors)], dim=2)
            packed = torch.cat([panel.flatten(1) for panel in panels], dim=1)
            offsets[:, :each] = plain.bias.view(groups, each)
    if any(window.padding):
        # A product with padding is 0, and adding it changes nothing, unless a weight is not finite or a sum
        # is -0.
        offsets += 0.0
    geometry = (_long * 12)(
        inputs,
        outputs // groups,
        *window.kernel,
        *window.stride,
        *window.padding,
        *window.dilation,
        groups,
        bool(weight.isfinite().all()),
    )
    return PackedConvolution(
        window=window,
        in_channels=plain.in_channels,
        out_channels=outputs,
        groups=groups,
        activation=activation,
        slope=slope,
        weight=packed.contiguous(),
        bias=offsets.contiguous(),
        extra=_KernelArguments(
            geometry, torch.zeros(plain.in_channels + 16, dtype=torch.float32), ACTIVATIONS.index(activation)
        ),
    )


def _pixel(value: torch.Tensor) -> int:
    return value.stride(1) if value.shape[1] > 1 else value.stride(0)


def _source(source: torch.Tensor, halo: Halo | None) -> tuple[object, ...]:
    """map, height, width, pixel, reference, its pixel, fresh, displacement."""
    height, width, _ = source.shape
    here = (_pointer(source.data_ptr()), _long(height), _long(width), _long(_pixel(source)))
    if halo is None:
        return (*here, None, _long(0), None, None)
    if halo.displacement.dtype != torch.int16 or not halo.displacement.is_contiguous():
        raise TypeError(f"halo.displacement must be contiguous int16 (got {halo.displacement.dtype})")
    if halo.fresh.dtype != torch.uint8 or not halo.fresh.is_contiguous():
        raise TypeError(f"halo.fresh must be contiguous uint8 (got {halo.fresh.dtype})")
    return (
        *here,
        _pointer(halo.reference.data_ptr()),
        _long(_pixel(halo.reference)),
        _pointer(halo.fresh.data_ptr()),
        _pointer(halo.displacement.data_ptr()),
    )


def _tiles(tiles: torch.Tensor, tile: tuple[int, int]) -> tuple[object, ...]:
    check_tiles(tiles, tile)
    return (_pointer(tiles.data_ptr()), _long(tiles.shape[0]), _long(tile[0]), _long(tile[1]))


def _out(out: torch.Tensor) -> tuple[object, ...]:
    check_map("out", out)
    return (_pointer(out.data_ptr()), _long(out.shape[0]), _long(out.shape[1]), _long(_pixel(out)))


def convolve(
    convolution: PackedConvolution,
    source: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    residual: torch.Tensor | None = None,
    halo: Halo | None = None,
) -> None:
    """As the reference's; the sum starts at the bias and runs over taps, then input channels."""
    check_map("source", source)
    if source.shape[2] != convolution.in_channels or out.shape[2] != convolution.out_channels:
        raise ValueError(
            f"source and out must have {convolution.in_channels} and {convolution.out_channels} channels "
            f"(got {source.shape[2]} and {out.shape[2]})"
        )
    packed: _KernelArguments = convolution.extra
    library().fluxshard_convolve(
        *_source(source, halo),
        *_tiles(tiles, tile),
        *_out(out),
        _long(out.shape[1]),
        _pointer(residual.data_ptr()) if residual is not None else None,
        _long(_pixel(residual) if residual is not None else 0),
        packed.geometry,
        _pointer(convolution.weight.data_ptr()),
        _pointer(convolution.bias.data_ptr()),
        _pointer(packed.zeros.data_ptr()),
        _int(packed.activation),
        _float(convolution.slope),
    )


def gather(
    source: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    window: Window,
    halo: Halo | None = None,
    fill: float = 0.0,
) -> torch.Tensor:
    """As the reference's."""
    check_map("source", source)
    check_tiles(tiles, tile)
    height, width = window.extent(tile)
    channels = source.shape[2]
    out = torch.empty(tiles.shape[0], height, width, channels, dtype=torch.float32)
    library().fluxshard_gather(
        *_source(source, halo),
        _pointer(tiles.data_ptr()),
        _long(tiles.shape[0]),
        _long(height),
        _long(width),
        *(_long(value) for value in (*window.stride, *window.padding)),
        _long(channels),
        _float(fill),
        _pointer(out.data_ptr()),
    )
    return out


def scatter(values: torch.Tensor, tiles: torch.Tensor, out: torch.Tensor) -> None:
    """As the reference's."""
    if values.dtype != torch.float32 or not values.is_contiguous():
        raise TypeError(f"values must be contiguous float32 (got {values.dtype})")
    library().fluxshard_scatter(
        _pointer(values.data_ptr()),
        *_tiles(tiles, (values.shape[1], values.shape[2])),
        _long(values.shape[3]),
        *_out(out),
    )


def pool(
    kind: str,
    window: Window,
    source: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    count_padding: bool = True,
    halo: Halo | None = None,
) -> None:
    """As the reference's."""
    if kind not in ("max", "average"):
        raise ValueError(f"kind must be 'max' or 'average' (got {kind!r})")
    check_map("source", source)
    geometry = (_long * 8)(*window.kernel, *window.stride, *window.padding, *window.dilation)
    library().fluxshard_pool(
        _int(kind == "max"),
        geometry,
        _int(count_padding),
        *_source(source, halo),
        *_tiles(tiles, tile),
        *_out(out),
        _long(source.shape[2]),
    )


def pointwise(
    operation: str,
    first: torch.Tensor,
    second: torch.Tensor | None,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    activation: str = "none",
    slope: float = 0.01,
) -> None:
    """As the reference's."""
    check_map("first", first)
    library().fluxshard_pointwise(
        _int(OPERATIONS.index(operation)),
        _pointer(first.data_ptr()),
        _long(_pixel(first)),
        _pointer(second.data_ptr()) if second is not None else None,
        _long(_pixel(second) if second is not None else 0),
        *_tiles(tiles, tile),
        *_out(out),
        _long(first.shape[2]),
        _int(ACTIVATIONS.index(activation)),
        _float(slope),
    )


def upsample(
    mode: str,
    source: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    align_corners: bool = False,
    halo: Halo | None = None,
) -> None:
    """As the reference's."""
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"mode must be 'nearest' or 'bilinear' (got {mode!r})")
    check_map("source", source)
    if out.shape[0] % source.shape[0] or out.shape[1] % source.shape[1]:
        raise ValueError(
            f"out must be a whole multiple of {tuple(source.shape[:2])} (got {tuple(out.shape[:2])})"
        )
    common = (*_source(source, halo), *_tiles(tiles, tile), *_out(out), _long(source.shape[2]))
    if mode == "nearest":
        library().fluxshard_upsample_nearest(*common)
        return
    taps: list[torch.Tensor] = []
    for axis in (0, 1):
        positions = torch.arange(out.shape[axis])
        taps += linear_taps(positions, source.shape[axis], out.shape[axis], align_corners)
    library().fluxshard_upsample_bilinear(*common, *(_pointer(tap.data_ptr()) for tap in taps))


def remap(
    reference: torch.Tensor,
    displacement: torch.Tensor,
    out: torch.Tensor,
    fresh: torch.Tensor | None = None,
) -> None:
    """As the reference's; neighbours that move alike are copied in one piece."""
    check_map("reference", reference)
    if not displacement.is_contiguous():
        raise ValueError("displacement must be contiguous")
    if fresh is not None and (fresh.dtype != torch.uint8 or not fresh.is_contiguous()):
        raise ValueError(f"fresh must be contiguous uint8 (got {fresh.dtype})")
    whole = not displacement.is_floating_point()
    function = library().fluxshard_move if whole else library().fluxshard_move_bilinear
    function(
        _pointer(reference.data_ptr()),
        _long(_pixel(reference)),
        _pointer(displacement.data_ptr()),
        _pointer(fresh.data_ptr()) if fresh is not None else None,
        *_out(out),
        _long(reference.shape[2]),
    )


def prune(
    values: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    epsilon: float,
    changed: torch.Tensor,
) -> None:
    """As the reference's."""
    check_map("values", values)
    if changed.dtype != torch.uint8 or not changed.is_contiguous():
        raise ValueError(f"changed must be contiguous uint8 (got {changed.dtype})")
    library().fluxshard_prune(
        _pointer(values.data_ptr()),
        _long(_pixel(values)),
        *_tiles(tiles, tile),
        *_out(out),
        _long(values.shape[2]),
        _float(epsilon),
        _pointer(changed.data_ptr()),
    )


def interleave(
    frame: torch.Tensor, tiles: torch.Tensor, tile: tuple[int, int], margin: int, out: torch.Tensor
) -> None:
    """out[y, x, c] = frame[c, y, x] at the tiles and `margin` positions around them, and nowhere else.

    Args:
        frame: float32 (C, H, W), contiguous.
        tiles: int32 (n, 2).
        tile: (height, width) of a tile.
        margin: positions on every side.
        out: (H, W, C), contiguous.
    """
    if not frame.is_contiguous() or not out.is_contiguous():
        raise ValueError("frame and out must be contiguous")
    library().fluxshard_interleave(
        _pointer(frame.data_ptr()),
        *(_long(size) for size in frame.shape),
        *_tiles(tiles, tile),
        _long(margin),
        _pointer(out.data_ptr()),
    )
