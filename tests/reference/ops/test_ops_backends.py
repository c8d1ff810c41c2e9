"""Every available backend against the reference, operation by operation, on memory full of NaN."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from kernels.ops import reference, registry
from kernels.ops.maps import ACTIVATIONS, Halo, Window, list_tiles
from tests.strategies.networks import poisoned_memory

OTHERS = [name for name in registry.BACKENDS if name != "reference" and not registry.unavailable(name, "cpu")]
TILES = [(1, 1), (2, 2), (4, 4), (3, 5)]


def backend(name: str) -> ModuleType:
    return registry.choose("convolve", "cpu", name).module


@st.composite
def scenes(draw: st.DrawFn, channels: int | None = None) -> tuple[torch.Tensor, torch.Tensor, Halo | None]:
    """A source map (a slice of a wider buffer), an active mask for it, and perhaps a halo."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    height, width = draw(st.integers(3, 14)), draw(st.integers(3, 14))
    channels = channels or draw(st.sampled_from([1, 3, 8, 17, 40]))
    wide = torch.randn(height, width, channels + draw(st.integers(0, 3)), generator=generator)
    source = wide[:, :, wide.shape[2] - channels :]
    mask = torch.rand(height, width, generator=generator) < draw(st.sampled_from([0.1, 0.6, 1.0]))
    if not draw(st.booleans()):
        return source, mask, None
    displacement = torch.randint(-5, 6, (height, width, 2), generator=generator).to(torch.int16)
    moved = torch.randn(height, width, channels, generator=generator)
    stale = source.clone()
    stale[~mask] = float("nan")  # what is not fresh must never be read
    return stale, mask, Halo(moved, mask.to(torch.uint8), displacement)


def assembled(source: torch.Tensor, halo: Halo | None) -> torch.Tensor:
    """The source as a reader sees it, (1, C, H, W)."""
    if halo is not None:
        whole = source.clone()
        reference.remap(halo.reference, halo.displacement, whole, halo.fresh)
        source = whole
    return source.permute(2, 0, 1)[None]


def compare(one: torch.Tensor, other: torch.Tensor, tolerance: float = 2e-5) -> None:
    """Equal within a tolerance of the range; where one is NaN (never written), so is the other."""
    assert torch.equal(one.isnan(), other.isnan())
    scale = max([1e-30, *other.nan_to_num().abs().flatten().tolist()])
    assert bool(((one - other).nan_to_num().abs() <= tolerance * scale).all())


