"""Every CUDA kernel with each access to memory watched: no race, in any order of threads and blocks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.bench import check
from kernels.ops import registry
from kernels.ops.cuda import shim
from kernels.ops.cuda.operations import CONFIGURATIONS
from kernels.ops.cuda.shim.racecheck import RACECHECK
from kernels.ops.maps import Window
from tests.strategies.kernels import operation_inputs, output_size, same, windows

pytestmark = pytest.mark.skipif(
    RACECHECK.unavailable("cpu") is not None, reason=str(RACECHECK.unavailable("cpu"))
)

DTYPES = [torch.float32, torch.float16]


@pytest.fixture(params=[0, -1, 11])
def in_order(request: pytest.FixtureRequest) -> Iterator[int]:
    """Threads and blocks counting up, down, and shuffled anew at each barrier."""
    RACECHECK.set_order(request.param)
    yield request.param
    RACECHECK.set_order(0)


@pytest.mark.usefixtures("in_order")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operation", registry.OPERATIONS)
def test_every_operation(operation: str, dtype: torch.dtype) -> None:
    """On the cases of `python -m kernels check`: halos, strides, groups, tiles over the edge."""
    made = check._run(operation, RACECHECK, "cpu", 1, dtype)
    wanted = check._run(operation, shim, "cpu", 1, dtype)
    assert all(same(one, other) for one, other in zip(made, wanted, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_convolutions_of_slices(dtype: torch.dtype, data: st.DataObject) -> None:
    """Every piece, maps that start at odd channels of wider buffers, tiles that hang over the edge."""
    inputs, outputs = data.draw(st.sampled_from([(3, 8), (8, 20), (16, 72), (40, 5), (12, 16)]))
    given = data.draw(operation_inputs(inputs, dtype, whole=True))
    window, tile = data.draw(windows(most=3)), data.draw(st.sampled_from([(1, 1), (2, 2), (3, 5)]))
    size = output_size(window, given)
    tiles = given.tiles(size, tile, data.draw(st.sampled_from([0.0, 0.1, 1.0])))
    weight, bias = given.values(outputs, inputs, *window.kernel), given.values(outputs).float()
    residual = given.values(*size, outputs) if data.draw(st.booleans()) else None
    configuration = data.draw(st.integers(0, len(CONFIGURATIONS) - 1))
    maps = []
    RACECHECK.set_order(data.draw(st.sampled_from([0, -1, 3])))
    for module in (shim, RACECHECK):
        out = given.blank(*size, outputs)
        packed = module.pack_convolution(weight, bias, window, 1, "silu")
        module.convolve(packed, given.source, tiles, tile, out, residual, given.halo, configuration)
        maps.append(out)
    RACECHECK.set_order(0)
    assert same(*maps)


@pytest.mark.usefixtures("in_order")
@pytest.mark.parametrize("channels", [1, 3])
def test_the_motion_search(channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    reference = torch.randint(0, 4, (48, 64, 3)[: 2 + (channels > 1)], generator=generator, dtype=torch.uint8)
    frame = reference.roll((3, -5), (0, 1)).contiguous()
    made, wanted = (module.search_motion(frame, reference, 16, 8) for module in (RACECHECK.searcher, shim))
    assert torch.equal(made[0], wanted[0])
    assert torch.equal(made[1], wanted[1])


def test_tiles_that_overlap_are_a_race() -> None:
    """The contract forbids them: proof that the watch sees what two threads write."""
    packed = RACECHECK.pack_convolution(torch.ones(8, 8, 1, 1), None, Window((1, 1)))
    tiles = torch.tensor([[0, 0], [0, 2]], dtype=torch.int32)
    with pytest.raises(RuntimeError, match=r"a race: thread .* in global memory"):
        RACECHECK.convolve(packed, torch.ones(8, 8, 8), tiles, (4, 4), torch.zeros(8, 8, 8))
