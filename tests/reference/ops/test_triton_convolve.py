"""The Triton convolution, interpreted on the CPU, against the reference: bitwise where every sum is exact."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.ops import reference, registry
from kernels.ops import triton as backend
from kernels.ops.maps import ACTIVATIONS, Halo, Window
from tests.strategies.kernels import operation_inputs, output_size, same, windows
from tests.toolchains.triton import load_fused

DTYPES = [torch.float32, torch.float16]


@pytest.fixture(scope="module")
def fused() -> ModuleType:
    return load_fused(interpret=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_whole_numbers(dtype: torch.dtype, fused: ModuleType, data: st.DataObject) -> None:
    groups, inputs, outputs = data.draw(
        st.sampled_from([(1, 3, 8), (1, 16, 20), (1, 40, 5), (1, 20, 72), (2, 32, 48)])
    )
    given = data.draw(operation_inputs(inputs, dtype, whole=True))
    window, tile = data.draw(windows(most=3)), data.draw(st.sampled_from([(1, 1), (2, 2), (3, 5)]))
    size = output_size(window, given)
    tiles = given.tiles(size, tile, data.draw(st.sampled_from([0.0, 0.2])))
    weight = given.values(outputs, inputs // groups, *window.kernel).clamp(-1, 1)
    bias = given.values(outputs).float()
    residual = given.values(*size, outputs) if data.draw(st.booleans()) else None
    activation = data.draw(st.sampled_from(["none", "relu", "relu6"]))
    maps = []
    for module in (reference, fused):
        out = given.blank(*size, outputs)
        packed = module.pack_convolution(weight, bias, window, groups, activation)
        module.convolve(packed, given.source, tiles, tile, out, residual, given.halo)
        maps.append(out)
    assert same(*maps)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str, fused: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(6, 6, 16, generator=generator) * 3
    weight, window = torch.randn(16, 16, 1, 1, generator=generator), Window((1, 1))
    tiles = torch.tensor([[0, 0]], dtype=torch.int32)
    maps = []
    for module in (reference, fused):
        out = torch.full((6, 6, 16), float("nan"))
        packed = module.pack_convolution(weight, None, window, 1, activation, 0.1)
        module.convolve(packed, source, tiles, (6, 6), out)
        maps.append(out)
    torch.testing.assert_close(maps[1], maps[0], rtol=1e-5, atol=2e-6)


def test_wrong_arguments_are_named(fused: ModuleType) -> None:
    source, tiles = torch.zeros(4, 4, 16), torch.zeros(1, 2, dtype=torch.int32)
    packed = fused.pack_convolution(torch.zeros(16, 16, 1, 1), None, Window((1, 1)))
    with pytest.raises(ValueError, match="source and out must have 16 and 16 channels"):
        fused.convolve(packed, source, tiles, (1, 1), torch.zeros(4, 4, 8))
    with pytest.raises(TypeError, match=r"out must be torch\.float32, as the weights"):
        fused.convolve(packed, source, tiles, (1, 1), torch.zeros(4, 4, 16).half())
    with pytest.raises(ValueError, match="residual must have shape"):
        fused.convolve(packed, source, tiles, (1, 1), source.clone(), torch.zeros(4, 3, 16))


def test_everything_must_be_on_one_device(fused: ModuleType) -> None:
    source, tiles = torch.zeros(4, 4, 16), torch.zeros(1, 2, dtype=torch.int32)
    packed, out = fused.pack_convolution(torch.zeros(16, 16, 1, 1), None, Window((1, 1))), source.clone()
    with pytest.raises(ValueError, match="source must be on cpu, as out"):
        fused.convolve(packed, source.to("meta"), tiles, (1, 1), out)
    with pytest.raises(ValueError, match="tiles and weights must be on cpu, as out"):
        fused.convolve(packed, source, tiles.to("meta"), (1, 1), out)
    fresh, move = torch.zeros(4, 4, dtype=torch.uint8), torch.zeros(4, 4, 2, dtype=torch.int16)
    with pytest.raises(ValueError, match=r"halo\.displacement must be on cpu, as out"):
        fused.convolve(packed, source, tiles, (1, 1), out, None, Halo(source, fresh, move.to("meta")))
    with pytest.raises(ValueError, match=r"halo\.fresh must be contiguous uint8"):
        fused.convolve(packed, source, tiles, (1, 1), out, None, Halo(source, fresh.T[::2].T, move))


@pytest.mark.parametrize("multiprocessors", [8, 82, 132])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pieces_fit_the_layer_and_the_device(
    fused: ModuleType, dtype: torch.dtype, multiprocessors: int
) -> None:
    def chosen(rows: int, outputs: int) -> tuple[int, int, int]:
        sizes = fused.block_sizes(rows, outputs, 64, dtype, False, multiprocessors)
        pieces = -(-rows // sizes["BLOCK_M"]) * -(-outputs // sizes["BLOCK_N"])
        return sizes["BLOCK_M"], sizes["BLOCK_N"], pieces

    # A large layer is worth the largest piece there is; a narrow one never multiplies many columns of zeros.
    assert chosen(10**6, 256)[:2] == ((128, 128) if dtype == torch.float16 else (64, 64))
    assert chosen(10**6, 16)[1] == 16
    # A small one is cut up until it occupies the device, as far as it goes.
    for rows, outputs in ((307, 512), (1229, 256), (4096, 128), (16, 16)):
        _, _, pieces = chosen(rows, outputs)
        smallest = -(-rows // 32) * -(-outputs // 32)
        assert pieces >= min(multiprocessors, smallest) / 2.5


def test_full_float32_is_left_to_who_does_it_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three TF32 products where TF32 is no faster than float32; not on A100, H100, Orin, nor without nvcc."""
    from kernels.ops import cuda

    traits = {"dtype": torch.float32, "in_channels": 64, "out_channels": 64, "groups": 1}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "unavailable", lambda _: None)
    for capability, refused in (
        ((8, 0), False),
        ((8, 6), True),
        ((8, 7), False),
        ((8, 9), True),
        ((9, 0), False),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None, value=capability: value)
        assert (backend.refuses("convolve", **traits) is not None) is refused
        assert backend.refuses("convolve", **{**traits, "dtype": torch.float16}) is None
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: (8, 6))
    monkeypatch.setattr(cuda, "unavailable", lambda _: "no nvcc")
    assert backend.refuses("convolve", **traits) is None
    monkeypatch.setattr(cuda, "unavailable", lambda _: None)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    assert backend.refuses("convolve", **traits) is None
    torch.set_float32_matmul_precision(before)


def test_what_the_backend_cannot_do_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert backend.unavailable("cpu") in ("triton is not installed", "runs on cuda tensors only (got cpu)")
    monkeypatch.setattr(backend, "find_spec", lambda _: None)
    assert registry.unavailable("triton", "cuda") == "triton is not installed"
    assert backend.refuses("pool") == "has no pool"
    traits = {"dtype": torch.float16, "in_channels": 80, "out_channels": 80}
    assert "groups of at least 16 channels (got 1)" in str(backend.refuses("convolve", groups=80, **traits))
    assert backend.refuses("convolve", groups=1, **traits) is None
