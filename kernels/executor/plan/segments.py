"""Stretches of a plan that a backend runs in one call, where it has programs (`kernels.ops.cpu.program`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from kernels.executor.graph.nodes import Concat, Convolve, Input, Pointwise, Pool, Slice, Unfold, Upsample
from kernels.executor.plan.plan import Place, Plan, reads_around
from kernels.ops.cpu.program import Levels, Program, Region
from kernels.ops.maps import Window


@dataclass(slots=True)
class Stretches:
    """The programs of a plan.

    Attributes:
        program: the steps of all stretches.
        spans: by first node: first step, step behind the last, node behind the last.
        moves: one remap for each kept region.
        regions: index in `moves` of each kept region.
        margin: how far around an active block the frame is read; None where it may be read anywhere.
        sizes: (height, width) of each of the levels that the steps name.
    """

    program: Program = field(default_factory=Program)
    spans: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    moves: Program = field(default_factory=Program)
    regions: dict[Place, int] = field(default_factory=dict)
    margin: int | None = None
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def levels(self) -> Levels:
        """Empty levels for one frame."""
        return Levels(self.sizes)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the steps of a program find what a frame supplies.

    Attributes:
        levels: of each map node, the index of its level in a frame's `Levels` (None for values).
        sizes: (height, width) of each level.
        halos: whether a map is read through its halo; without, every map is complete when it is read.
        complete: nodes that are computed everywhere by other means: no steps are made for them, and they are
            read without a halo.
        patches: of `Unfold` nodes, the level of the input positions that make their patches, where it is not
            that of the input.
        moves: whether each map is remapped before it is computed, where its level says so.
    """

    levels: list[int | None]
    sizes: list[tuple[int, int]]
    halos: bool = True
    complete: frozenset[int] = frozenset()
    patches: Mapping[int, int] = field(default_factory=dict)
    moves: bool = False

    def level(self, node: int) -> int:
        found = self.levels[node]
        if found is None:
            raise TypeError(f"node {node} is no map")
        return found


def by_resolution(plan: Plan, complete: frozenset[int] = frozenset()) -> Layout:
    """A level for each resolution: maps of one resolution share their active set."""
    sizes = [(resolution.height, resolution.width) for resolution in plan.resolutions]
    return Layout(plan.levels, sizes, complete=complete)


def find_stretches(plan: Plan, layout: Layout | None = None) -> Stretches | None:
    """Compile what can be, or None where no operation is done by a backend with programs.

    Only for whole-position displacements: a bilinear plan moves its maps by other means.

    Args:
        plan: of the network.
        layout: `by_resolution` unless given.
    """
    if plan.device.type != "cpu" or plan.bilinear or plan.remapper is None or plan.remapper.name != "cpu":
        return None
    layout = layout or by_resolution(plan)
    stretches = Stretches(sizes=layout.sizes)
    first, start = 1, 0  # node 0 is the frame
    for index, node in enumerate(plan.nodes):
        if isinstance(node.work, (Input, Slice)) or compile_node(plan, layout, stretches.program, index):
            continue
        if len(stretches.program) > start:
            stretches.spans[first] = (start, len(stretches.program), index)
        first, start = index + 1, len(stretches.program)
    if len(stretches.program) > start:
        stretches.spans[first] = (start, len(stretches.program), len(plan.nodes))
    if not layout.halos:
        return stretches
    for slot, places in plan.kept.items():
        for place in places:
            stretches.regions[place] = len(stretches.moves)
            stretches.moves.remap(_region(plan, place), plan.slot_levels[slot], place.channels)
    stretches.margin = _frame_margin(plan, stretches)
    return stretches


def _frame_margin(plan: Plan, stretches: Stretches) -> int | None:
    margin = 0
    if plan.kept.get(plan.place(0).slot) or 0 in plan.graph.output_nodes():
        return None
    for reader in plan.graph.consumers()[0]:
        node = plan.nodes[reader]
        inside = any(first <= reader < end for first, (_, _, end) in stretches.spans.items())
        if not inside or not isinstance(node.work, (Convolve, Pool)):
            return None
        window = node.work.window
        for axis in (0, 1):
            reach = (window.kernel[axis] - 1) * window.dilation[axis]
            margin = max(margin, window.padding[axis], reach)
    return margin


def _region(plan: Plan, place: Place) -> Region:
    shared = place.slot in plan.shared
    return Region(shared, plan.offsets[place.slot] + place.start, plan.slots[place.slot][2])


def compile_node(plan: Plan, layout: Layout, program: Program, index: int) -> bool:
    """Append a node's steps; False if it has to run by itself."""
    node = plan.nodes[index]
    if index in layout.complete:
        return False
    work: Any = node.work
    if isinstance(work, Concat) and index not in plan.copies:
        return True
    if index not in plan.choices or plan.choices[index].name != "cpu":
        return False
    out, level = _region(plan, plan.place(index)), layout.level(index)
    if isinstance(work, Concat):
        for copied, start in plan.copies[index]:
            part = plan.place(copied)
            target = Region(out.shared, out.offset + start, out.pixel)
            program.pointwise("copy", _region(plan, part), None, target, level, part.channels, "none", 0.0)
        return True
    nearest = isinstance(work, Upsample) and work.mode == "nearest"
    if not nearest and not isinstance(work, (Convolve, Unfold, Pool, Pointwise)):
        return False
    if layout.moves:
        program.remap(out, level, node.map_shape()[2])
    read = node.inputs[0]
    source, behind = _region(plan, plan.place(read)), layout.level(read)
    halo = layout.halos and read != 0 and read not in layout.complete and reads_around(node, 0)
    second = _region(plan, plan.place(node.inputs[1])) if len(node.inputs) == 2 else None
    if isinstance(work, Convolve):
        row = node.map_shape()[1]
        program.convolve(plan.convolutions[index], source, behind, out, level, halo, second, row)
    elif isinstance(work, Unfold):
        _unfold(plan, program, index, work, source, layout.patches.get(index, behind), out)
    elif isinstance(work, Pool):
        channels = node.map_shape()[2]
        program.pool(work.kind, work.window, source, behind, out, level, halo, channels, work.count_padding)
    elif isinstance(work, Pointwise):
        channels = node.map_shape()[2]
        program.pointwise(work.operation, source, second, out, level, channels, work.activation, work.slope)
    else:
        program.nearest(source, behind, out, level, halo, node.map_shape()[2])
    return True


def _unfold(
    plan: Plan, program: Program, index: int, work: Unfold, source: Region, level: int, out: Region
) -> None:
    """Each patch pixel is a 1×1 convolution whose outputs lie `factor` apart, down and across."""
    down, across = work.factor
    width = plan.nodes[index].map_shape()[1]
    channels = work.weight.shape[0] // (down * across)
    module = plan.choices[index].module
    for row in range(down):
        for column in range(across):
            first = (row * across + column) * channels
            part = slice(first, first + channels)
            packed = module.pack_convolution(
                work.weight[part], work.bias[part], Window((1, 1)), 1, work.activation, work.slope
            )
            target = Region(out.shared, out.offset + (row * width + column) * out.pixel, out.pixel * across)
            # One row of inputs is `down` rows of outputs, counted in steps of `across` pixels.
            program.convolve(packed, source, level, target, level, False, None, down * width // across)


def full_levels(stretches: Stretches, tiles: dict[int, tuple[torch.Tensor, tuple[int, int]]]) -> Levels:
    """Levels of a dense run: everything active, nothing from a reference."""
    levels = stretches.levels()
    for index, (listed, tile) in tiles.items():
        levels.set(index, listed, tile)
    return levels
