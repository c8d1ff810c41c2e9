"""The Triton convolution compiles for Ampere and Hopper as meant: tensor cores, wide loads, no spilling."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from kernels.ops.maps import Halo, Window
from tests.toolchains.triton import compile_for, load_fused

SHARED_BYTES = 99 * 1024  # what a block of sm_86 may have; sm_87 and sm_90 have more


# Of fused.block_sizes: in bytes that ptxas spills.
PIECES = [
    (90, torch.float16, (128, 64), 0),
    (86, torch.float16, (64, 128), 0),
    (86, torch.float16, (32, 32), 16),
]


@pytest.fixture(scope="module")
def fused() -> ModuleType:
    return load_fused(interpret=False)


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize(
    ("capability", "dtype", "inputs", "outputs", "sampling", "spill_bytes"),
    [
        (86, torch.float16, 3, 64, "none", 0),
        (86, torch.float16, 64, 64, "nearest", 0),
        (86, torch.float16, 256, 256, "nearest", 0),
        (86, torch.float16, 64, 64, "bilinear", 0),
        (86, torch.float32, 64, 64, "nearest", 64),
        (86, torch.float32, 64, 64, "bilinear", 64),
        (87, torch.float16, 64, 64, "nearest", 0),
        (87, torch.float32, 64, 64, "nearest", 64),
        (90, torch.float16, 256, 256, "nearest", 0),
        (90, torch.float32, 64, 64, "nearest", 64),
    ],
    ids=str,
)
def test_tensor_cores_wide_loads_and_room(
    fused: ModuleType,
    capability: int,
    dtype: torch.dtype,
    inputs: int,
    outputs: int,
    sampling: str,
    spill_bytes: int,
) -> None:
    packed = fused.pack_convolution(
        torch.zeros(outputs, inputs, 3, 3, dtype=dtype), None, Window((3, 3), (1, 1), (1, 1)), 1, "silu"
    )
    source, out = torch.zeros(128, 128, inputs, dtype=dtype), torch.zeros(128, 128, outputs, dtype=dtype)
    tiles, fresh = torch.zeros(600, 2, dtype=torch.int32), torch.zeros(128, 128, dtype=torch.uint8)
    kind = torch.int16 if sampling == "nearest" else torch.float32
    halo = Halo(source, fresh, torch.zeros(128, 128, 2, dtype=kind)) if sampling != "none" else None
    _, arguments = fused.launch_arguments(packed, source, tiles, (4, 4), out, None, halo)
    made = compile_for(capability, fused.convolve_kernel, arguments)
    assert made.products > 0
    assert made.shared_bytes <= SHARED_BYTES
    assert made.spill_bytes <= spill_bytes
    if inputs >= 64:
        # Both operands, once in every stage: the halo's choice between two maps must not hide the alignment.
        rows, columns, depth = (arguments[f"BLOCK_{axis}"] for axis in "MNK")
        operands_bytes = (rows + columns) * depth * packed.weight.element_size()
        each_thread = operands_bytes // (16 * 32 * arguments["num_warps"])
        assert made.wide_loads >= each_thread * arguments["num_stages"]


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize(("capability", "dtype", "piece", "spill_bytes"), PIECES, ids=str)
def test_pieces_that_other_layers_take(
    fused: ModuleType, capability: int, dtype: torch.dtype, piece: tuple[int, int], spill_bytes: int
) -> None:
    packed = fused.pack_convolution(
        torch.zeros(128, 128, 3, 3, dtype=dtype), None, Window((3, 3), (1, 1), (1, 1)), 1, "gelu"
    )
    source, out = torch.zeros(128, 128, 128, dtype=dtype), torch.zeros(128, 128, 128, dtype=dtype)
    tiles, fresh = torch.zeros(600, 2, dtype=torch.int32), torch.zeros(128, 128, dtype=torch.uint8)
    halo = Halo(source, fresh, torch.zeros(128, 128, 2, dtype=torch.int16))
    _, arguments = fused.launch_arguments(packed, source, tiles, (4, 4), out, None, halo)
    assert piece in fused._PIECES
    arguments["BLOCK_M"], arguments["BLOCK_N"] = piece
    made = compile_for(capability, fused.convolve_kernel, {**arguments, "num_warps": 4})
    assert made.products > 0
    assert made.shared_bytes <= SHARED_BYTES
    assert made.spill_bytes <= spill_bytes
