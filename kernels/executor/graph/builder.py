"""Building the graph: adds nodes, and remembers which node computes which traced value."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import lcm
from typing import Any

import torch

from kernels.executor.graph import tap_tables
from kernels.executor.graph.module_trace import ModuleTrace, RecordedCall, TracedValue
from kernels.executor.graph.nodes import DenseCall, Graph, Input, Node, Operation, Span, Taps, TensorToMap
from kernels.torch_versions import tree_leaves

# Width to height of a position: the sizes of a map are rounded, those of other tensors mean something else.
_MOST_UNEVEN = Fraction(5, 4)


class GraphBuilder:
    """The graph of one trace while it is built; the lowerings extend this class."""

    def __init__(self, record: ModuleTrace, leaves: set[str]) -> None:
        self.record = record
        self.leaves = leaves
        shape = record.shapes[0]
        self.graph = Graph(frame_shape=(shape[0], shape[1], shape[2], shape[3]))
        self.nodes = self.graph.nodes
        self.values = self.graph.values
        self.names: Counter[str] = Counter()
        self.uses: Counter[int] = Counter()
        for leaf in tree_leaves([(call.args, call.kwargs) for call in record.calls] + [record.outputs]):
            if isinstance(leaf, TracedValue):
                self.uses[leaf.index] += 1
        self.converted: dict[int, int] = {}
        one = Fraction(1)
        self.nodes.append(Node("frame", Input(), (), (shape[2], shape[3], shape[1]), (one, one), (1, 1), ()))
        self.values[0] = 0

    def add(
        self,
        call: RecordedCall,
        operation: Operation,
        inputs: tuple[int, ...],
        shape: tuple[int, int, int],
        taps: tuple[Taps, ...],
        factor: tuple[Fraction, Fraction] = (Fraction(1), Fraction(1)),
        result: int | None = None,
        shift: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0)),
    ) -> None:
        """Append a map.

        Args:
            factor: positions of the first input a position, (vertical, horizontal).
            result: the traced value that it is; None for the call's first.
            shift: positions of the input by which content moves towards 0 (`window_shift`).
        """
        before = self.nodes[inputs[0]].map_scale()
        scale = (before[0] * factor[0], before[1] * factor[1])
        period = common_period(
            (scale[0].numerator, scale[1].numerator), *(self.nodes[source].period for source in inputs)
        )
        self.values[call.results[0] if result is None else result] = len(self.nodes)
        moved = (before[0] * shift[0], before[1] * shift[1])
        offsets = joined_offsets([self.nodes[source] for source in inputs], moved)
        self.nodes.append(Node(self._name(call), operation, inputs, shape, scale, period, taps, offsets))

    def add_dense_call(self, call: RecordedCall) -> None:
        inputs = tuple(
            self.node_of(leaf.index)
            for leaf in tree_leaves((call.args, call.kwargs))
            if isinstance(leaf, TracedValue)
        )
        for position, result in enumerate(call.results):
            if result >= 0:
                self.values[result] = len(self.nodes)
                self.nodes.append(
                    Node(self._name(call), DenseCall(call, position), tuple(dict.fromkeys(inputs)))
                )

    def node_of(self, value: int) -> int:
        """The node of a traced value."""
        return self.values[value]

    def map_or_none(self, value: Any) -> int | None:
        """The node of a traced value that is a map already."""
        if not isinstance(value, TracedValue):
            return None
        index = self.converted.get(value.index)
        if index is None:
            index = self.node_of(value.index)
        return index if self.nodes[index].is_map else None

    def map(self, value: Any, like: int | None = None) -> int | None:
        """The node of a traced value as a map, made from a tensor if its shape fits the frame, else None.

        Where its positions lie is what a map of its size says: `like`, one that it was made from, or any.
            Sizes
        alone do not say it where a stride does not divide the frame: 9 rows of 270 are 32 pixels each, not
            30.

        Args:
            like: a map that it is combined with.
        """
        found = self.map_or_none(value)
        if found is not None or not isinstance(value, TracedValue) or not self._may_be_map(value):
            return found
        shape, frame = self.record.shapes[value.index], self.graph.frame_shape
        known = self._map_of_size(value, like)
        if known is not None:
            node = self.nodes[known]
            return self._enter(value, node.map_scale(), node.offsets)
        scale = (Fraction(frame[2], shape[2]), Fraction(frame[3], shape[3]))
        covers = max(scale) <= _MOST_UNEVEN * min(scale) and shape[2:] != (1, 1)
        return self._enter(value, scale) if covers else None

    def gate(self, value: TracedValue) -> int | None:
        """The node of a tensor (1, C, 1, 1), as a map with one position for the whole frame."""
        found = self.map_or_none(value)
        if found is not None or not self._may_be_map(value):
            return found
        return self._enter(value, (Fraction(self.graph.frame_shape[2]), Fraction(self.graph.frame_shape[3])))

    def _may_be_map(self, value: TracedValue) -> bool:
        shape = self.record.shapes[value.index]
        return len(shape) == 4 and shape[0] == 1 and self.record.dtypes[value.index] == torch.float32

    def _enter(
        self,
        value: TracedValue,
        scale: tuple[Fraction, Fraction],
        offsets: tuple[Span, Span] = ((Fraction(0), Fraction(0)), (Fraction(0), Fraction(0))),
    ) -> int:
        """Append the map that a tensor becomes."""
        source = self.node_of(value.index)
        shape = self.record.shapes[value.index]
        index = self.converted[value.index] = len(self.nodes)
        name = self._unique(f"{self.nodes[source].name}.map")
        period = (scale[0].numerator, scale[1].numerator)
        made = (shape[2], shape[3], shape[1])
        self.nodes.append(Node(name, TensorToMap(), (source,), made, scale, period, (), offsets))
        return index

    def _map_of_size(self, value: TracedValue, like: int | None) -> int | None:
        """A map of a tensor's height and width, the nearest in the graph."""
        size = self.record.shapes[value.index][2:]

        def fits(index: int) -> bool:
            return self.nodes[index].is_map and self.nodes[index].map_shape()[:2] == size

        if like is not None and fits(like):
            return like
        seen, waiting = set[int](), [self.node_of(value.index)]
        found: list[int] = []
        while waiting:
            index = waiting.pop()
            if index not in seen:
                seen.add(index)
                if self.nodes[index].is_map:
                    found.append(index)
                else:
                    waiting += self.nodes[index].inputs
        anywhere = range(len(self.nodes)) if size != (1, 1) else ()
        return max(filter(fits, found), default=None) or max(filter(fits, anywhere), default=None)

    def new_value(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> int:
        """The number of a value that the module did not make."""
        self.record.shapes.append(shape)
        self.record.dtypes.append(dtype)
        return len(self.record.shapes) - 1

    def fusible(self, value: Any, index: int) -> bool:
        """Whether the current call is the only reader of this value, and it is the node's own result."""
        own = self.values.get(value.index) == index and value.index not in self.converted
        return own and self.uses[value.index] == 1

    def result_shape(self, call: RecordedCall) -> tuple[int, int, int]:
        shape = self.record.shapes[call.results[0]]
        return shape[2], shape[3], shape[1]

    @staticmethod
    def same(shape: tuple[int, ...]) -> Taps:
        return tap_tables.identity(shape[0]), tap_tables.identity(shape[1])

    def _name(self, call: RecordedCall) -> str:
        if call.path and call.path in self.leaves:
            return self._unique(call.path)
        return self._unique(f"{call.path}.{call.name}" if call.path else call.name)

    def _unique(self, name: str) -> str:
        self.names[name] += 1
        return name if self.names[name] == 1 else f"{name}#{self.names[name]}"


def joined_offsets(
    nodes: list[Node], moved: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0))
) -> tuple[Span, Span]:
    """The offsets of a map made of some others, moved by some pixels (vertical, horizontal)."""
    vertical, horizontal = (
        (
            min(node.offsets[axis][0] for node in nodes) + moved[axis],
            max(node.offsets[axis][1] for node in nodes) + moved[axis],
        )
        for axis in (0, 1)
    )
    return vertical, horizontal


def window_shift(kernel: int, stride: int, padding: int, dilation: int) -> Fraction:
    """How far a window's content lies behind its output's place, in positions of the input, along one axis.

    Output o stands for the inputs [o·stride, (o + 1)·stride). A window that is centred on the first of them
    (as with usual padding), on their middle, or in between is in its place; of others the rest counts.
    """
    centre = Fraction(dilation * (kernel - 1), 2) - padding
    return min(centre, Fraction(0)) + max(centre - Fraction(stride - 1, 2), Fraction(0))


def common_period(*pairs: tuple[int, int]) -> tuple[int, int]:
    return lcm(*(pair[0] for pair in pairs)), lcm(*(pair[1] for pair in pairs))
