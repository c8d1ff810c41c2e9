"""An execution plan as a table for `python -m kernels plan`: one row a layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch

from kernels.executor.graph import tap_tables
from kernels.executor.graph.nodes import Node, TensorToMap
from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.state.active_sets import tile_of
from kernels.executor.state.node_runner import runs_whole


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer.

    Attributes:
        name: path of its submodule.
        operation: what it does.
        shape: (H, W, C) of its map.
        field_px: pixels of the frame, (down, across), that its positions depend on at most.
        period_px: what a motion has to be a multiple of for its map to move along (P_l).
        scale_px: pixels a position, (down, across).
        tile: positions of one block, (down, across).
        backend: of its operation; "torch" for recorded calls on whole maps.
        full_from: share of active positions from which it runs in full: 0 for what always does, None where
            `calibrate` found none or was not called.
    """

    name: str
    operation: str
    shape: tuple[int, int, int]
    field_px: tuple[int, int]
    period_px: tuple[int, int]
    scale_px: tuple[Fraction, Fraction]
    tile: tuple[int, int]
    backend: str
    full_from: float | None

    def cells(self) -> tuple[str, ...]:
        """As text, for `table`."""
        never = "—" if self.full_from is None else f"{self.full_from:.0%}"
        return (
            self.name,
            self.operation,
            "×".join(map(str, self.shape)),
            _pair(self.field_px),
            _pair(self.period_px),
            _pair(self.scale_px),
            _pair(self.tile),
            self.backend,
            "always" if self.full_from == 0 else never,
        )


HEADINGS = (
    "layer",
    "operation",
    "H×W×C",
    "field px",
    "period px",
    "scale px",
    "tile",
    "backend",
    "full from",
)


def summarise(plan: ExecutionPlan, block_px: int) -> list[LayerRow]:
    """The layers that reports list, in the order in which they run."""
    fields = receptive_fields(plan)
    rows = []
    for index in plan.reported:
        node = plan.nodes[index]
        whole = runs_whole(plan, index)
        rows.append(
            LayerRow(
                name=node.name,
                operation=_words(type(node.operation).__name__),
                shape=node.map_shape(),
                field_px=fields[index],
                period_px=node.period,
                scale_px=node.map_scale(),
                tile=tile_of(plan.resolutions[plan.resolution_of(index)], block_px),
                backend="torch" if whole else plan.backends[index].name,
                full_from=0.0 if whole else plan.break_even.get(index),
            )
        )
    return rows


def receptive_fields(plan: ExecutionPlan) -> dict[int, tuple[int, int]]:
    """By map node, the largest extent, (down, across), of the pixels that one position depends on.

    Extents end at the border. Maps made from other tensors, as after attention, depend on the whole frame.
    """
    sizes = plan.graph.frame_shape[2:]
    spans: dict[int, tuple[tuple[torch.Tensor, torch.Tensor], ...]] = {}
    for index, node in enumerate(plan.nodes):
        if node.is_map:
            spans[index] = tuple(_span(plan, node, index, axis, sizes[axis], spans) for axis in (0, 1))

    def extent(span: tuple[torch.Tensor, torch.Tensor]) -> int:
        return max(0, int((span[1] - span[0]).max()) + 1)

    return {index: (extent(down), extent(across)) for index, (down, across) in spans.items()}


def _span(
    plan: ExecutionPlan,
    node: Node,
    index: int,
    axis: int,
    size: int,
    spans: dict[int, tuple[tuple[torch.Tensor, torch.Tensor], ...]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """First and last pixel along an axis that each row or column depends on."""
    positions = node.map_shape()[axis]
    if index == 0:
        return torch.arange(size), torch.arange(size)
    if isinstance(node.operation, TensorToMap):
        return torch.zeros(positions, dtype=torch.int64), torch.full((positions,), size - 1)
    first, last = torch.full((positions,), size), torch.full((positions,), -1)
    for read, taps in zip(node.inputs, node.taps, strict=True):
        if read not in spans:
            continue
        table = taps[axis]
        outside = table == tap_tables.PADDING
        before, after = (one[table.clamp(min=0)] for one in spans[read][axis])
        first = torch.minimum(first, before.masked_fill(outside, size).amin(1))
        last = torch.maximum(last, after.masked_fill(outside, -1).amax(1))
    return first, last


def table(rows: Sequence[LayerRow]) -> str:
    """The rows under their headings, in columns."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _words(name: str) -> str:
    """ "TransposedConvolution" as "transposed convolution"."""
    return re.sub(r"\B([A-Z])", r" \1", name).lower()


def _pair(values: tuple[object, object]) -> str:
    return str(values[0]) if values[0] == values[1] else f"{values[0]}×{values[1]}"
