"""Active sets: at each resolution, which positions are computed and where the rest is copied from.

A position of a layer with s pixels a position stands for the pixels [p·s, (p+1)·s), or for others where the
layer does not lie in its place (`Resolution`). It is active if any active block overlaps them; its vector is
the mean of the overlapping blocks' vectors, divided by s and rounded to the nearest position (or kept as is
for bilinear sampling).

Rounding alone would lose slow motion: 3 px a frame is 0 positions of a layer with 8 px a position, frame
after frame. So what a rounding left over moves along with the block and is added to its next vector
(`ActiveSet.residual`), until the block is computed anew.

The host decides by block (`decide_active_sets`), all resolutions at once. A GPU gets one asynchronous copy
from pinned memory, and repeats there what was decided by block for each position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import torch

from kernels.executor.plan.execution_plan import Resolution
from kernels.executor.state.compiled_sets import cell_decider, position_decider
from kernels.executor.state.margins import CellGrid, grown, in_cells, margin_positions, on_grid
from kernels.executor.state.position_axes import AxisPair, any_block, axis_of, mean_block, spread
from kernels.ops.cpu.reuse import active_sets as active_cells
from kernels.ops.maps import list_tiles
from kernels.torch_versions import bytes_of

_ALIGNMENT_BYTES = 16  # of each tensor in what is copied


@dataclass(slots=True)
class ActiveSet:
    """The active set of one resolution in one frame.

    Attributes:
        tiles, tile: the active tiles: int32 (n, 2) first positions, and their (height, width).
        positions: how many positions they cover.
        fresh: (H, W) uint8, 1 at these positions.
        displacement: (H, W, 2) int16 or float32, (dx, dy) in positions into the reference.
        residual: pixels that the rounding of `displacement` left over, by block or by cell (`Axis`).
    """

    tiles: torch.Tensor
    tile: tuple[int, int]
    positions: int
    fresh: torch.Tensor
    displacement: torch.Tensor
    residual: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class HostActiveSet:
    """One resolution as the host decided it: by block where `size` is given, else by position.

    Attributes:
        size: (height, width) of the map, for which the values of a block are repeated.
        per_block: how many entries of `tiles` one block can make.
        beyond: a position outside the map.
    """

    tiles: torch.Tensor
    tile: tuple[int, int]
    positions: int
    fresh: torch.Tensor
    displacement: torch.Tensor
    residual: torch.Tensor | None
    size: tuple[int, int] | None
    per_block: int
    beyond: tuple[int, int]

    def padded(self, blocks: int) -> HostActiveSet:
        """With `tiles` as long as `blocks` active blocks can make it: what is added lies outside the map."""
        room = min(blocks * self.per_block, self.beyond[0] * self.beyond[1])
        tiles = torch.tensor(self.beyond, dtype=torch.int32).repeat(room, 1)
        tiles[: len(self.tiles)] = self.tiles
        return replace(self, tiles=tiles)

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return self.tiles, self.fresh, self.displacement

    def active_set(self, tiles: torch.Tensor, fresh: torch.Tensor, displacement: torch.Tensor) -> ActiveSet:
        """The active set made of these tensors, on their device."""
        if self.size is not None:
            wide = displacement.view(torch.int64 if displacement.dtype == torch.float32 else torch.int32)
            repeated = _repeat(wide[..., 0], self.tile, self.size)
            displacement = repeated[..., None].view(displacement.dtype)
            fresh = _repeat(fresh, self.tile, self.size)
        return ActiveSet(tiles, self.tile, self.positions, fresh, displacement, self.residual)


@dataclass(slots=True)
class HostActiveSets:
    """The active sets of one frame in host memory; `to` copies them to the device of the maps.

    Attributes:
        by_resolution: what was decided, by index of the resolution.
        blocks: how many blocks are active.
    """

    by_resolution: dict[int, HostActiveSet]
    blocks: int
    _packed: torch.Tensor | None = field(default=None, repr=False)

    def residuals(self) -> dict[int, torch.Tensor | None]:
        """What the roundings left over, by resolution."""
        return {key: part.residual for key, part in self.by_resolution.items()}

    def padded(self, blocks: int) -> HostActiveSets:
        """The same, with lists as long as for `blocks` active blocks: shapes that do not depend on the frame.

        Raises:
            ValueError: more than these are active.
        """
        if self.blocks > blocks:
            raise ValueError(f"blocks must be at least the {self.blocks} active ones (got {blocks})")
        return HostActiveSets(
            {key: part.padded(blocks) for key, part in self.by_resolution.items()}, self.blocks
        )

    def to(self, device: torch.device | None) -> dict[int, ActiveSet]:
        """The active sets on a device; on a GPU by one asynchronous copy on the current stream.

        That copy can be captured in a CUDA graph, and then reads what `pack` last put in its memory.
        """
        if self._packed is None and (device is None or device.type == "cpu"):
            return {key: part.active_set(*part.tensors()) for key, part in self.by_resolution.items()}
        pin = device is not None and device.type == "cuda"
        memory = self.pack(pin=pin) if self._packed is None else self._packed
        return self.unpacked(memory.to(device, non_blocking=True))

    def pack(self, memory: torch.Tensor | None = None, pin: bool = False) -> torch.Tensor:
        """Everything that is copied, as bytes in `memory` or in new memory, pinned if `pin`."""
        tensors = [tensor for part in self.by_resolution.values() for tensor in part.tensors()]
        if memory is None:
            size_bytes = sum(map(_padded_bytes, tensors))
            memory = torch.empty(size_bytes, dtype=torch.uint8, pin_memory=pin)
        start = 0
        for tensor in tensors:
            memory[start : start + bytes_of(tensor)].view(tensor.dtype).copy_(tensor.flatten())
            start += _padded_bytes(tensor)
        self._packed = memory
        return memory

    def unpacked(self, memory: torch.Tensor) -> dict[int, ActiveSet]:
        """The active sets in packed bytes."""
        sets, start = {}, 0
        for key, part in self.by_resolution.items():
            found = []
            for tensor in part.tensors():
                found.append(memory[start : start + bytes_of(tensor)].view(tensor.dtype).view(tensor.shape))
                start += _padded_bytes(tensor)
            sets[key] = part.active_set(*found)
        return sets


def decide_active_sets(
    resolutions: Mapping[int, Resolution],
    active: torch.Tensor,
    vectors: torch.Tensor,
    block_px: int,
    bilinear: bool,
    residuals: Mapping[int, torch.Tensor | None],
    moves_only: bool = False,
    margin_px: int = 0,
) -> HostActiveSets:
    """The active set of each resolution that follows from the active blocks.

    Args:
        resolutions: of the maps in question, by any number.
        active: bool (rows, columns) of blocks, on the CPU.
        vectors: int (rows, columns, 2) of blocks, (dx, dy) in pixels, on the CPU.
        block_px: side of a block.
        bilinear: whether the displacement keeps fractions (float32) or is rounded (int16).
        residuals: what the roundings of the reference's own moves left over, in pixels, by the same numbers;
            None, or nothing, for none.
        moves_only: whether displacements are all that is asked for: where sets are decided by position, these
            are then left empty.
        margin_px: how far beyond the active blocks positions are active as well.
    """
    wanted: torch.Tensor | None = vectors
    measured = (active.shape[0], active.shape[1])
    if not bool(vectors.any()) and not any(residuals.get(key) is not None for key in resolutions):
        wanted = None  # nothing moves, or has to catch up
    by_resolution: dict[int, HostActiveSet] = {}
    for grid, keys in _grids(tuple(resolutions.items()), block_px, measured, margin_px):
        members = {key: resolutions[key] for key in keys}
        by_resolution.update(_by_cell(grid, members, active, wanted, block_px, bilinear, residuals))
    for key, resolution in resolutions.items():
        if key not in by_resolution:
            by_resolution[key] = _by_position(
                resolution, active, wanted, block_px, bilinear, residuals.get(key), moves_only, margin_px
            )
    return HostActiveSets({key: by_resolution[key] for key in resolutions}, int(active.sum()))


@lru_cache(maxsize=64)
def _grids(
    resolutions: tuple[tuple[int, Resolution], ...], block_px: int, measured: tuple[int, int], margin_px: int
) -> list[tuple[CellGrid, list[int]]]:
    """The resolutions with whole positions a cell, by grids of cells: decided by cell, then repeated."""
    grids: dict[CellGrid, list[int]] = {}
    for key, resolution in resolutions:
        if _in_whole_tiles(resolution, block_px, measured):
            tile, scales = tile_of(resolution, block_px), (resolution.scale_y, resolution.scale_x)
            grids.setdefault(CellGrid.of(tile, scales, margin_px), []).append(key)
    return list(grids.items())


def _by_cell(
    grid: CellGrid,
    resolutions: Mapping[int, Resolution],
    blocks: torch.Tensor,
    vectors: torch.Tensor | None,
    block_px: int,
    bilinear: bool,
    residuals: Mapping[int, torch.Tensor | None],
) -> dict[int, HostActiveSet]:
    tile_sizes = [grid.tile(tile_of(resolution, block_px)) for resolution in resolutions.values()]
    if not bilinear and active_cells.is_here():
        before = [residuals.get(key) for key in resolutions]
        return _by_compiled_cell(grid, resolutions, tile_sizes, blocks, vectors, block_px, before)
    active = grid.grown(blocks)
    shape = (active.shape[0], active.shape[1])
    moved, left_over = [_unmoved(shape, bilinear)] * len(resolutions), None
    if vectors is not None:
        before = [on_grid(residuals.get(key), shape) for key in resolutions]
        cell = (block_px / grid.cells[0], block_px / grid.cells[1])
        wanted = in_cells(vectors.float(), grid.cells)
        displaced, left_over = _displace(wanted, active, list(resolutions.values()), bilinear, before, cell)
        moved = list(displaced)
    corners = torch.nonzero(active).int()
    tiles = (corners[None] * torch.tensor(tile_sizes).int()[:, None]).contiguous()
    fresh = active.to(torch.uint8)
    made: dict[int, HostActiveSet] = {}
    for number, (key, resolution) in enumerate(resolutions.items()):
        tile, size = tile_sizes[number], (resolution.height, resolution.width)
        if size == (shape[0] * tile[0], shape[1] * tile[1]):
            positions, listed = corners.shape[0] * tile[0] * tile[1], tiles[number]
        else:
            positions = int(_repeat(fresh, tile, size).sum())
            listed = tiles[number][(tiles[number] < torch.tensor(size)).all(1)]
        rest = None if left_over is None else left_over[number]
        made[key] = HostActiveSet(
            listed, tile, positions, fresh, moved[number], rest, size, grid.most_a_block, size
        )
    return made


def _by_compiled_cell(
    grid: CellGrid,
    resolutions: Mapping[int, Resolution],
    tile_sizes: list[tuple[int, int]],
    blocks: torch.Tensor,
    vectors: torch.Tensor | None,
    block_px: int,
    before: list[torch.Tensor | None],
) -> dict[int, HostActiveSet]:
    shape = (blocks.shape[0], blocks.shape[1])
    members, tiles = tuple(resolutions.values()), tuple(tile_sizes)
    decider = cell_decider(grid, members, tiles, shape, block_px)
    decided = decider.decide(
        blocks.contiguous(), None if vectors is None else vectors.long().contiguous(), before
    )
    cells = (decided.active.shape[0], decided.active.shape[1])
    return {
        key: HostActiveSet(
            decided.tiles[number],
            tile_sizes[number],
            decided.positions[number],
            decided.active,
            _unmoved(cells, False) if decided.moved is None else decided.moved[number],
            None if decided.left_over is None else decided.left_over[number],
            (resolution.height, resolution.width),
            grid.most_a_block,
            (resolution.height, resolution.width),
        )
        for number, (key, resolution) in enumerate(resolutions.items())
    }


@lru_cache(maxsize=1024)
def _in_whole_tiles(resolution: Resolution, block_px: int, grid: tuple[int, int]) -> bool:
    """Whether a block is a whole number of positions, and no map reaches beyond the blocks.

    Padding beyond the kernel's half makes maps that are larger than the frame.
    """
    if not resolution.is_in_place:
        return False
    tile = tile_of(resolution, block_px)
    whole = tile[0] * resolution.scale_y == block_px and tile[1] * resolution.scale_x == block_px
    return whole and resolution.height <= grid[0] * tile[0] and resolution.width <= grid[1] * tile[1]


def _by_position(
    resolution: Resolution,
    active: torch.Tensor,
    vectors: torch.Tensor | None,
    block_px: int,
    bilinear: bool,
    residual: torch.Tensor | None,
    moves_only: bool,
    margin_px: int,
) -> HostActiveSet:
    """Decided by cell, and repeated for the positions of each: most positions are like their neighbours."""
    rows = axis_of(resolution.height, resolution.scale_y, resolution.offset_y, block_px, active.shape[0])
    columns = axis_of(resolution.width, resolution.scale_x, resolution.offset_x, block_px, active.shape[1])
    reach = [margin_positions(margin_px, scale) for scale in (resolution.scale_y, resolution.scale_x)]
    decider = None
    if not bilinear and active_cells.is_here():
        decider = position_decider(resolution, (active.shape[0], active.shape[1]), block_px, margin_px)
    rest = None
    displacement = _unmoved((resolution.height, resolution.width), bilinear)
    if decider is not None:
        decided = decider.decide(
            active.contiguous(), None if vectors is None else vectors.long().contiguous(), [residual]
        )
        assert decided.fresh is not None
        fresh, tiles = decided.fresh, decided.tiles[0]
        if decided.moved is not None and decided.left_over is not None:
            displacement, rest = decided.moved[0], decided.left_over[0]
        if moves_only:
            fresh, tiles = fresh[:0, :0], tiles[:0]
    else:
        mask = any_block(active, *rows.blocks, *columns.blocks)
        if moves_only:
            fresh = torch.empty(0, 0, dtype=torch.uint8)
        else:
            fresh = spread(mask.to(torch.uint8), rows, columns)
        if margin_px:
            fresh = grown(fresh, *reach).to(torch.uint8)
            mask = fresh[rows.centre.long()[:, None], columns.centre.long()[None, :]].bool()
        if vectors is not None:
            mean = mean_block(vectors.float(), *rows.middle, *columns.middle)
            moved, left_over = _displace(
                mean, mask, [resolution], bilinear, [residual], AxisPair(rows, columns)
            )
            displacement, rest = moved[0], None if left_over is None else left_over[0]
        tiles = list_tiles(fresh)
    if vectors is not None and rows.count * columns.count < resolution.height * resolution.width:
        wide = displacement.view(torch.int64 if bilinear else torch.int32)[..., 0]
        displacement = spread(wide, rows, columns)[..., None].view(displacement.dtype)
    beyond = (resolution.height, resolution.width)
    per_block = 1
    for scale, (least, last), reach_positions in (
        (resolution.scale_y, resolution.offset_y, reach[0]),
        (resolution.scale_x, resolution.offset_x, reach[1]),
    ):
        within = (scale / block_px).denominator == 1 and least == last  # a block lies within one position
        clamped = max(
            abs(least), abs(last)
        )  # at a border, positions beyond all blocks count as the last one's
        alone = 1 if within else int(block_px / scale) + 2 + last - least
        per_block *= alone + clamped + 2 * reach_positions
    return HostActiveSet(tiles, (1, 1), tiles.shape[0], fresh, displacement, rest, None, per_block, beyond)


@lru_cache(maxsize=64)
def _unmoved(size: tuple[int, int], bilinear: bool) -> torch.Tensor:
    """The displacement where nothing moves; not to be changed: every frame has the same."""
    return torch.zeros(*size, 2, dtype=torch.float32 if bilinear else torch.int16)


@lru_cache(maxsize=1024)
def _scale_of(resolution: Resolution) -> tuple[float, ...]:
    """(across, down) pixels of a position."""
    return float(resolution.scale_x), float(resolution.scale_y)


def _displace(
    vectors: torch.Tensor,
    active: torch.Tensor,
    resolutions: list[Resolution],
    bilinear: bool,
    residuals: list[torch.Tensor | None],
    cells: tuple[float, float] | AxisPair,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Vectors of cells (h, w, 2) in pixels to positions; and what rounding leaves over, in pixels.

    Both of shape (resolutions, h, w, 2). `residuals` are those of the reference's cells; each cell takes over
    that of the cell it came from. `cells` is the (height, width) of a cell in pixels, or the grid that they
    make of the one resolution.
    """
    scales = [_scale_of(one) for one in resolutions]
    if all(scale[0] == scale[1] for scale in scales):  # one number a map: four times faster than a pair
        scales = [scale[:1] for scale in scales]
    scale = torch.tensor(scales)[:, None, None]
    if bilinear:
        return (vectors / scale).contiguous(), None
    total = vectors
    if any(residual is not None for residual in residuals):
        rows, columns = active.shape
        if isinstance(cells, AxisPair):
            steps = vectors / scale[0]
            y = cells.rows.cell_at(cells.rows.centre[:, None] + steps[..., 1])
            x = cells.columns.cell_at(cells.columns.centre[None, :] + steps[..., 0])
        else:
            down, across = cells
            y = (torch.arange(rows)[:, None] + 0.5 + vectors[..., 1] / down).floor_().long()
            x = (torch.arange(columns)[None, :] + 0.5 + vectors[..., 0] / across).floor_().long()
            y, x = y.clamp_(0, rows - 1), x.clamp_(0, columns - 1)
        place = y * columns + x
        nothing = vectors.new_zeros(rows, columns, 2)
        before = torch.stack([nothing if one is None else one for one in residuals])
        total = vectors + before.flatten(1, 2).index_select(1, place.flatten()).view_as(before)
    moved = (total / scale).round_()
    left_over = torch.where(active[..., None].repeat(1, 1, 2), 0.0, total - moved * scale)
    # Of a map finer than the frame, a long vector is more positions than int16 holds: far outside as well.
    return moved.clamp_(-32768, 32767).to(torch.int16), left_over


