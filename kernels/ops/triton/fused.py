"""The convolution on tiles as one Triton kernel, for the tensor cores of Ampere and later.

out[p] = activation(Σ_t,c weight[t, c] · read(source, p·stride − padding + t·dilation)[c] + bias)
+ residual[p], over taps t and inputs c, is a product of matrices: its rows are the output positions of all
tiles, one after another, its columns the output channels, its depth the taps, then the inputs. `read` follows
the halo: a row reads this frame, the reference along its block's motion vector, or padding. Every output is
summed in the same order, whatever is computed beside it; how a tensor core rounds inside one step may differ
between piece sizes.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.ops import reference as plain
from kernels.ops.maps import Halo, PackedConvolution, Window, check_map, check_tiles

THIN = (
    16  # inputs below which the depth runs over taps and inputs together; also the least depth of a product
)
_NO_HALO, _NEAREST, _BILINEAR = 0, 1, 2


@triton.jit
def _activate(x, ACTIVATION: tl.constexpr, slope):
    if ACTIVATION == "relu":
        x = tl.where(x < 0.0, 0.0, x)
    elif ACTIVATION == "silu":
        x = x / (1.0 + tl.exp(-x))
    elif ACTIVATION == "sigmoid":
        x = 1.0 / (1.0 + tl.exp(-x))
    elif ACTIVATION == "leaky_relu":
        x = tl.where(x < 0.0, x * slope, x)
    elif ACTIVATION == "relu6":
        x = tl.where(x < 0.0, 0.0, tl.where(x > 6.0, 6.0, x))
    elif ACTIVATION == "tanh":
        e = tl.exp(-2.0 * tl.abs(x))
        x = tl.where(x < 0.0, -1.0, 1.0) * (1.0 - e) / (1.0 + e)
    elif ACTIVATION == "hardswish" or ACTIVATION == "hardsigmoid":
        gate = x + 3.0
        gate = tl.where(gate < 0.0, 0.0, tl.where(gate > 6.0, 6.0, gate)) / 6.0
        x = x * gate if ACTIVATION == "hardswish" else gate
    elif ACTIVATION == "gelu":
        x = 0.5 * x * (1.0 + tl.erf(x * 0.70710678))
    elif ACTIVATION == "gelu_tanh":
        # Limited so that nothing overflows; beyond, the result is a zero anyhow.
        x = x / (1.0 + tl.exp(tl.minimum(-1.5957691216 * (x + 0.044715 * x * x * x), 80.0)))
    return x


@triton.jit
def _clamp(value, high):
    return tl.minimum(tl.maximum(value, 0), high)


@triton.jit
def _read(
    source, reference, fresh, displacement, height, width, pixel, reference_pixel, y, x, channel, wanted,
    SAMPLING: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    """Channels `channel` of positions (y, x), shapes that broadcast; 0 where not `wanted` or outside."""
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    index = y * width + x
    here = source + index.to(tl.int64) * pixel
    if SAMPLING == 0:
        return tl.load(here + channel, mask=wanted & inside, other=0.0)
    stale = inside & (tl.load(fresh + index, mask=inside, other=1) == 0)
    if SAMPLING == 1:
        dx = tl.load(displacement + 2 * index, mask=stale, other=0).to(tl.int32)
        dy = tl.load(displacement + 2 * index + 1, mask=stale, other=0).to(tl.int32)
        moved = _clamp(y + dy, height - 1) * width + _clamp(x + dx, width - 1)
        place = tl.where(stale, reference + moved.to(tl.int64) * reference_pixel, here)
        if (
            ALIGNED
        ):  # which the choice between two pointers hides: without the hint, loads of one element each
            place = tl.multiple_of(place, (16, 16))
        return tl.load(place + channel, mask=wanted & inside, other=0.0)
    column = x.to(tl.float32) + tl.load(displacement + 2 * index, mask=stale, other=0.0)
    row = y.to(tl.float32) + tl.load(displacement + 2 * index + 1, mask=stale, other=0.0)
    column = tl.minimum(tl.maximum(column, 0.0), (width - 1).to(tl.float32))
    row = tl.minimum(tl.maximum(row, 0.0), (height - 1).to(tl.float32))
    left, top = column.to(tl.int32), row.to(tl.int32)
    weight_x, weight_y = column - left.to(tl.float32), row - top.to(tl.float32)
    right, bottom = tl.minimum(left + 1, width - 1), tl.minimum(top + 1, height - 1)
    corner = reference + channel
    mask = wanted & stale
    a = tl.load(corner + (top * width + left).to(tl.int64) * reference_pixel, mask=mask, other=0.0)
    b = tl.load(corner + (top * width + right).to(tl.int64) * reference_pixel, mask=mask, other=0.0)
    c = tl.load(corner + (bottom * width + left).to(tl.int64) * reference_pixel, mask=mask, other=0.0)
    d = tl.load(corner + (bottom * width + right).to(tl.int64) * reference_pixel, mask=mask, other=0.0)
    upper = a.to(tl.float32) * (1.0 - weight_x) + b.to(tl.float32) * weight_x
    lower = c.to(tl.float32) * (1.0 - weight_x) + d.to(tl.float32) * weight_x
    blended = upper * (1.0 - weight_y) + lower * weight_y
    # Never multiplied in, only chosen: what is stale may hold a NaN.
    current = tl.load(here + channel, mask=wanted & inside & (stale == 0), other=0.0)
    return tl.where(stale, blended.to(current.dtype), current)


# A compilation takes a second or two: what only the first lines use is no constant, so that layers share it.
_PLAIN = ("rows", "tile_height", "tile_width", "stride_y", "stride_x", "padding_y", "padding_x")


@triton.jit(do_not_specialize=_PLAIN)
def convolve_kernel(
    source, reference, fresh, displacement, tiles, weight, bias, residual, out,
    rows, height, width, pixel, reference_pixel, out_height, out_width, out_pixel, residual_pixel,
    inputs, outputs, columns, slope, tile_height, tile_width, stride_y, stride_x, padding_y, padding_x,
    KERNEL_Y: tl.constexpr, KERNEL_X: tl.constexpr, DILATION_Y: tl.constexpr, DILATION_X: tl.constexpr,
    ACTIVATION: tl.constexpr, SAMPLING: tl.constexpr, RESIDUAL: tl.constexpr, FLAT: tl.constexpr,
    ALIGNED: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """A BLOCK_M × BLOCK_N piece of the product of group program_id(2).

    FLAT: the depth runs over taps and inputs together, for maps of a few channels. ALIGNED: every position of
    both maps starts at a multiple of 16 bytes.
    """
    group = tl.program_id(2)
    number = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    tile = number // (tile_height * tile_width)
    offset = number % (tile_height * tile_width)
    valid = number < rows
    out_y = tl.load(tiles + 2 * tile, mask=valid, other=0) + offset // tile_width
    out_x = tl.load(tiles + 2 * tile + 1, mask=valid, other=0) + offset % tile_width
    valid = valid & (out_y < out_height) & (out_x < out_width)
    first_y, first_x = out_y * stride_y - padding_y, out_x * stride_x - padding_x
    depth = KERNEL_Y * KERNEL_X * inputs
    weight += group.to(tl.int64) * depth * columns
    sums = tl.full((BLOCK_M, BLOCK_N), 0.0, tl.float32)
    if FLAT:
        for start in range(0, depth, BLOCK_K):
            k = start + tl.arange(0, BLOCK_K)
            tap, channel = k // inputs, k % inputs
            y = first_y[:, None] + (tap // KERNEL_X * DILATION_Y)[None, :]
            x = first_x[:, None] + (tap % KERNEL_X * DILATION_X)[None, :]
            wanted = valid[:, None] & (k < depth)[None, :]
            left = _read(
                source, reference, fresh, displacement, height, width, pixel, reference_pixel,
                y, x, (group * inputs + channel)[None, :], wanted, SAMPLING, ALIGNED,
            )  # fmt: skip
            right = tl.load(
                weight + k[:, None] * columns + n[None, :],
                mask=(k < depth)[:, None] & (n < columns)[None, :],
                other=0.0,
            )
            sums = tl.dot(left, right, sums, input_precision=PRECISION)
    else:
        # One loop, not two: the compiler overlaps loads and products of neighbouring turns of the innermost
        # only, and a map of 64 channels would give that a single turn.
        chunks = (inputs + BLOCK_K - 1) // BLOCK_K
        for piece in range(KERNEL_Y * KERNEL_X * chunks):
            tap = piece // chunks
            k = (piece % chunks) * BLOCK_K + tl.arange(0, BLOCK_K)
            y = (first_y + tap // KERNEL_X * DILATION_Y)[:, None]
            x = (first_x + tap % KERNEL_X * DILATION_X)[:, None]
            wanted = valid[:, None] & (k < inputs)[None, :]
            left = _read(
                source, reference, fresh, displacement, height, width, pixel, reference_pixel,
                y, x, (group * inputs + k)[None, :], wanted, SAMPLING, ALIGNED,
            )  # fmt: skip
            right = tl.load(
                weight + (tap * inputs + k)[:, None] * columns + n[None, :],
                mask=(k < inputs)[:, None] & (n < columns)[None, :],
                other=0.0,
            )
            sums = tl.dot(left, right, sums, input_precision=PRECISION)
    written = valid[:, None] & (n < outputs)[None, :]
    channel = (group * outputs + n)[None, :]
    sums += tl.load(bias + group * outputs + n, mask=n < outputs, other=0.0)[None, :]
    sums = _activate(sums, ACTIVATION, slope)
    place = (out_y * out_width + out_x).to(tl.int64)[:, None]
    if RESIDUAL:
        sums += tl.load(residual + place * residual_pixel + channel, mask=written, other=0.0).to(tl.float32)
    tl.store(out + place * out_pixel + channel, sums.to(out.dtype.element_ty), mask=written)


def pack_convolution(
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    window: Window,
    groups: int = 1,
    activation: str = "none",
    slope: float = 0.01,
) -> PackedConvolution:
    """As the reference's; weights become [group][tap][input][output], outputs padded to sixteens."""
    made = plain.pack_convolution(weight, bias, window, groups, activation, slope)
    outputs, inputs, height, width = weight.shape
    cube = weight.reshape(groups, outputs // groups, inputs, height * width).permute(0, 3, 2, 1)
    columns = -(-cube.shape[3] // 16) * 16
    packed = cube.new_zeros(*cube.shape[:3], columns)
    packed[..., : cube.shape[3]] = cube
    return PackedConvolution(
        window=window,
        in_channels=made.in_channels,
        out_channels=outputs,
        groups=groups,
        activation=activation,
        slope=slope,
        weight=packed,
        bias=made.bias,
    )


# BLOCK_M × BLOCK_N that compile next to unspilled, within the 99 KiB of shared memory that a block of sm_86
# may have. Three TF32 products and the four corners of bilinear sampling hold more: theirs are small ones.
_PIECES = ((128, 128), (128, 64), (64, 128), (64, 64), (64, 32), (32, 64), (32, 32), (64, 16), (32, 16))
_SMALL = 64 * 64


@lru_cache(maxsize=4096)
def block_sizes(
    rows: int,
    outputs: int,
    inputs: int,
    dtype: torch.dtype,
    bilinear: bool = False,
    multiprocessors: int = 108,
) -> dict[str, int]:
    """BLOCK_M, BLOCK_N, BLOCK_K, warps and stages for a product of rows × outputs.

    Larger pieces read less, smaller ones keep more multiprocessors busy. Taken is the least estimate of

        ⌈pieces / multiprocessors⌉ · (max(BLOCK_M · BLOCK_N / 1024, (BLOCK_M + BLOCK_N) / 24) + 1)

    cycles for a step of one along the depth: what sm_80 multiplies in float16 and reads from its L2 cache in
    a cycle and multiprocessor, by its datasheet, and one cycle for the rest. No time was measured for it.
    """
    heavy = bilinear or dtype == torch.float32

    def cycles(piece: tuple[int, int]) -> float:
        pieces = -(-rows // piece[0]) * -(-outputs // piece[1])
        step = max(piece[0] * piece[1] / 1024, (piece[0] + piece[1]) / 24) + 1
        return -(-pieces // multiprocessors) * step

    fitting = [one for one in _PIECES if not heavy or one[0] * one[1] <= _SMALL]
    if inputs < THIN:  # gathered element by element: addresses in registers
        fitting = [one for one in fitting if one[0] <= 64]
    height, width = min(fitting, key=cycles)
    depth = 16 if inputs <= 16 else 64 if inputs >= 64 and not heavy else 32
    return {
        "BLOCK_M": height,
        "BLOCK_N": width,
        "BLOCK_K": depth,
        "num_warps": 8 if height * width >= 128 * 128 else 4,
        "num_stages": 2 if bilinear else 3,
    }


def precision(dtype: torch.dtype) -> str:
    """Of a product: float32 as three TF32 products, or as one where torch was told that this is enough.

    `torch.set_float32_matmul_precision` says so. Three TF32 products are exact where float32's are, for whole
    numbers below 2^21, and err by a few roundings of float32 elsewhere.
    """
    if dtype != torch.float32:
        return "ieee"
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def launch_arguments(
    convolution: PackedConvolution,
    source: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    residual: torch.Tensor | None,
    halo: Halo | None,
) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """The grid and every argument of `convolve_kernel`."""
    window, groups = convolution.window, convolution.groups
    inputs, outputs = convolution.in_channels // groups, convolution.out_channels // groups
    rows = tiles.shape[0] * tile[0] * tile[1]
    sampling = _NO_HALO
    if halo is not None:
        sampling = _NEAREST if halo.displacement.dtype == torch.int16 else _BILINEAR
    sizes = block_sizes(
        rows, outputs, inputs, source.dtype, sampling == _BILINEAR, _count_multiprocessors(source.device)
    )
    arguments: dict[str, Any] = {
        "source": source,
        # Never read without a halo or a residual, but a kernel wants a pointer.
        "reference": halo.reference if halo is not None else source,
        "fresh": halo.fresh if halo is not None else tiles,
        "displacement": halo.displacement if halo is not None else tiles,
        "tiles": tiles,
        "weight": convolution.weight,
        "bias": convolution.bias,
        "residual": residual if residual is not None else out,
        "out": out,
        "rows": rows,
        "height": source.shape[0],
        "width": source.shape[1],
        "pixel": _pixel(source),
        "reference_pixel": _pixel(halo.reference) if halo is not None else 0,
        "out_height": out.shape[0],
        "out_width": out.shape[1],
        "out_pixel": _pixel(out),
        "residual_pixel": _pixel(residual) if residual is not None else 0,
        "inputs": inputs,
        "outputs": outputs,
        "columns": convolution.weight.shape[3],
        "slope": convolution.slope,
        "tile_height": tile[0],
        "tile_width": tile[1],
        "stride_y": window.stride[0],
        "stride_x": window.stride[1],
        "padding_y": window.padding[0],
        "padding_x": window.padding[1],
        "KERNEL_Y": window.kernel[0],
        "KERNEL_X": window.kernel[1],
        "DILATION_Y": window.dilation[0],
        "DILATION_X": window.dilation[1],
        "ACTIVATION": convolution.activation,
        "SAMPLING": sampling,
        "RESIDUAL": residual is not None,
        "FLAT": inputs < THIN,
        "ALIGNED": _is_aligned(source) and (halo is None or _is_aligned(halo.reference)),
        "PRECISION": precision(source.dtype),
        **sizes,
    }
    grid = (-(-rows // sizes["BLOCK_M"]), -(-outputs // sizes["BLOCK_N"]), groups)
    return grid, arguments


def convolve(
    convolution: PackedConvolution,
    source: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    residual: torch.Tensor | None = None,
    halo: Halo | None = None,
) -> None:
    """As the reference's; one kernel on the current stream, sums in float32."""
    check_map("source", source)
    check_map("out", out)
    check_tiles(tiles, tile)
    if source.shape[2] != convolution.in_channels or out.shape[2] != convolution.out_channels:
        raise ValueError(
            f"source and out must have {convolution.in_channels} and {convolution.out_channels} channels "
            f"(got {source.shape[2]} and {out.shape[2]})"
        )
    maps: dict[str, torch.Tensor | None] = {"source": source, "out": out, "residual": residual}
    size = (source.shape[0], source.shape[1])
    if halo is not None:
        maps["halo.reference"] = halo.reference
        check_map("halo.reference", halo.reference)
        if halo.reference.shape != source.shape:
            raise ValueError(f"halo.reference must have shape {tuple(source.shape)}")
        fresh = halo.fresh
        if fresh.dtype != torch.uint8 or tuple(fresh.shape) != size or not fresh.is_contiguous():
            found = f"{fresh.dtype}, {tuple(fresh.shape)}"
            raise ValueError(f"halo.fresh must be contiguous uint8 of shape {size} (got {found})")
        if halo.displacement.dtype not in (torch.int16, torch.float32):
            raise TypeError(f"halo.displacement must be int16 or float32 (got {halo.displacement.dtype})")
        if tuple(halo.displacement.shape) != (*size, 2) or not halo.displacement.is_contiguous():
            raise ValueError(f"halo.displacement must be contiguous with shape {(*size, 2)}")
        for name, tensor in (("halo.fresh", fresh), ("halo.displacement", halo.displacement)):
            if tensor.device != out.device:
                raise ValueError(f"{name} must be on {out.device}, as out (got {tensor.device})")
    for name, value in maps.items():
        if value is not None and value.dtype != convolution.weight.dtype:
            raise TypeError(f"{name} must be {convolution.weight.dtype}, as the weights (got {value.dtype})")
        if value is not None and value.device != out.device:
            raise ValueError(f"{name} must be on {out.device}, as out (got {value.device})")
    if tiles.device != out.device or convolution.weight.device != out.device:
        raise ValueError(
            f"tiles and weights must be on {out.device}, as out "
            f"(got {tiles.device} and {convolution.weight.device})"
        )
    if residual is not None and residual.shape != out.shape:
        raise ValueError(f"residual must have shape {tuple(out.shape)} (got {tuple(residual.shape)})")
    if tiles.shape[0] == 0:
        return
    grid, arguments = launch_arguments(convolution, source, tiles, tile, out, residual, halo)
    # Triton launches on the current device, whichever the tensors are on.
    elsewhere = out.is_cuda and out.device.index != torch.cuda.current_device()
    with torch.cuda.device(out.device) if elsewhere else nullcontext():
        convolve_kernel[grid](**arguments)


def _count_multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":
        return 108
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


def _is_aligned(value: torch.Tensor) -> bool:
    return value.data_ptr() % 16 == 0 and _pixel(value) * value.element_size() % 16 == 0


def _pixel(value: torch.Tensor) -> int:
    return value.stride(1) if value.shape[1] > 1 else value.stride(0)
