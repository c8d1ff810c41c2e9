"""The resolutions of a graph's maps: their sizes, and which pixels of the frame a position stands for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from kernels.executor.graph.nodes import Node, TransposedConvolution

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Resolution:
    """Size of a map, and the pixels of the frame that one position covers, down and across.

    Attributes:
        offset_y, offset_x: (least, most) positions by which content lies behind its place, as behind unpadded
            convolutions and crops: position p stands for the pixels from (p + least) · scale up to
            (p + 1 + most) · scale.
    """

    height: int
    width: int
    scale_y: Fraction
    scale_x: Fraction
    offset_y: tuple[int, int] = (0, 0)
    offset_x: tuple[int, int] = (0, 0)

    def __hash__(self) -> int:
        """Of whole numbers: fractions take a hundred times longer, and every frame looks up what it needs."""
        scales = self.scale_y.numerator, self.scale_x.numerator
        return hash((self.height, self.width, scales, self.offset_y, self.offset_x))

    @property
    def is_in_place(self) -> bool:
        """Whether position p stands for the pixels [p, p + 1) · scale."""
        return self.offset_y == self.offset_x == (0, 0)


def find_resolutions(nodes: Sequence[Node]) -> tuple[list[Resolution], list[int | None]]:
    """The different resolutions, and for each node the index of its own (None: no map)."""
    found: list[Resolution] = []
    of_node: list[int | None] = []
    for node in nodes:
        if not node.is_map:
            of_node.append(None)
            continue
        height, width, _ = node.map_shape()
        resolution = Resolution(height, width, *node.map_scale())
        if resolution not in found:
            found.append(resolution)
        of_node.append(found.index(resolution))
    spans = _spans(nodes, of_node, len(found))
    placed = [
        replace(resolution, offset_y=rows, offset_x=columns)
        for resolution, (rows, columns) in zip(found, spans, strict=True)
    ]
    return placed, of_node


def _spans(nodes: Sequence[Node], of_node: Sequence[int | None], count: int) -> list[tuple[Span, Span]]:
    """Where the positions of each resolution lie: for all of its maps, as they share an active set."""
    spans: dict[int, tuple[Span, Span]] = {}
    for node, key in zip(nodes, of_node, strict=True):
        if key is not None:
            scales = node.map_scale()
            rows, columns = (
                (_nearest(least / scale), _nearest(most / scale))
                for (least, most), scale in zip(node.offsets, scales, strict=True)
            )
            spans[key] = _joined(spans.get(key, (rows, columns)), (rows, columns))
    patches = [
        (of_node[node.inputs[0]], of_node[index], node.operation.factor)
        for index, node in enumerate(nodes)
        if isinstance(node.operation, TransposedConvolution)
    ]
    # All of a patch is made where its input position is active. Patches of patches are finer each time.
    for coarse, fine, factor in patches * len(patches):
        assert coarse is not None
        assert fine is not None
        rows, columns = (
            (least // step, -(-most // step)) for (least, most), step in zip(spans[fine], factor, strict=True)
        )
        spans[coarse] = _joined(spans[coarse], (rows, columns))
    return [spans[key] for key in range(count)]


def _joined(one: tuple[Span, Span], other: tuple[Span, Span]) -> tuple[Span, Span]:
    rows, columns = ((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(one, other, strict=True))
    return rows, columns


def _nearest(offset: Fraction) -> int:
    """The nearest whole number, of two the one nearer to 0: half a position is within what rounding costs."""
    whole = math.ceil(abs(offset) - Fraction(1, 2))
    return whole if offset > 0 else -whole
