"""The Triton convolution, interpreted on the CPU, against the reference: bitwise where every sum is exact."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.ops import reference, registry
from kernels.ops import triton as backend
from kernels.ops.maps import ACTIVATIONS, Window
from tests.strategies_kernels import output_size, same, scenes, windows
from tests.triton_toolchain import load_fused

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
    scene = data.draw(scenes(inputs, dtype, whole=True))
    window, tile = data.draw(windows(most=3)), data.draw(st.sampled_from([(1, 1), (2, 2), (3, 5)]))
    size = output_size(window, scene)
    tiles = scene.tiles(size, tile, data.draw(st.sampled_from([0.0, 0.2])))
    weight = scene.values(outputs, inputs // groups, *window.kernel).clamp(-1, 1)
    bias = scene.values(outputs).float()
    residual = scene.values(*size, outputs) if data.draw(st.booleans()) else None
    activation = data.draw(st.sampled_from(["none", "relu", "relu6"]))
    maps = []
    for module in (reference, fused):
        out = scene.blank(*size, outputs)
        packed = module.pack_convolution(weight, bias, window, groups, activation)
        module.convolve(packed, scene.source, tiles, tile, out, residual, scene.halo)
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


def test_what_the_backend_cannot_do_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert backend.unavailable("cpu") in ("triton is not installed", "runs on cuda tensors only (got cpu)")
    monkeypatch.setattr(backend, "find_spec", lambda _: None)
    assert registry.unavailable("triton", "cuda") == "triton is not installed"
    assert backend.refuses("pool") == "has no pool"
    traits = {"dtype": torch.float16, "in_channels": 80, "out_channels": 80}
    assert "groups of at least 16 channels (got 1)" in str(backend.refuses("convolve", groups=80, **traits))
    assert backend.refuses("convolve", groups=1, **traits) is None
