"""Tensors to the arguments of launch.cu, each checked first: what is wrong is named before anything runs."""

from __future__ import annotations

from typing import Any

import torch

from kernels.ops.maps import Halo, check_map, check_tiles

NO_HALO, NEAREST, BILINEAR = 0, 1, 2  # how a halo is sampled, as in common.cuh


def pixel_stride(value: torch.Tensor) -> int:
    """Elements from one position of a map to the next."""
    return value.stride(1) if value.shape[1] > 1 else value.stride(0)


def check(name: str, tensor: torch.Tensor, out: torch.Tensor, shape: tuple[int, ...] | None) -> None:
    """Raise, by name, unless a tensor has out's device and dtype, and the shape if one is given."""
    if tensor.device != out.device:
        raise ValueError(f"{name} must be on {out.device}, as out (got {tensor.device})")
    if tensor.dtype != out.dtype:
        raise TypeError(f"{name} must be {out.dtype}, as out (got {tensor.dtype})")
    if shape is not None and tuple(tensor.shape) != shape:
        raise ValueError(f"{name} must have shape {shape} (got {tuple(tensor.shape)})")


def source_arguments(source: torch.Tensor, halo: Halo | None, out: torch.Tensor) -> tuple[Any, ...]:
    """map, height, width, pixel, reference, its pixel, fresh, displacement, sampling."""
    check_map("source", source)
    check("source", source, out, None)
    height, width, _ = source.shape
    here = (source.data_ptr(), height, width, pixel_stride(source))
    if halo is None:
        return (*here, None, 0, None, None, NO_HALO)
    check_map("halo.reference", halo.reference)
    check("halo.reference", halo.reference, out, tuple(source.shape))
    return (
        *here,
        halo.reference.data_ptr(),
        pixel_stride(halo.reference),
        mask_address("halo.fresh", halo.fresh, out, (height, width)),
        *displacement_address("halo.displacement", halo.displacement, out, (height, width)),
    )


def mask_address(name: str, mask: torch.Tensor, out: torch.Tensor, size: tuple[int, int]) -> int:
    """Of a contiguous uint8 mask of `size`; raises, by name, if it is none."""
    if mask.device != out.device:
        raise ValueError(f"{name} must be on {out.device}, as out (got {mask.device})")
    if mask.dtype != torch.uint8 or not mask.is_contiguous() or tuple(mask.shape) != size:
        raise ValueError(
            f"{name} must be contiguous uint8 of shape {size} (got {mask.dtype}, {tuple(mask.shape)})"
        )
    return mask.data_ptr()


def displacement_address(
    name: str, displacement: torch.Tensor, out: torch.Tensor, size: tuple[int, int]
) -> tuple[int, int]:
    """Of a contiguous (*size, 2) displacement, and how to sample along it; raises, by name, otherwise."""
    if displacement.device != out.device:
        raise ValueError(f"{name} must be on {out.device}, as out (got {displacement.device})")
    if displacement.dtype not in (torch.int16, torch.float32):
        raise TypeError(f"{name} must be int16 or float32 (got {displacement.dtype})")
    if tuple(displacement.shape) != (*size, 2) or not displacement.is_contiguous():
        raise ValueError(
            f"{name} must be contiguous with shape {(*size, 2)} (got {tuple(displacement.shape)})"
        )
    return displacement.data_ptr(), NEAREST if displacement.dtype == torch.int16 else BILINEAR


def tile_arguments(tiles: torch.Tensor, tile: tuple[int, int], out: torch.Tensor) -> tuple[int, ...]:
    """tiles, their number, height, width."""
    check_tiles(tiles, tile)
    if tiles.device != out.device:
        raise ValueError(f"tiles must be on {out.device}, as out (got {tiles.device})")
    return tiles.data_ptr(), tiles.shape[0], tile[0], tile[1]


def out_arguments(out: torch.Tensor) -> tuple[int, ...]:
    """map, height, width, pixel stride."""
    check_map("out", out)
    return out.data_ptr(), out.shape[0], out.shape[1], pixel_stride(out)