@pytest.mark.parametrize("name", OTHERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_convolve(name: str, data: st.DataObject) -> None:
    groups_kind = data.draw(st.sampled_from(["one", "two", "depthwise"]))
    inputs = data.draw(st.sampled_from([2, 4, 16, 34] if groups_kind != "one" else [1, 3, 8, 17, 40]))
    outputs = inputs if groups_kind == "depthwise" else 2 * data.draw(st.sampled_from([1, 4, 8, 24, 40, 72]))
    groups = {"one": 1, "two": 2, "depthwise": inputs}[groups_kind]
    source, mask, halo = data.draw(scenes(inputs))
    kernel, stride = data.draw(st.sampled_from([1, 3, 5])), data.draw(st.sampled_from([1, 2]))
    dilation, activation = data.draw(st.sampled_from([1, 2])), data.draw(st.sampled_from(ACTIVATIONS))
    padding = dilation * (kernel // 2)
    window = Window((kernel, kernel), (stride, stride), (padding, padding), (dilation, dilation))
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(outputs, inputs // groups, kernel, kernel, generator=generator)
    bias = torch.randn(outputs, generator=generator)
    height, width = window.output_size((source.shape[0], source.shape[1]))
    tile = data.draw(st.sampled_from(TILES))
    tiles = list_tiles(mask[::stride, ::stride], tile)
    residual = torch.randn(height, width, outputs, generator=generator) if data.draw(st.booleans()) else None
    results = []
    with poisoned_memory():
        for module in (backend(name), reference):
            packed = module.pack_convolution(weight, bias, window, groups, activation)
            out = torch.empty(height, width, outputs + 2)[:, :, 1:-1]
            module.convolve(packed, source, tiles, tile, out, residual, halo)
            results.append(out)
    compare(*results)
    dense = functional.conv2d(assembled(source, halo), weight, bias, stride, padding, dilation, groups)
    written = ~results[1].isnan().any(2)
    expected = reference.convolve.__globals__["activate"](dense, activation)[0].permute(1, 2, 0)
    if residual is not None:
        expected = expected + residual
    torch.testing.assert_close(results[1][written], expected[written], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", OTHERS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_pool_and_upsample(name: str, data: st.DataObject) -> None:
    source, mask, halo = data.draw(scenes())
    channels = source.shape[2]
    tile = data.draw(st.sampled_from(TILES))
    kind = data.draw(st.sampled_from(["max", "average", "nearest", "bilinear"]))
    flag = data.draw(st.booleans())
    kernel, stride = data.draw(st.sampled_from([(2, 2), (3, 1), (5, 1), (3, 2)]))
    window = Window((kernel, kernel), (stride, stride), (kernel // 2, kernel // 2))
    results = []
    with poisoned_memory():
        for module in (backend(name), reference):
            if kind in ("max", "average"):
                size = window.output_size((source.shape[0], source.shape[1]))
                out = torch.empty(*size, channels)
                tiles = list_tiles(mask[::stride, ::stride][: size[0], : size[1]], tile)
                module.pool(kind, window, source, tiles, tile, out, flag, halo)
            else:
                out = torch.empty(source.shape[0] * 2, source.shape[1] * 2, channels)
                wide = mask.repeat_interleave(2, 0).repeat_interleave(2, 1)
                module.upsample(kind, source, list_tiles(wide, tile), tile, out, flag, halo)
            results.append(out)
    compare(*results)


@pytest.mark.parametrize("name", OTHERS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_gather_scatter_remap_prune_pointwise(name: str, data: st.DataObject) -> None:
    source, mask, halo = data.draw(scenes())
    height, width, channels = source.shape
    tile = data.draw(st.sampled_from(TILES))
    tiles = list_tiles(mask, tile)
    window = Window((3, 3), (1, 1), (1, 1))
    generator = torch.Generator().manual_seed(2)
    other = torch.randn(height, width, channels, generator=generator)
    displacement = torch.randint(-9, 10, (height, width, 2), generator=generator).to(torch.int16)
    values = torch.randn(len(tiles), *tile, channels, generator=generator)
    activation = data.draw(st.sampled_from(ACTIVATIONS))
    operation = data.draw(st.sampled_from(["copy", "add", "subtract", "multiply"]))
    results: list[list[torch.Tensor]] = []
    with poisoned_memory():
        for module in (backend(name), reference):
            scattered, joined, moved, blended = (torch.empty(height, width, channels) for _ in range(4))
            module.scatter(values, tiles, scattered)
            second = None if operation == "copy" else other
            module.pointwise(operation, source, second, tiles, tile, joined, activation)
            module.remap(other, displacement, moved, mask.to(torch.uint8))
            module.remap(other, displacement.float() * 0.37, blended)
            kept, changed = other.clone(), torch.zeros(height, width, dtype=torch.uint8)
            module.prune(other * 1.5, tiles, tile, kept, 0.8, changed)
            gathered = module.gather(source, tiles, tile, window, halo, -1.0)
            results.append([gathered, scattered, joined, moved, blended, kept, changed.float()])
    for one, two in zip(*results, strict=True):
        compare(one, two)


@pytest.mark.parametrize("name", ["reference", "cpu", "cuda", "cuda.shim"])
def test_a_backend_exports_what_the_registry_asks_for(name: str) -> None:
    module = importlib.import_module(f"kernels.ops.{name}")
    asked = {*registry.OPERATIONS, "pack_convolution", "refuses", "unavailable"}
    assert asked <= set(module.__all__)
    assert all(callable(getattr(module, function)) for function in asked)


def test_the_order_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment goes before the argument, the argument before the default; refusals say why."""
    monkeypatch.delenv(registry.VARIABLE, raising=False)
    assert registry.choose("convolve", "cpu", "reference").name == "reference"
    half = registry.choose("convolve", "cpu", dtype=torch.float16)
    assert half.name == "reference"
    if "cpu" in OTHERS:
        assert any("float32 only" in reason for reason in half.refusals)
    monkeypatch.setenv(registry.VARIABLE, "reference")
    assert registry.choose("convolve", "cpu", "cpu").name == "reference"
    monkeypatch.setenv(registry.VARIABLE, "no such")
    with pytest.raises(ValueError, match=r"FLUXSHARD_BACKEND='no such' cannot run on cpu: unknown backend"):
        registry.choose("convolve", "cpu")


def test_without_a_compiler_the_refusal_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from kernels.ops.cpu import loader

    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(loader.BuildError, match=r"no C\+\+ compiler found \(tried CXX=no-such-compiler\)"):
        loader.library.__wrapped__()


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("wider", [0, 1])
def test_tiles_beyond_the_map_are_not_written(name: str, wider: int) -> None:
    """Patches of tiles that hang over the edge of what they are made of lie wholly beyond what they make."""
    tiles = torch.tensor([[0, 0], [2, 4], [0, 5], [2, 6], [4, 9], [5, 0], [8, 2], [9, 9]], dtype=torch.int32)
    values = torch.arange(8 * 2 * 3 * 4).float().view(8, 2, 3, 4) + 1
    room = torch.zeros(15, 5, 4 + wider)
    backend(name).scatter(values, tiles, room[5:10, :, :4])
    expected = torch.zeros(15, 5, 4 + wider)
    reference.scatter(values, tiles, expected[5:10, :, :4])
    assert torch.equal(room, expected)
    assert not bool(room[:5].any() | room[10:].any())
