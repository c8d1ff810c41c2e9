"""Levels decided for all resolutions at once, and sent as one piece, are those of each by itself."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.executor.plan.execution_plan import Resolution
from kernels.executor.state.active_sets import ActiveSet, HostActiveSets, decide_active_sets

BLOCK_PX = 16


@st.composite
def frames(
    draw: st.DrawFn,
) -> tuple[dict[int, Resolution], torch.Tensor, torch.Tensor, dict[int, torch.Tensor | None]]:
    """Maps of several scales, some cut off or in no whole blocks; a block set, vectors, residuals."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    grid = -(-height // BLOCK_PX), -(-width // BLOCK_PX)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    resolutions = {}
    for key, scale in enumerate(draw(st.lists(st.sampled_from([1, 2, 3, 4, 8, 16, 32]), min_size=1))):
        size = -(-height // scale), -(-width // scale)
        offsets = [(0, 0), (0, 0)]
        if draw(st.booleans()):  # behind unpadded convolutions
            least = [draw(st.integers(-3, 9)) for _ in range(2)]
            offsets = [(one, one + draw(st.integers(0, 2))) for one in least]
        resolutions[3 * key] = Resolution(*size, Fraction(scale), Fraction(scale), *offsets)
    active = torch.rand(grid, generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    vectors = torch.randint(-40, 41, (*grid, 2), generator=generator)
    residuals: dict[int, torch.Tensor | None] = {}
    for key, one in resolutions.items():
        left = decide_active_sets({key: one}, active, vectors, BLOCK_PX, False, {}).residuals()[key]
        if left is not None and draw(st.booleans()):
            residuals[key] = torch.randn(left.shape, generator=generator)
    return resolutions, active, vectors, residuals


def by_definition(
    resolution: Resolution, active: torch.Tensor, vectors: torch.Tensor, residual: torch.Tensor | None
) -> tuple[list[list[bool]], torch.Tensor]:
    """What is active, and the displacement, by position; with residuals, of scales that divide a block."""
    scale = int(resolution.scale_y)
    rows, columns = active.shape
    fresh = [[False] * resolution.width for _ in range(resolution.height)]
    displacement = torch.zeros(resolution.height, resolution.width, 2, dtype=torch.int16)
    for y in range(resolution.height):
        for x in range(resolution.width):
            row, column = y * scale // BLOCK_PX, x * scale // BLOCK_PX
            spans = [
                {
                    min(max(pixel // BLOCK_PX, 0), most)
                    for pixel in range((p + least) * scale, (p + last + 1) * scale)
                }
                for p, (least, last), most in (
                    (y, resolution.offset_y, rows - 1),
                    (x, resolution.offset_x, columns - 1),
                )
            ]
            fresh[y][x] = any(bool(active[one, other]) for one in spans[0] for other in spans[1])
            if scale > BLOCK_PX or not resolution.is_in_place:
                continue
            vector = torch.stack(
                [vectors[one, other].float() for one in spans[0] for other in spans[1]]
            ).mean(0)
            if residual is not None:
                from_row = int((row + 0.5 + vector[1] / BLOCK_PX).floor().clamp(0, rows - 1))
                from_column = int((column + 0.5 + vector[0] / BLOCK_PX).floor().clamp(0, columns - 1))
                vector = vector + residual[from_row, from_column]
            displacement[y, x] = (vector / scale).round().to(torch.int16)
    return fresh, displacement


def equal(one: ActiveSet, other: ActiveSet) -> bool:
    same_residual = one.residual is other.residual or (
        one.residual is not None and other.residual is not None and torch.equal(one.residual, other.residual)
    )
    return (
        torch.equal(one.tiles, other.tiles)
        and one.tile == other.tile
        and one.positions == other.positions
        and torch.equal(one.fresh, other.fresh)
        and torch.equal(one.displacement, other.displacement)
        and same_residual
    )


@settings(max_examples=60, deadline=None)
@given(frame=frames(), bilinear=st.booleans())
def test_together_as_one_by_one_and_sent_as_kept(
    frame: tuple[dict[int, Resolution], torch.Tensor, torch.Tensor, dict[int, torch.Tensor | None]],
    bilinear: bool,
) -> None:
    resolutions, active, vectors, residuals = frame
    together = decide_active_sets(resolutions, active, vectors, BLOCK_PX, bilinear, residuals)
    made = together.to(None)
    sent = together.unpacked(together.pack().clone())
    assert list(made) == list(resolutions)
    for key, resolution in resolutions.items():
        alone = decide_active_sets({key: resolution}, active, vectors, BLOCK_PX, bilinear, residuals)
        # Beside others, a missing residual is one of zeros; the results are the same.
        assert equal(made[key], alone.to(torch.device("cpu"))[key])
        assert equal(made[key], sent[key])
        assert made[key].positions == int(made[key].fresh.sum())
        assert made[key].tiles.is_contiguous()
        assert made[key].displacement.is_contiguous()


@settings(max_examples=20, deadline=None)
@given(frame=frames())
def test_against_the_definition(
    frame: tuple[dict[int, Resolution], torch.Tensor, torch.Tensor, dict[int, torch.Tensor | None]],
) -> None:
    resolutions, active, vectors, residuals = frame
    made = decide_active_sets(resolutions, active, vectors, BLOCK_PX, False, residuals).to(None)
    for key, resolution in resolutions.items():
        fresh, displacement = by_definition(resolution, active, vectors, residuals.get(key))
        assert made[key].fresh.bool().tolist() == fresh
        divides = BLOCK_PX % int(resolution.scale_y) == 0
        if resolution.is_in_place and (divides or (resolution.scale_y < BLOCK_PX and key not in residuals)):
            assert torch.equal(made[key].displacement, displacement)


def test_host_active_sets_can_be_placed_twice() -> None:
    resolution = Resolution(4, 4, Fraction(16), Fraction(16))
    active = torch.zeros(4, 4, dtype=torch.bool)
    active[1, 2] = True
    host_sets = decide_active_sets(
        {0: resolution}, active, torch.ones(4, 4, 2).int() * 16, BLOCK_PX, False, {}
    )
    assert isinstance(host_sets, HostActiveSets)
    one, other = host_sets.to(None)[0], host_sets.to(None)[0]
    assert equal(one, other)
    assert one.tiles.tolist() == [[1, 2]]
    assert one.displacement[0, 0].tolist() == [1, 1]


@settings(max_examples=40, deadline=None)
@given(frame=frames(), spare=st.integers(0, 5))
def test_padding_adds_tiles_beyond_the_map_up_to_one_length(
    frame: tuple[dict[int, Resolution], torch.Tensor, torch.Tensor, dict[int, torch.Tensor | None]],
    spare: int,
) -> None:
    """Every set of as many blocks then has the same lengths, and the same bytes to send."""
    resolutions, active, vectors, residuals = frame
    host_sets = decide_active_sets(resolutions, active, vectors, BLOCK_PX, False, residuals)
    room = int(active.sum()) + spare
    padded = host_sets.padded(room)
    none = decide_active_sets(resolutions, torch.zeros_like(active), vectors, BLOCK_PX, False, {}).padded(
        room
    )
    assert padded.pack().shape == none.pack().shape
    for key, active_set in padded.to(None).items():
        plain = host_sets.by_resolution[key].tiles
        assert torch.equal(active_set.tiles[: len(plain)], plain)
        rest = active_set.tiles[len(plain) :]
        assert (rest == torch.tensor([resolutions[key].height, resolutions[key].width])).all()
    full = decide_active_sets(resolutions, torch.ones_like(active), vectors, BLOCK_PX, False, {})
    with pytest.raises(ValueError, match="blocks must be at least the"):
        full.padded(active.numel() - 1)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_and_everything(share: float) -> None:
    resolution = Resolution(8, 8, Fraction(8), Fraction(8))
    active = torch.full((4, 4), share == 1.0)
    host_sets = decide_active_sets({5: resolution}, active, torch.zeros(4, 4, 2).int(), BLOCK_PX, True, {})
    active_set = host_sets.unpacked(host_sets.pack())[5]
    assert active_set.positions == share * 64
    assert active_set.tiles.shape == (16 * share, 2)
    assert active_set.displacement.dtype == torch.float32