def _repeat(values: torch.Tensor, tile: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """Each of (rows, columns) values for a tile of positions, cut to `size`."""
    rows, columns = values.shape
    wide = values[:, None, :, None].expand(rows, tile[0], columns, tile[1])
    wide = wide.reshape(rows * tile[0], columns * tile[1])
    return wide[: size[0], : size[1]].contiguous()  # of a single block, `wide` is a view of one value


@lru_cache(maxsize=64)
def full_tiles(
    resolution: Resolution, block_px: int, device: torch.device | None = None
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Tiles that cover a whole resolution, for a dense run; not to be changed: every run has the same."""
    tile = tile_of(resolution, block_px)
    tiles = list_tiles(torch.ones(resolution.height, resolution.width, dtype=torch.bool), tile)
    return tiles.to(device), tile


@lru_cache(maxsize=1024)
def tile_of(resolution: Resolution, block_px: int) -> tuple[int, int]:
    """(height, width) of a block at a resolution, at least one position."""
    return max(1, int(block_px / resolution.scale_y)), max(1, int(block_px / resolution.scale_x))


def per_pixel(values: torch.Tensor, height: int, width: int, block_px: int) -> torch.Tensor:
    """A block field (rows, columns, ...) repeated for each of height × width pixels."""
    rows = torch.arange(height) // block_px
    columns = torch.arange(width) // block_px
    return values.index_select(1, columns).index_select(0, rows)


def _padded_bytes(tensor: torch.Tensor) -> int:
    return -(-bytes_of(tensor) // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
