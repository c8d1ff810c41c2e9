"""The CUDA kernels, run by the processor, against the reference: bitwise where every sum is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.ops import reference
from kernels.ops.cuda import shim
from kernels.ops.cuda.operations import CONFIGURATIONS
from kernels.ops.maps import ACTIVATIONS, Halo, PackedConvolution, Window
from tests.strategies.kernels import no_worse, operation_inputs, output_size, same, windows

pytestmark = pytest.mark.skipif(shim.unavailable("cpu") is not None, reason=str(shim.unavailable("cpu")))

DTYPES = [torch.float32, torch.float16]
TILES = [(1, 1), (2, 2), (4, 4), (3, 5)]
EXACT = ["none", "relu", "relu6"]


@pytest.fixture
def in_any_order() -> Iterator[Callable[[Callable[[], torch.Tensor]], torch.Tensor]]:
    """Runs something with the threads of every block counting up, down, and shuffled: one result."""

    def run(make: Callable[[], torch.Tensor]) -> torch.Tensor:
        results = []
        for seed in (0, -1, 7):
            shim.set_order(seed)
            results.append(make())
        assert same(results[0], results[1])
        assert same(results[0], results[2])
        return results[0]

    yield run
    shim.set_order(0)


def widened(convolution: PackedConvolution, halo: Halo | None) -> tuple[PackedConvolution, Halo | None]:
    """The same in float64, for the reference."""
    made = reference.pack_convolution(
        convolution.weight.double(),
        None,
        convolution.window,
        convolution.groups,
        convolution.activation,
    )
    made.bias.copy_(convolution.bias)
    if halo is not None:
        halo = Halo(halo.reference.double(), halo.fresh, halo.displacement)
    return made, halo


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_convolve_whole_numbers(dtype: torch.dtype, data: st.DataObject) -> None:
    groups, inputs, outputs = data.draw(
        st.sampled_from(
            [(1, 3, 8), (1, 8, 20), (1, 40, 5), (1, 16, 72), (2, 16, 24), (2, 6, 4), (16, 16, 16), (3, 3, 3)]
        )
    )
    given = data.draw(operation_inputs(inputs, dtype, whole=True))
    window, tile = data.draw(windows()), data.draw(st.sampled_from(TILES))
    size = output_size(window, given)
    tiles = given.tiles(size, tile, data.draw(st.sampled_from([0.0, 0.1, 1.0])))
    weight = given.values(outputs, inputs // groups, *window.kernel).clamp(-1, 1)
    bias = given.values(outputs).float()
    residual = given.values(*size, outputs) if data.draw(st.booleans()) else None
    activation = data.draw(st.sampled_from(EXACT))
    wanted, made = given.blank(*size, outputs), given.blank(*size, outputs)
    packed = reference.pack_convolution(weight, bias, window, groups, activation)
    reference.convolve(packed, given.source, tiles, tile, wanted, residual, given.halo)
    packed = shim.pack_convolution(weight, bias, window, groups, activation)
    configuration = data.draw(st.integers(0, len(CONFIGURATIONS) - 1))
    shim.convolve(packed, given.source, tiles, tile, made, residual, given.halo, configuration)
    assert same(made, wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_convolve_real_numbers(dtype: torch.dtype, data: st.DataObject) -> None:
    """At most twice the framework's own error against float64, under every activation."""
    groups, inputs, outputs = data.draw(st.sampled_from([(1, 16, 24), (1, 3, 8), (1, 64, 32), (24, 24, 24)]))
    given = data.draw(operation_inputs(inputs, dtype, whole=False))
    window, tile = data.draw(windows()), data.draw(st.sampled_from(TILES))
    size = output_size(window, given)
    tiles = given.tiles(size, tile, 0.5)
    weight, bias = given.values(outputs, inputs // groups, *window.kernel) / 4, given.values(outputs).float()
    activation = data.draw(st.sampled_from(ACTIVATIONS))
    framework, made, exact = (given.blank(*size, outputs) for _ in range(3))
    packed = reference.pack_convolution(weight, bias, window, groups, activation)
    reference.convolve(packed, given.source, tiles, tile, framework, None, given.halo)
    exact = exact.double()
    double, halo = widened(packed, given.halo)
    exact_of(double, given.source.double(), tiles, tile, exact, halo)
    packed = shim.pack_convolution(weight, bias, window, groups, activation)
    shim.convolve(packed, given.source, tiles, tile, made, None, given.halo)
    terms = inputs // groups * window.kernel[0] * window.kernel[1]
    assert no_worse(made, framework, exact, terms, spread=0.25)


def exact_of(
    convolution: PackedConvolution,
    source: torch.Tensor,
    tiles: torch.Tensor,
    tile: tuple[int, int],
    out: torch.Tensor,
    halo: Halo | None,
) -> None:
    """The reference without its checks of the dtype: maps are never float64 anywhere else."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("convolve", "gather", "scatter"):
            patch.setattr(import_module(f"kernels.ops.reference.{name}"), "check_map", lambda *_: None)
        reference.convolve(convolution, source, tiles, tile, out, None, halo)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("inputs", [3, 32])
def test_a_result_depends_neither_on_the_configuration_nor_on_its_neighbours(
    dtype: torch.dtype, inputs: int
) -> None:
    """Sparse and dense runs agree to the last bit only if each output's sum has one order."""
    generator = torch.Generator().manual_seed(3)
    source = torch.randn(24, 24, inputs, generator=generator).to(dtype)
    weight = torch.randn(40, inputs, 3, 3, generator=generator).to(dtype)
    packed = shim.pack_convolution(weight, None, Window((3, 3), (1, 1), (1, 1)), 1, "silu")
    everything = torch.tensor([[0, 0]], dtype=torch.int32)
    some = torch.tensor([[2, 6], [20, 20], [9, 1]], dtype=torch.int32)
    dense = torch.empty(24, 24, 40, dtype=dtype)
    shim.convolve(packed, source, everything, (24, 24), dense, configuration=0)
    for configuration in range(len(CONFIGURATIONS)):
        again = torch.full_like(dense, float("nan"))
        shim.convolve(packed, source, everything, (24, 24), again, configuration=configuration)
        assert same(again, dense)
        sparse = torch.full_like(dense, float("nan"))
        shim.convolve(packed, source, some, (4, 4), sparse, configuration=configuration)
        written = ~sparse.isnan()
        assert int(written.sum()) == 3 * 16 * 40
        assert torch.equal(sparse[written], dense[written])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("inputs", [3, 16])
@pytest.mark.parametrize("configuration", range(len(CONFIGURATIONS)))
def test_convolve_has_no_race_within_a_block(
    dtype: torch.dtype,
    inputs: int,
    configuration: int,
    in_any_order: Callable[[Callable[[], torch.Tensor]], torch.Tensor],
) -> None:
    generator = torch.Generator().manual_seed(5)
    source = torch.randn(16, 16, inputs, generator=generator).to(dtype)
    weight = torch.randn(72, inputs, 3, 3, generator=generator).to(dtype)
    packed = shim.pack_convolution(weight, None, Window((3, 3), (1, 1), (1, 1)))
    tiles = torch.tensor([[0, 0], [8, 8]], dtype=torch.int32)

    def make() -> torch.Tensor:
        out = torch.full((16, 16, 72), float("nan"), dtype=dtype)
        shim.convolve(packed, source, tiles, (8, 8), out, configuration=configuration)
        return out

    in_any_order(make)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_gather_and_scatter(dtype: torch.dtype, data: st.DataObject) -> None:
    """Whatever is gathered is the reference's to the last bit, bilinear weights included."""
    channels = data.draw(st.sampled_from([1, 3, 8, 17, 40]))
    given = data.draw(operation_inputs(channels, dtype, whole=data.draw(st.booleans())))
    window, tile = data.draw(windows()), data.draw(st.sampled_from(TILES))
    tiles = given.tiles(output_size(window, given), tile, data.draw(st.sampled_from([0.0, 0.3, 1.0])))
    fill = data.draw(st.sampled_from([0.0, float("-inf"), -1.5]))
    results = [
        module.gather(given.source, tiles, tile, window, given.halo, fill) for module in (reference, shim)
    ]
    assert same(*results)
    values = given.values(tiles.shape[0], *tile, channels)
    maps = [given.blank(*given.size, channels) for _ in range(2)]
    for module, out in zip((reference, shim), maps, strict=True):
        module.scatter(values, tiles, out)
    assert same(*maps)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_remap(dtype: torch.dtype, data: st.DataObject) -> None:
    channels = data.draw(st.sampled_from([1, 3, 8, 17, 40]))
    sampling = data.draw(st.sampled_from(["nearest", "bilinear"]))
    halo = data.draw(operation_inputs(channels, dtype, whole=False, sampling=sampling)).halo
    assert halo is not None
    fresh = halo.fresh if data.draw(st.booleans()) else None
    maps = []
    for module in (reference, shim):
        out = torch.full_like(halo.reference, float("nan"))
        module.remap(halo.reference, halo.displacement, out, fresh)
        maps.append(out)
    assert same(*maps)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_prune(dtype: torch.dtype, data: st.DataObject) -> None:
    channels = data.draw(st.sampled_from([1, 3, 8, 17, 40, 200]))
    given = data.draw(operation_inputs(channels, dtype, whole=False, sampling="none"))
    tile = data.draw(st.sampled_from(TILES))
    tiles = given.tiles(given.size, tile, 0.5)
    cached = given.source + given.values(*given.size, channels) * (
        torch.rand(*given.size, 1, generator=given.generator) < 0.5
    )
    values = given.source.clone()
    values[0, 0, 0] = float("nan")
    results = []
    for module in (reference, shim):
        out, changed = cached.clone(), torch.zeros(given.size, dtype=torch.uint8)
        module.prune(values, tiles, tile, out, 0.75, changed)
        results.append((out, changed))
    assert same(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_pool(dtype: torch.dtype, data: st.DataObject) -> None:
    """A maximum is the reference's to the last bit; a mean too, where its sum is exact."""
    channels = data.draw(st.sampled_from([1, 3, 8, 17, 40]))
    kind = data.draw(st.sampled_from(["max", "average"]))
    sampling = None if kind == "max" else "none"
    given = data.draw(operation_inputs(channels, dtype, whole=True, sampling=sampling))
    given.source[1, 1, 0] = float("nan")  # a NaN wins a maximum, and spoils a mean
    window, tile = data.draw(windows()), data.draw(st.sampled_from(TILES))
    size = output_size(window, given)
    tiles, count_padding = given.tiles(size, tile, 0.5), data.draw(st.booleans())
    maps = [given.blank(*size, channels) for _ in range(2)]
    for module, out in zip((reference, shim), maps, strict=True):
        module.pool(kind, window, given.source, tiles, tile, out, count_padding, given.halo)
    assert same(*maps)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_pointwise_in_place(dtype: torch.dtype, data: st.DataObject) -> None:
    channels = data.draw(st.sampled_from([1, 3, 8, 17, 40]))
    given = data.draw(operation_inputs(channels, dtype, whole=False, sampling="none"))
    tile, activation = data.draw(st.sampled_from(TILES)), data.draw(st.sampled_from(ACTIVATIONS))
    operation = data.draw(st.sampled_from(["copy", "add", "subtract", "multiply"]))
    tiles = given.tiles(given.size, tile, 0.5)
    second = None if operation == "copy" else given.values(*given.size, channels)
    maps = []
    for module in (reference, shim):
        out = given.source.clone()
        module.pointwise(operation, out, second, tiles, tile, out, activation)
        maps.append(out)
    torch.testing.assert_close(maps[1], maps[0], rtol=4 * torch.finfo(dtype).eps, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_upsample(dtype: torch.dtype, data: st.DataObject) -> None:
    channels = data.draw(st.sampled_from([1, 3, 8, 17, 40]))
    mode, align = data.draw(st.sampled_from([("nearest", False), ("bilinear", False), ("bilinear", True)]))
    given = data.draw(operation_inputs(channels, dtype, whole=False))
    factor, tile = data.draw(st.sampled_from([(2, 2), (4, 3), (1, 2)])), data.draw(st.sampled_from(TILES))
    size = given.size[0] * factor[0], given.size[1] * factor[1]
    tiles = given.tiles(size, tile, 0.5)
    maps = [given.blank(*size, channels) for _ in range(2)]
    for module, out in zip((reference, shim), maps, strict=True):
        module.upsample(mode, given.source, tiles, tile, out, align, given.halo)
    if mode == "nearest":
        assert same(*maps)
    else:
        torch.testing.assert_close(
            maps[1], maps[0], rtol=4 * torch.finfo(dtype).eps, atol=1e-6, equal_nan=True
        )


@pytest.mark.parametrize("kernel", [(7, 7), (8, 8), (1, 9)])
def test_windows_up_to_the_limit(kernel: tuple[int, int]) -> None:
    """The table of places fits in shared memory at 64 taps, whatever configuration was chosen."""
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(-2, 3, (20, 20, 8), generator=generator).float()
    weight = torch.randint(-1, 2, (8, 8, *kernel), generator=generator).float()
    window = Window(kernel, (1, 1), (kernel[0] // 2, kernel[1] // 2))
    size = window.output_size((20, 20))
    tiles = torch.tensor([[0, 0]], dtype=torch.int32)
    for dtype in DTYPES:
        maps = [torch.full((*size, 8), float("nan"), dtype=dtype) for _ in range(2)]
        for module, out in zip((reference, shim), maps, strict=True):
            packed = module.pack_convolution(weight.to(dtype), None, window)
            module.convolve(packed, source.to(dtype), tiles, size, out)
        assert same(*maps)
