"""Lowering of views that only rearrange channels, as channel shuffles by view and transpose do.

A view of a map (1, C, H, W) that keeps its last two axes, (1, groups, C / groups, H, W) for one, is followed
as the numbers of its channels. Where such views end in a map again, that is the first map with its channels
in another order. Any other reader gets the view as a tensor, made when it is first needed.
"""

from __future__ import annotations

import torch

from kernels.executor.graph.channels_last import ChannelsLastLowering
from kernels.executor.graph.module_trace import ModuleTrace, RecordedCall, TracedValue
from kernels.executor.graph.nodes import TransposedConvolution

_RESHAPED = {"view", "_unsafe_view"}
_SAME = {"clone", "contiguous", "alias", "detach"}


class ChannelViewsLowering(ChannelsLastLowering):
    """The part of the lowering that handles views of channels.

    Attributes:
        channel_views: for each traced value that is one, the map that it shows, its channels' numbers
            (without the first and the last two axes), and the call that made it.
    """

    def __init__(self, record: ModuleTrace, leaves: set[str]) -> None:
        super().__init__(record, leaves)
        self.channel_views: dict[int, tuple[TracedValue, torch.Tensor, RecordedCall]] = {}

    def lower_views(self, call: RecordedCall) -> bool:
        """Lower a call that makes a view of channels, or a map of one, or of rows; else False."""
        return self._rearrange(call) or self.lower_channels_last(call)

    def node_of(self, value: int) -> int:
        """The node of a traced value; a view of channels that nothing could lower is made from its map."""
        if value not in self.values and value in self.channel_views:
            self.add_dense_call(self.channel_views[value][2])
        return super().node_of(value)

    def _rearrange(self, call: RecordedCall) -> bool:
        first = call.args[0] if call.args else None
        if not isinstance(first, TracedValue) or first.index in self.rows or call.is_reinterpreted:
            return False
        known = self.channel_views.get(first.index)
        if known is not None:
            source, numbers = known[:2]
        elif call.name in _RESHAPED and len(self.record.shapes[call.results[0]]) > 4:
            node = self.map_or_none(first)
            if node is None:
                return False
            source, numbers = first, torch.arange(self.nodes[node].map_shape()[2])
        else:
            return False
        height, width, channels = self.nodes[self._node_as_map(source)].map_shape()
        made = _rearranged(call, numbers, self.record.shapes[call.results[0]], (height, width))
        if made is None:
            return False
        if made.dim() != 1:
            self.channel_views[call.results[0]] = (source, made, call)
            return True
        if not torch.equal(made.sort().values, torch.arange(channels)):
            return False
        shape = (height, width, channels)
        self.add(call, shuffled(made, (1, 1)), (self._node_as_map(source),), shape, (self.same(shape),))
        return True

    def _node_as_map(self, value: TracedValue) -> int:
        node = self.map_or_none(value)
        assert node is not None
        return node


def shuffled(order: torch.Tensor, factor: tuple[int, int]) -> TransposedConvolution:
    """Patches made of a position's own channels, `order` of them, patch rows first."""
    nothing = torch.empty(0)
    return TransposedConvolution(nothing, nothing, factor, order=tuple(order.tolist()))


def _rearranged(
    call: RecordedCall, numbers: torch.Tensor, shape: tuple[int, ...], size: tuple[int, int]
) -> torch.Tensor | None:
    """The channels' numbers after a call; None if it does more than rearrange them."""
    if shape[0] != 1 or shape[-2:] != size:
        return None
    if call.name in _SAME:
        return numbers
    if call.name in _RESHAPED:
        return numbers.reshape(shape[1:-2])
    last = numbers.dim()  # of the axes between the first and the height
    if call.name == "transpose":
        axes = [axis % (last + 3) for axis in call.args[1:3]]
        return (
            numbers.transpose(axes[0] - 1, axes[1] - 1) if all(1 <= axis <= last for axis in axes) else None
        )
    if call.name == "permute":
        order = [axis % (last + 3) for axis in call.args[1]]
        keeps = order[0] == 0 and order[-2:] == [last + 1, last + 2]
        return numbers.permute([axis - 1 for axis in order[1:-2]]) if keeps else None
    return None


__all__ = ["ChannelViewsLowering", "shuffled"]
