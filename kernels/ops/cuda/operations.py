"""Torch tensors to launches: each method has the signature and meaning of its namesake in the reference.

Nothing here waits for the device, copies a tensor or leaves the current stream. What a launch needs beyond
its arguments is allocated by torch on that stream.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from kernels.ops import reference
from kernels.ops.cuda.arguments import (
    check,
    displacement_address,
    mask_address,
    out_arguments,
    pixel_stride,
    source_arguments,
    tile_arguments,
)
from kernels.ops.maps import ACTIVATIONS, Halo, PackedConvolution, Window, check_map, check_tiles
from kernels.ops.reference.pointwise import OPERATIONS

MAX_TAPS = 64  # of a convolution: the table of places must fit in 48 KiB of shared memory

# (rows, columns) of the piece of the product that one thread block computes; launch.cu has the same list.
CONFIGURATIONS = ((32, 32), (64, 64), (128, 64))


@dataclass(frozen=True, slots=True)
class PackedArguments:
    """What the kernels need of a convolution besides its weights.

    Attributes:
        window: kernel, stride, padding, dilation as C integers.
        inputs, outputs: channels of one group; of all groups if depthwise.
        columns: outputs as padded in the weights.
        depthwise: whether each channel has its own filter.
        activation: number in `ACTIVATIONS`.
    """

    window: ctypes.Array[ctypes.c_int]
    inputs: int
    outputs: int
    columns: int
    depthwise: bool
    activation: int


def choose_configuration(rows: int, outputs: int, groups: int, taps: int, multiprocessors: int) -> int:
    """The largest piece of `CONFIGURATIONS` that still gives every multiprocessor two thread blocks.

    A large piece reads each input and weight fewer times; a small one keeps a large device busy on a small
    layer. The result of a convolution does not depend on it.

    Args:
        rows: output positions.
        outputs: output channels of a group.
        groups: groups.
        taps: positions of the window; the 128-row piece has room for 16.
        multiprocessors: of the device.
    """
    largest = len(CONFIGURATIONS) - 1 if taps <= 16 else 1
    for number in range(largest, 0, -1):
        height, width = CONFIGURATIONS[number]
        blocks = -(-rows // height) * -(-outputs // width) * groups
        # A piece much wider than the layer would multiply by zeros.
        if blocks >= 2 * multiprocessors and (outputs > width // 2 or number == 1):
            return number
    return 0


class CudaOperations:
    """The operations over one library.

    Args:
        device_type: of the tensors it takes, "cuda"; "cpu" for the shim.
        library: the library for a device index.
    """

    def __init__(self, device_type: str, library: Callable[[int], ctypes.CDLL]) -> None:
        self._device_type = device_type
        self._library = library
        self._libraries: dict[int, ctypes.CDLL] = {}
        self._multiprocessors: dict[int, int] = {}

    def pack_convolution(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        window: Window,
        groups: int = 1,
        activation: str = "none",
        slope: float = 0.01,
    ) -> PackedConvolution:
        """As the reference's; weights become [group][tap][input][output], outputs padded to eights.

        Depthwise weights become [tap][channel].
        """
        plain = reference.pack_convolution(weight, bias, window, groups, activation, slope)
        outputs, inputs, height, width = weight.shape
        taps = height * width
        depthwise = inputs == 1 and outputs == groups and groups > 1
        if depthwise:
            cube = weight.reshape(outputs, taps).T[None]
        else:
            cube = weight.reshape(groups, outputs // groups, inputs, taps).permute(0, 3, 2, 1).flatten(1, 2)
        columns = -(-cube.shape[2] // 8) * 8
        packed = cube.new_zeros(cube.shape[0], cube.shape[1], columns)
        packed[:, :, : cube.shape[2]] = cube
        geometry = (ctypes.c_int * 8)(*window.kernel, *window.stride, *window.padding, *window.dilation)
        return PackedConvolution(
            window=window,
            in_channels=plain.in_channels,
            out_channels=outputs,
            groups=groups,
            activation=activation,
            slope=slope,
            weight=packed,
            bias=plain.bias,
            extra=PackedArguments(
                geometry,
                outputs if depthwise else inputs,
                outputs if depthwise else outputs // groups,
                columns,
                depthwise,
                ACTIVATIONS.index(activation),
            ),
        )

    def convolve(
        self,
        convolution: PackedConvolution,
        source: torch.Tensor,
        tiles: torch.Tensor,
        tile: tuple[int, int],
        out: torch.Tensor,
        residual: torch.Tensor | None = None,
        halo: Halo | None = None,
        configuration: int | None = None,
    ) -> None:
        """As the reference's; one kernel, sums in float32 over taps, then input channels.

        Args:
            configuration: index in `CONFIGURATIONS`; None chooses by the size of the work.
        """
        if source.shape[2] != convolution.in_channels or out.shape[2] != convolution.out_channels:
            raise ValueError(
                f"source and out must have {convolution.in_channels} and {convolution.out_channels} channels "
                f"(got {source.shape[2]} and {out.shape[2]})"
            )
        packed: PackedArguments = convolution.extra
        if convolution.weight.dtype != source.dtype:
            raise TypeError(f"source must be {convolution.weight.dtype}, as the weights (got {source.dtype})")
        if residual is not None:
            check("residual", residual, out, tuple(out.shape))
        if configuration is None:
            taps = convolution.window.kernel[0] * convolution.window.kernel[1]
            rows = tiles.shape[0] * tile[0] * tile[1]
            configuration = choose_configuration(
                rows, packed.outputs, convolution.groups, taps, self._count_multiprocessors(out.device)
            )
        self._launch(
            "convolve",
            out,
            *source_arguments(source, halo, out),
            *tile_arguments(tiles, tile, out),
            *out_arguments(out),
            residual.data_ptr() if residual is not None else None,
            pixel_stride(residual) if residual is not None else 0,
            packed.window,
            packed.inputs,
            packed.outputs,
            packed.columns,
            convolution.groups,
            packed.depthwise,
            convolution.weight.data_ptr(),
            convolution.bias.data_ptr(),
            packed.activation,
            convolution.slope,
            configuration,
        )

    def gather(
        self,
        source: torch.Tensor,
        tiles: torch.Tensor,
        tile: tuple[int, int],
        window: Window,
        halo: Halo | None = None,
        fill: float = 0.0,
    ) -> torch.Tensor:
        """As the reference's."""
        check_tiles(tiles, tile)
        height, width = window.extent(tile)
        channels = source.shape[2]
        out = source.new_empty(tiles.shape[0], height, width, channels)
        self._launch(
            "gather",
            out,
            *source_arguments(source, halo, out),
            *tile_arguments(tiles, tile, out)[:2],
            height,
            width,
            *window.stride,
            *window.padding,
            channels,
            fill,
            out.data_ptr(),
        )
        return out

    def scatter(self, values: torch.Tensor, tiles: torch.Tensor, out: torch.Tensor) -> None:
        """As the reference's."""
        if values.dtype != out.dtype or not values.is_contiguous():
            raise TypeError(f"values must be contiguous {out.dtype} (got {values.dtype})")
        check("values", values, out, None)
        self._launch(
            "scatter",
            out,
            values.data_ptr(),
            *tile_arguments(tiles, (values.shape[1], values.shape[2]), out),
            values.shape[3],
            *out_arguments(out),
        )

    def remap(
        self,
        reference: torch.Tensor,
        displacement: torch.Tensor,
        out: torch.Tensor,
        fresh: torch.Tensor | None = None,
    ) -> None:
        """As the reference's."""
        check_map("reference", reference)
        check("reference", reference, out, tuple(out.shape))
        self._launch(
            "remap",
            out,
            reference.data_ptr(),
            pixel_stride(reference),
            *displacement_address("displacement", displacement, out, (out.shape[0], out.shape[1])),
            mask_address("fresh", fresh, out, (out.shape[0], out.shape[1])) if fresh is not None else None,
            reference.shape[2],
            *out_arguments(out),
        )

    def prune(
        self,
        values: torch.Tensor,
        tiles: torch.Tensor,
        tile: tuple[int, int],
        out: torch.Tensor,
        epsilon: float,
        changed: torch.Tensor,
    ) -> None:
        """As the reference's."""
        check_map("values", values)
        check("values", values, out, tuple(out.shape))
        self._launch(
            "prune",
            out,
            values.data_ptr(),
            pixel_stride(values),
            *tile_arguments(tiles, tile, out),
            values.shape[2],
            epsilon,
            mask_address("changed", changed, out, (out.shape[0], out.shape[1])),
            *out_arguments(out),
        )

    def pool(
        self,
        kind: str,
        window: Window,
        source: torch.Tensor,
        tiles: torch.Tensor,
        tile: tuple[int, int],
        out: torch.Tensor,
        count_padding: bool = True,
        halo: Halo | None = None,
    ) -> None:
        """As the reference's; a mean sums in float32."""
        if kind not in ("max", "average"):
            raise ValueError(f"kind must be 'max' or 'average' (got {kind!r})")
        geometry = (ctypes.c_int * 8)(*window.kernel, *window.stride, *window.padding, *window.dilation)
        self._launch(
            "pool",
            out,
            kind == "max",
            geometry,
            count_padding,
            *source_arguments(source, halo, out),
            *tile_arguments(tiles, tile, out),
            source.shape[2],
            *out_arguments(out),
        )

    def pointwise(
        self,
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
        if operation not in OPERATIONS:
            raise ValueError(f"operation must be one of {OPERATIONS} (got {operation!r})")
        check_map("first", first)
        check("first", first, out, tuple(out.shape))
        if (second is None) != (operation == "copy"):
            raise ValueError(f"second must be None for 'copy' and a map for the others (got {operation!r})")
        if second is not None:
            check_map("second", second)
            check("second", second, out, tuple(out.shape))
        self._launch(
            "pointwise",
            out,
            OPERATIONS.index(operation),
            first.data_ptr(),
            pixel_stride(first),
            second.data_ptr() if second is not None else None,
            pixel_stride(second) if second is not None else 0,
            *tile_arguments(tiles, tile, out),
            first.shape[2],
            ACTIVATIONS.index(activation),
            slope,
            *out_arguments(out),
        )

    def upsample(
        self,
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
        if out.shape[0] % source.shape[0] or out.shape[1] % source.shape[1]:
            raise ValueError(
                f"out must be a whole multiple of {tuple(source.shape[:2])} (got {tuple(out.shape[:2])})"
            )
        sizes = zip(source.shape[:2], out.shape[:2], strict=True)
        steps = [(size - 1) / (made - 1) if made > 1 else 0.0 for size, made in sizes]
        self._launch(
            "upsample",
            out,
            mode == "bilinear",
            align_corners,
            *steps,
            *source_arguments(source, halo, out),
            *tile_arguments(tiles, tile, out),
            source.shape[2],
            *out_arguments(out),
        )

    def call(self, name: str, device: torch.device, *arguments: Any) -> None:
        """Launch a function of the library on the current stream of `device`.

        Raises:
            RuntimeError: the launch failed.
        """
        index = device.index or 0
        library = self._libraries.get(index)
        if library is None:
            library = self._libraries[index] = self._library(index)
        stream, guard = self._stream(device)
        with guard:
            error = getattr(library, f"fluxshard_{name}")(*arguments, stream)
        if error:
            raise RuntimeError(f"{name} failed on {device}: {library.fluxshard_error(error).decode()}")

    def check_device(self, name: str, tensor: torch.Tensor) -> None:
        """Raise unless a tensor is on this backend's kind of device.

        Raises:
            ValueError: by name.
        """
        if tensor.device.type != self._device_type:
            raise ValueError(f"{name} must be on {self._device_type} (got {tensor.device})")

    def _launch(self, name: str, out: torch.Tensor, *arguments: Any) -> None:
        self.check_device("out", out)
        self.call(name, out.device, int(out.dtype == torch.float16), *arguments)

    def _stream(self, device: torch.device) -> tuple[int | None, AbstractContextManager[Any]]:
        if self._device_type != "cuda":
            return None, nullcontext()
        here = device.index == torch.cuda.current_device()
        stream: int = torch.cuda.current_stream(device).cuda_stream
        return stream, nullcontext() if here else torch.cuda.device(device)

    def _count_multiprocessors(self, device: torch.device) -> int:
        if self._device_type != "cuda":
            return 1
        index = device.index or 0
        if index not in self._multiprocessors:
            properties = torch.cuda.get_device_properties(device)
            self._multiprocessors[index] = properties.multi_processor_count
        return self._multiprocessors[index]
