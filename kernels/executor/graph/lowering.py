"""From recorded ATen calls to the graph: local operations make maps, the rest stay recorded calls.

Batch norm and constants a channel are folded into the convolution before them, activations and residual
additions into the convolution before them, zero padding into the convolution after it. Local operations
without a kernel stay maps and run in full (`LocalCall`). Everything else is a `DenseCall`; a map made from
its result (`TensorToMap`) is new in every frame.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from kernels.executor.graph import tap_tables
from kernels.executor.graph.builder import window_shift
from kernels.executor.graph.channel_views import ChannelViewsLowering, shuffled
from kernels.executor.graph.module_trace import (
    ModuleTrace,
    RecordedCall,
    TracedValue,
    UnsupportedModule,
    first_line,
)
from kernels.executor.graph.nodes import (
    Concat,
    Convolution,
    Graph,
    LocalCall,
    NodeOutput,
    Operation,
    Pooling,
    Slice,
    TransposedConvolution,
    Upsample,
)
from kernels.ops.maps import Window

_ALIASES = {"alias", "detach", "clone", "contiguous", "lift_fresh", "_to_copy", "dropout", "native_dropout"}
_MOST_PIECES = 16  # of a concatenation: a copy each


def lower(record: ModuleTrace, model: nn.Module) -> Graph:
    """Build the graph of a trace of `model`."""
    return _Lowering(
        record, {path for path, module in model.named_modules() if not list(module.children())}
    ).run()


class _Lowering(ChannelViewsLowering):
    def run(self) -> Graph:
        for call in self.record.calls:
            try:
                if not self._lower(call):
                    self.add_dense_call(call)
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
                where = f"model.{call.path}".removesuffix(".")
                raise UnsupportedModule(
                    f"{where}: {call.name} cannot be lowered: {first_line(error)}"
                ) from error
        self.graph.outputs = [
            NodeOutput(self.node_of(leaf.index)) if isinstance(leaf, TracedValue) else leaf
            for leaf in self.record.outputs
        ]
        self.graph.structure = self.record.structure
        return self.graph

    # One method for each kind of call. It returns False where the call has to stay a `DenseCall`.

    def _lower(self, call: RecordedCall) -> bool:
        name = call.name
        if self.lower_views(call):
            return True
        if name in _ALIASES:
            return self._alias(call)
        handler = {
            "split": self._split,
            "split_with_sizes": self._split,
            "slice": self._slice,
            "index": self._pick,
            "index_select": self._pick,
            "copy": self._copy,
            "slice_scatter": self._replace_channels,
            "convolution": self._convolution,
            "max_pool2d_with_indices": self._max_pool,
            "max_pool2d": self._max_pool,
            "avg_pool2d": self._average_pool,
            "upsample_nearest2d": self._upsample,
            "upsample_bilinear2d": self._upsample,
            "cat": self._concat,
            "constant_pad_nd": self._pad,
            "reflection_pad2d": self._mirror,
            "replication_pad2d": self._mirror,
            "pixel_shuffle": self._shuffle,
            "pixel_unshuffle": self._unshuffle,
        }.get(name)
        return handler(call) if handler is not None else self.elementwise(call)

    def _alias(self, call: RecordedCall) -> bool:
        first, result = call.args[0], call.results[0]
        if (
            not isinstance(first, TracedValue)
            or self.record.dtypes[result] != self.record.dtypes[first.index]
        ):
            return False
        self.values[result] = self.node_of(first.index)
        self.uses[first.index] += self.uses[result] - 1
        self.uses[result] = self.uses[first.index]
        return True

    def _convolution(self, call: RecordedCall) -> bool:
        source_value, weight, bias, stride, padding, dilation, is_transposed, extra, groups = call.args
        if isinstance(weight, TracedValue) or isinstance(bias, TracedValue) or weight.dim() != 4:
            return False
        source = self.map(source_value)
        if source is None:
            return False
        pairs = (_pair(stride), _pair(padding), _pair(dilation))
        if not is_transposed:
            source, around = self._absorb_padding(source_value, source)
            pairs = (pairs[0], (pairs[1][0] + around[0], pairs[1][1] + around[1]), pairs[2])
        size = self.nodes[source].map_shape()[:2]
        result = self.result_shape(call)
        kernel = (weight.shape[2], weight.shape[3])
        make = tap_tables.transposed if is_transposed else tap_tables.window
        taps = tuple(
            make(size[axis], result[axis], kernel[axis], *(pair[axis] for pair in pairs)) for axis in (0, 1)
        )
        if not is_transposed:
            operation: Operation = Convolution(weight, bias, Window(kernel, *pairs), groups)
            factor = (Fraction(pairs[0][0]), Fraction(pairs[0][1]))
        else:
            factor = (Fraction(1, pairs[0][0]), Fraction(1, pairs[0][1]))
            patch = kernel == pairs[0] and groups == 1 and pairs[1:] == ((0, 0), (1, 1)) and not any(extra)
            if patch:
                outputs = weight.shape[1]
                flat = weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0], 1, 1).contiguous()
                repeated = (weight.new_zeros(outputs) if bias is None else bias).repeat(kernel[0] * kernel[1])
                operation = TransposedConvolution(flat, repeated, kernel)
            else:
                operation = LocalCall(call)
        down, across = (window_shift(kernel[axis], *(pair[axis] for pair in pairs)) for axis in (0, 1))
        shift = (-down / pairs[0][0], -across / pairs[0][1]) if is_transposed else (down, across)
        self.add(call, operation, (source,), result, ((taps[0], taps[1]),), factor, shift=shift)
        return True

    def _max_pool(self, call: RecordedCall) -> bool:
        arguments = list(call.args) + [None] * (6 - len(call.args))
        source_value, kernel, stride, padding, dilation, _ = arguments
        if len(call.results) > 1 and self.uses[call.results[1]]:
            return False
        return self._pool(call, source_value, "max", kernel, stride, padding, dilation or [1, 1], True)

    def _average_pool(self, call: RecordedCall) -> bool:
        arguments = list(call.args) + [None] * (7 - len(call.args))
        source_value, kernel, stride, padding, ceil_mode, count_padding, divisor = arguments
        count = True if count_padding is None else bool(count_padding)
        if ceil_mode and count and not any(padding or ()):
            count = False  # nothing is padded; what a window lacks beyond the edge is not counted
        elif (ceil_mode and count) or divisor is not None:
            return self._pool(call, source_value, None, kernel, stride, padding, [1, 1], count)
        return self._pool(call, source_value, "average", kernel, stride, padding, [1, 1], count)

    def _pool(self, call: RecordedCall, value: Any, kind: str | None, *settings: Any) -> bool:
        """A pool of a kind, or one that no kernel does."""
        source = self.map(value)
        if source is None:
            return False
        *pairs, count = settings
        kernel, dilation = _pair(pairs[0]), _pair(pairs[3])
        stride = _pair(pairs[1]) if pairs[1] else kernel
        padding = _pair(pairs[2]) if pairs[2] else (0, 0)
        window = Window(kernel, stride, padding, dilation)
        self._add_window(
            call, source, LocalCall(call) if kind is None else Pooling(kind, window, count), window
        )
        return True

    def _add_window(self, call: RecordedCall, source: int, operation: Operation, window: Window) -> None:
        size, result = self.nodes[source].map_shape(), self.result_shape(call)
        vertical, horizontal = (
            tap_tables.window(
                size[axis],
                result[axis],
                window.kernel[axis],
                window.stride[axis],
                window.padding[axis],
                window.dilation[axis],
            )
            for axis in (0, 1)
        )
        factor = (Fraction(window.stride[0]), Fraction(window.stride[1]))
        down, across = (
            window_shift(
                window.kernel[axis], window.stride[axis], window.padding[axis], window.dilation[axis]
            )
            for axis in (0, 1)
        )
        taps = ((vertical, horizontal),)
        self.add(call, operation, (source,), result, taps, factor, shift=(down, across))

    def _upsample(self, call: RecordedCall) -> bool:
        size, result = self.record.shapes[call.args[0].index][2:], self.result_shape(call)
        if result[0] % size[0] or result[1] % size[1]:
            return False
        is_aligned = call.name == "upsample_bilinear2d" and bool(call.args[2])
        for axis, factor in enumerate(() if is_aligned else call.args[-2:]):
            # A size may divide where the factor that it came from is no whole number: 2.02 · 24 is 48.
            if isinstance(factor, float) and factor * size[axis] != result[axis]:
                return False
        source = self.map(call.args[0])
        if source is None:
            return False
        if call.name == "upsample_nearest2d":
            operation = Upsample("nearest", False)
            taps = tuple(tap_tables.nearest(size[axis], result[axis]) for axis in (0, 1))
        else:
            operation = Upsample("bilinear", bool(call.args[2]))
            taps = tuple(
                tap_tables.bilinear(size[axis], result[axis], operation.align_corners) for axis in (0, 1)
            )
        factor = (Fraction(size[0], result[0]), Fraction(size[1], result[1]))
        self.add(call, operation, (source,), result, ((taps[0], taps[1]),), factor)
        return True

    def _concat(self, call: RecordedCall) -> bool:
        values = call.args[0]
        axis = call.args[1] if len(call.args) > 1 else 0
        shape = self.record.shapes[call.results[0]]
        if (
            len(shape) != 4
            or axis not in (1, -3)
            or not all(isinstance(value, TracedValue) for value in values)
        ):
            return False
        like = next((node for value in values if (node := self.map_or_none(value)) is not None), None)
        if like is None:
            return False
        sources = [self.map(value, like) for value in values]
        if any(source is None for source in sources):
            return False
        found = tuple(source for source in sources if source is not None)
        if len({self.nodes[source].scale for source in found}) > 1:
            return False
        result = self.result_shape(call)
        self.add(call, Concat(), found, result, (self.same(result),) * len(found))
        return True

    def _split(self, call: RecordedCall) -> bool:
        source = self.map_or_none(call.args[0])
        axis = (call.args[2:3] or (0,))[0]
        if source is None or axis not in (1, -3):
            return False
        height, width, _ = self.nodes[source].map_shape()
        start = 0
        for result in call.results:
            stop = start + self.record.shapes[result][1]
            shape = (height, width, stop - start)
            self.add(call, Slice(start, stop), (source,), shape, (self.same(shape),), result=result)
            start = stop
        return True

    def _slice(self, call: RecordedCall) -> bool:
        source = self.map_or_none(call.args[0])
        options: list[Any] = [*call.args[1:], *(0, None, None, 1)[len(call.args) - 1 :]]
        axis = options[0]
        if source is None or axis % 4 == 0:
            return False
        size = self.record.shapes[call.args[0].index][axis]
        start, stop, step = slice(*options[1:]).indices(size)
        shape = self.result_shape(call)
        if (start, stop, step) == (0, size, 1):
            return self._alias(call)
        if axis % 4 == 1:
            if step != 1:
                return self._channels(call, [(source, channel) for channel in range(start, stop, step)])
            self.add(call, Slice(start, stop), (source,), shape, (self.same(shape),))
            return True
        # Every so many rows or columns. A crop would shift the map against the frame's blocks: it runs whole.
        at = axis % 4 - 2
        strides, offsets = [1, 1], [0, 0]
        strides[at], offsets[at] = step, -start
        window = Window((1, 1), _pair(strides), _pair(offsets))
        self._add_window(
            call, source, LocalCall(call) if start >= step else Pooling("max", window, True), window
        )
        return True

    def _pick(self, call: RecordedCall) -> bool:
        """Channels by their numbers, as in x[:, [2, 1, 0]]."""
        source, numbers = self.map_or_none(call.args[0]), call.args[-1]
        if call.name == "index":
            numbers = numbers[1] if len(numbers) == 2 and numbers[0] is None else None
        elif call.args[1] not in (1, -3):
            return False
        if source is None or not isinstance(numbers, torch.Tensor) or numbers.dim() != 1:
            return False
        count = self.nodes[source].map_shape()[2]
        if numbers.dtype in (torch.bool, torch.uint8):
            numbers = numbers.nonzero()[:, 0]
        return self._channels(call, [(source, number % count) for number in numbers.tolist()])

    def _replace_channels(self, call: RecordedCall) -> bool:
        """Some channels of one map replaced by another map, as an in-place change of a slice does."""
        base, value = (self.map_or_none(leaf) for leaf in call.args[:2])
        options: list[Any] = [*call.args[2:], *(0, None, None, 1)[len(call.args) - 2 :]]
        if base is None or options[0] not in (1, -3) or call.kwargs:
            return False
        value = self.map(call.args[1]) if value is None else value
        if value is None or self.nodes[base].scale != self.nodes[value].scale:
            return False
        taken = range(*slice(*options[1:]).indices(self.nodes[base].map_shape()[2]))
        channels = [(base, channel) for channel in range(self.nodes[base].map_shape()[2])]
        for number, channel in enumerate(taken):
            channels[channel] = (value, number)
        return self._channels(call, channels)

    def _channels(self, call: RecordedCall, channels: list[tuple[int, int]]) -> bool:
        """A map put together from channels (node, channel) of others: slices side by side."""
        pieces: list[tuple[int, int, int]] = []
        for source, channel in channels:
            if pieces and pieces[-1][0] == source and pieces[-1][2] == channel:
                pieces[-1] = (source, pieces[-1][1], channel + 1)
            else:
                pieces.append((source, channel, channel + 1))
        if len(pieces) > _MOST_PIECES or not pieces:
            return self.local(call)
        parts = []
        for source, start, stop in pieces:
            height, width, whole = self.nodes[source].map_shape()
            if stop - start < whole:
                shape = (height, width, stop - start)
                value = self.new_value((1, stop - start, height, width))
                self.add(call, Slice(start, stop), (source,), shape, (self.same(shape),), result=value)
                source = self.values[value]
            parts.append(source)
        result = self.result_shape(call)
        self.add(call, Concat(), tuple(parts), result, (self.same(result),) * len(parts))
        return True

    def _copy(self, call: RecordedCall) -> bool:
        """What an in-place copy leaves: what is copied, if nothing of it is repeated or converted."""
        target, source = call.args[:2]
        if isinstance(source, TracedValue) and isinstance(target, TracedValue):
            shapes, dtypes = self.record.shapes, self.record.dtypes
            alike = shapes[target.index] == shapes[source.index]
            if alike and dtypes[target.index] == dtypes[source.index]:
                return self._alias(replace(call, args=(source,)))
        return self.local(call)

    def _pad(self, call: RecordedCall) -> bool:
        value, amounts = call.args[0], list(call.args[1])
        source = self.map_or_none(value)
        if source is None or any(amounts[4:]):
            return False
        amounts += [0] * (4 - len(amounts))
        left, right, top, bottom = amounts
        is_zero = not any(call.args[2:])
        # The mean of one position, and of none: 0.
        behind = Pooling("average", Window((1, 1)), True) if is_zero and top == left == 0 else None
        height, width, _ = self.nodes[source].map_shape()
        taps = (tap_tables.padded(height, top, bottom), tap_tables.padded(width, left, right))
        shift = Fraction(-top), Fraction(-left)
        self.add(call, behind or LocalCall(call), (source,), self.result_shape(call), (taps,), shift=shift)
        return True

    def _absorb_padding(self, value: TracedValue, index: int) -> tuple[int, tuple[int, int]]:
        """Take zero padding that only a convolution reads into the convolution, as far as both sides have it.

        Returns:
            the node to convolve instead of `index`, and the padding to add.
        """
        node = self.nodes[index]
        if not isinstance(node.operation, LocalCall) or node.operation.call.name != "constant_pad_nd":
            return index, (0, 0)
        left, right, top, bottom = (*node.operation.call.args[1], 0, 0)[:4]
        is_last = index == len(self.nodes) - 1 and self.fusible(value, index)
        if (
            any(node.operation.call.args[2:])
            or not is_last
            or not (0 <= left <= right and 0 <= top <= bottom)
        ):
            return index, (0, 0)
        source = node.inputs[0]
        self.nodes.pop()
        if right > left or bottom > top:
            height, width, channels = self.nodes[source].map_shape()
            taps = (tap_tables.padded(height, 0, bottom - top), tap_tables.padded(width, 0, right - left))
            shape = (height + bottom - top, width + right - left, channels)
            operation = Pooling("average", Window((1, 1)), True)
            offsets = self.nodes[source].offsets
            self.nodes.append(replace(node, operation=operation, shape=shape, taps=(taps,), offsets=offsets))
            source = index
        return source, (top, left)

    def _mirror(self, call: RecordedCall) -> bool:
        source = self.map_or_none(call.args[0])
        if source is None:
            return False
        (left, right, top, bottom), (height, width, _) = call.args[1], self.nodes[source].map_shape()
        repeats = call.name == "replication_pad2d"
        taps = (_mirrored(height, top, bottom, repeats), _mirrored(width, left, right, repeats))
        shift = Fraction(-top), Fraction(-left)
        self.add(call, LocalCall(call), (source,), self.result_shape(call), (taps,), shift=shift)
        return True

    def _unshuffle(self, call: RecordedCall) -> bool:
        source = self.map_or_none(call.args[0])
        if source is None:
            return False
        side = _pair(call.args[1])
        self._add_window(call, source, LocalCall(call), Window(side, side))
        return True

    def _shuffle(self, call: RecordedCall) -> bool:
        source = self.map_or_none(call.args[0])
        if source is None:
            return False
        result, (height, width, channels) = self.result_shape(call), self.nodes[source].map_shape()
        taps = (tap_tables.nearest(height, result[0]), tap_tables.nearest(width, result[1]))
        side = call.args[1]
        # A patch for each position, as a transposed convolution makes: of its own channels.
        order = torch.arange(channels).view(result[2], side, side).permute(1, 2, 0).flatten()
        operation = shuffled(order, (side, side))
        self.add(call, operation, (source,), result, (taps,), (Fraction(1, side), Fraction(1, side)))
        return True


@lru_cache(maxsize=256)
def _mirrored(size: int, before: int, after: int, repeats: bool) -> torch.Tensor:
    """Taps of reflection or replication padding: it reads a position, and like all padding does not move."""
    position = torch.arange(size + before + after) - before
    inside = position.clamp(0, size - 1)
    read = inside if repeats else 2 * inside - position
    return torch.stack([read, torch.where(position == inside, read, tap_tables.PADDING)], dim=1)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])
