"""Maps, tiles, halos and windows for kernels: slices of wider buffers, vectors that point outside, NaN."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st

from kernels.ops.maps import Halo, Window, list_tiles

SHIM = "cuda.shim"  # the backend's name where a test lets the registry know it


@dataclass(frozen=True)
class OperationInputs:
    """What an operation reads, and which of its output positions are wanted.

    `source` is NaN wherever `halo` says that it is not fresh, and the buffer around both maps is NaN.
    """

    source: torch.Tensor
    halo: Halo | None
    generator: torch.Generator
    whole: bool  # small whole numbers: every sum is exact
    around: tuple[int, int]  # channels of the buffers before and after a map's

    @property
    def size(self) -> tuple[int, int]:
        return self.source.shape[0], self.source.shape[1]

    def values(self, *shape: int) -> torch.Tensor:
        """Random values of the scene's kind and dtype."""
        return random_values(shape, self.source.dtype, self.generator, self.whole)

    def tiles(self, size: tuple[int, int], tile: tuple[int, int], share: float) -> torch.Tensor:
        """Some of the tiles of an output of this size; the last ones may hang over its edge."""
        return list_tiles(torch.rand(size, generator=self.generator) < share, tile)

    def blank(self, height: int, width: int, channels: int) -> torch.Tensor:
        """A map full of NaN, in a wider buffer; aligned for wide stores where the source is for loads."""
        before, after = self.around
        wide = torch.full((height, width, before + channels + after), float("nan"), dtype=self.source.dtype)
        return wide[:, :, before : before + channels]


def random_values(
    shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator, whole: bool
) -> torch.Tensor:
    """Whole numbers in ±2, or a normal distribution."""
    if whole:
        return torch.randint(-2, 3, shape, generator=generator).to(dtype)
    return torch.randn(shape, generator=generator).to(dtype)


@st.composite
def operation_inputs(
    draw: st.DrawFn, channels: int, dtype: torch.dtype, whole: bool, sampling: str | None = None
) -> OperationInputs:
    """A scene whose maps are aligned for wide loads, or not."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    height, width = draw(st.integers(3, 12)), draw(st.integers(3, 12))
    # An offset of 8 channels keeps packs aligned, one of 1 does not.
    before, after = draw(st.sampled_from([(0, 0), (8, 0), (1, 2), (0, 8)]))

    def make_map() -> torch.Tensor:
        buffer = torch.full((height, width, before + channels + after), float("nan"), dtype=dtype)
        buffer[:, :, before : before + channels] = random_values(
            (height, width, channels), dtype, generator, whole
        )
        return buffer[:, :, before : before + channels]

    source = make_map()
    sampling = sampling or draw(st.sampled_from(["none", "nearest", "bilinear"]))
    if sampling == "none":
        return OperationInputs(source, None, generator, whole, (before, after))
    fresh = torch.rand(height, width, generator=generator) < draw(st.sampled_from([0.0, 0.5]))
    source[~fresh] = float("nan")
    move = torch.randint(-20, 21, (height, width, 2), generator=generator)
    # Quarters of a position: the products of small whole numbers and their weights are exact, too.
    displacement = move.to(torch.int16) if sampling == "nearest" else move.float() / 4
    halo = Halo(make_map(), fresh.to(torch.uint8), displacement)
    return OperationInputs(source, halo, generator, whole, (before, after))


@st.composite
def windows(draw: st.DrawFn, most: int = 5) -> Window:
    """Kernels, strides, paddings and dilations, different along the two axes."""

    def pair(values: list[int]) -> tuple[int, int]:
        return draw(st.sampled_from(values)), draw(st.sampled_from(values))

    kernel = pair([1, 2, 3, most])
    return Window(kernel, pair([1, 1, 2]), (kernel[0] // 2, kernel[1] // 2), pair([1, 1, 2]))


def output_size(window: Window, given: OperationInputs) -> tuple[int, int]:
    """Of the window over the scene; at least (1, 1), where everything read is padding."""
    height, width = window.output_size(given.size)
    return max(height, 1), max(width, 1)


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal to the last bit, NaN in the same places."""
    return torch.equal(one.isnan(), other.isnan()) and torch.equal(one.nan_to_num(), other.nan_to_num())


def no_worse(
    made: torch.Tensor, framework: torch.Tensor, exact: torch.Tensor, terms: int, spread: float
) -> bool:
    """Whether the error against float64 is at most twice the framework's own, or what its roundings explain.

    Those are a few of the result, and those of a float32 sum of `terms` products taken one after another:
    a random walk of √terms steps of half an ulp of sums that are √terms · spread large. NaN must lie in the
    same places.

    Args:
        spread: standard deviation of a product.
    """
    if not torch.equal(made.isnan(), framework.isnan()):
        return False
    exact = exact.nan_to_num()
    own = float((framework.double().nan_to_num() - exact).abs().max())
    result = 4 * torch.finfo(made.dtype).eps * max(1.0, float(exact.abs().max()))
    walk = 4 * torch.finfo(torch.float32).eps * terms**0.5 * max(1.0, terms**0.5 * spread)
    error = float((made.double().nan_to_num() - exact).abs().max())
    return error <= max(2 * own, result + walk)
