"""Lowering of maps that a model permutes to channels last, as ConvNeXt does for norms and linear layers.

A permuted map, or a view of one that keeps its last axis, is treated as rows of the map: row i is position i.
Element-wise calls on rows are lowered as on maps, matrix products as 1×1 convolutions. Any other reader of
rows gets them as a tensor, made from the map when it is first needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional
from torch.utils import _pytree as pytree

from kernels.executor.graph.elementwise import ElementwiseLowering, is_elementwise
from kernels.executor.graph.module_trace import ModuleTrace, RecordedCall, TracedValue
from kernels.executor.graph.nodes import Convolution, LocalCall
from kernels.ops.maps import Window

_VIEWS = {"view", "_unsafe_view", "expand", "clone", "alias", "detach", "contiguous", "dropout"}
_LAST, _FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


class ChannelsLastLowering(ElementwiseLowering):
    """The part of the lowering that handles rows.

    Attributes:
        rows: for each traced value that is rows of a map, the value of that map.
    """

    def __init__(self, record: ModuleTrace, leaves: set[str]) -> None:
        super().__init__(record, leaves)
        self.rows: dict[int, int] = {}

    def lower_channels_last(self, call: RecordedCall) -> bool:
        """Lower a call that makes rows of a map, reads rows, or makes them a map again; else False."""
        first = call.args[0] if call.args else None
        if call.name == "permute" and isinstance(first, TracedValue) and first.index not in self.rows:
            node = self.map_or_none(first)
            return call.args[1] == _LAST and node is not None and self._follow(call, first.index, node)
        if not any(isinstance(leaf, TracedValue) and leaf.index in self.rows for leaf in call.args):
            return False
        if isinstance(first, TracedValue) and first.index in self.rows:
            shape = self.record.shapes[call.results[0]]
            is_view = call.name in _VIEWS and not call.is_reinterpreted
            if is_view and shape[-1:] == self.record.shapes[first.index][-1:]:
                stands = self.rows[first.index]
                return self._same_size(call) and self._follow(call, stands, self.values[stands])
            stands = self.rows[first.index]
            rows_of_map = [self.record.shapes[stands][axis] for axis in _LAST]
            if (
                call.name == "permute"
                and call.args[1] == _FIRST
                and list(self.record.shapes[first.index]) == rows_of_map
            ):
                self._share_uses(first.index, call.results[0], stands)
                self.values[call.results[0]] = self.values[stands]
                return True
            if call.name == "native_layer_norm":
                return self._layer_norm(call, self.rows[first.index])
        if call.name in ("mm", "bmm", "addmm"):
            return self._product(call)
        return is_elementwise(call) and self._each(call)

    def node_of(self, value: int) -> int:
        """The node of a traced value; rows that nothing could lower are made from their map."""
        if value not in self.values and value in self.rows:
            shape = self.record.shapes[value]
            self.add_dense_call(
                RecordedCall(_rows_of, (TracedValue(self.rows[value]), shape), {}, (value,), "")
            )
        return self.values[value]

    def _same_size(self, call: RecordedCall) -> bool:
        """Whether a view has as many rows as what it shows."""
        shapes = self.record.shapes
        return torch.Size(shapes[call.results[0]]).numel() == torch.Size(shapes[call.args[0].index]).numel()

    def _follow(self, call: RecordedCall, stands: int, node: int) -> bool:
        """Record that the call's result is rows of the map of the value `stands`, computed by `node`."""
        self._share_uses(call.args[0].index, call.results[0], stands)
        self.rows[call.results[0]] = self._stand_in(call.results[0], node)
        return True

    def _share_uses(self, source: int, result: int, stands: int) -> None:
        """Whoever reads the result reads the source: neither may be fused for one of them alone."""
        uses = self.uses[source] - 1 + self.uses[result]
        for value in (source, result, stands):
            self.uses[value] = max(uses, self.uses[value]) if value == stands != source else uses

    def _stand_in(self, rows: int, node: int | None = None) -> int:
        """A new traced value for the map whose rows are the value `rows`."""
        value = self.new_value((), self.record.dtypes[rows])
        self.uses[value] = self.uses[rows]
        if node is not None:
            self._place(value, node)
        return value

    def _place(self, value: int, node: int) -> None:
        height, width, channels = self.nodes[node].map_shape()
        self.record.shapes[value] = (1, channels, height, width)
        self.values[value] = node

    def _each(self, call: RecordedCall) -> bool:
        """An element-wise call, as one on maps."""
        found: list[tuple[int, ...]] = []

        def on_map(leaf: Any) -> Any:
            if isinstance(leaf, TracedValue):
                if leaf.index not in self.rows:
                    raise _NotRows
                found.append(self.record.shapes[self.rows[leaf.index]])
                return TracedValue(self.rows[leaf.index])
            if isinstance(leaf, torch.Tensor) and leaf.numel() > 1:
                if leaf.numel() != leaf.shape[-1]:
                    raise _NotRows
                return leaf.reshape(-1, 1, 1)
            return leaf

        try:
            args, kwargs = pytree.tree_map(on_map, (call.args, call.kwargs))
        except _NotRows:
            return False
        result = call.results[0]
        sizes = torch.Size(self.record.shapes[result]), torch.Size(found[0])
        if len(set(found)) > 1 or sizes[0][-1] != sizes[1][1] or sizes[0].numel() != sizes[1].numel():
            return False
        stands = self._stand_in(result)
        self.record.shapes[stands] = found[0]
        if not self.elementwise(replace(call, args=tuple(args), kwargs=kwargs, results=(stands,))):
            return False
        self.rows[result] = stands
        return True

    def _layer_norm(self, call: RecordedCall, stands: int) -> bool:
        _, normalised, weight, bias, epsilon = call.args
        _, channels, *_ = self.record.shapes[stands]
        if list(normalised) != [channels] or any(self.uses[result] for result in call.results[1:]):
            return False
        if isinstance(weight, TracedValue) or isinstance(bias, TracedValue):
            return False
        result = self._stand_in(call.results[0])
        args = (TracedValue(stands), weight, bias, epsilon)
        norm = RecordedCall(_channel_norm, args, {}, (result,), call.path)
        shape = self.nodes[self.values[stands]].map_shape()
        self.add(norm, LocalCall(norm), (self.values[stands],), shape, (self.same(shape),))
        self._place(result, self.values[result])
        self.rows[call.results[0]] = result
        return True

    def _product(self, call: RecordedCall) -> bool:
        """rows · matrix + bias: a convolution of one position."""
        bias, rows, matrix = call.args if call.name == "addmm" else (None, *call.args)
        if call.kwargs or not isinstance(rows, TracedValue) or rows.index not in self.rows:
            return False
        if not isinstance(matrix, torch.Tensor) or isinstance(bias, TracedValue):
            return False
        if matrix.dim() == 3:  # the same for every row of the image
            if not torch.equal(matrix, matrix[:1].expand_as(matrix)):
                return False
            matrix = matrix[0]
        if bias is not None and tuple(bias.shape) != (matrix.shape[1],):
            return False
        source = self.values[self.rows[rows.index]]
        height, width, _ = self.nodes[source].map_shape()
        weight = matrix.T.reshape(*matrix.T.shape, 1, 1).contiguous()
        shape = (height, width, matrix.shape[1])
        result = self._stand_in(call.results[0])
        operation = Convolution(weight, bias, Window((1, 1)), 1)
        self.add(call, operation, (source,), shape, (self.same(shape),), result=result)
        self._place(result, self.values[result])
        self.rows[call.results[0]] = result
        return True


class _NotRows(Exception):
    """An argument that is neither rows nor a constant a channel."""


def _rows_of(image: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return image.permute(0, 2, 3, 1).reshape(list(shape))


def _channel_norm(
    image: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, epsilon: float
) -> torch.Tensor:
    """Layer norm over the channels of each position."""
    rows = functional.layer_norm(image.permute(0, 2, 3, 1), image.shape[1:2], weight, bias, epsilon)
    return rows.permute(0, 3, 1, 2)


__all__ = ["ChannelsLastLowering"]
