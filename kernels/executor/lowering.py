"""From recorded ATen calls to the graph: what is local becomes maps, the rest stays a recorded call.

Batch norm is folded into the convolution before it, activations and residual additions into the convolution
they follow. Anything not listed here still runs, densely: element-wise functions keep their place in the
frame (`Local`); everything else is a `Value`, and a map made from one (`Enter`) is new in every frame.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from kernels.executor import geometry
from kernels.executor.builder import Builder, common_period
from kernels.executor.graph import (
    Concat,
    Convolve,
    Graph,
    Leaf,
    Local,
    Pointwise,
    Pool,
    Slice,
    Unfold,
    Upsample,
    Work,
)
from kernels.executor.trace import Call, Reference, Trace
from kernels.ops.maps import Window

_ACTIVATIONS = {"relu", "silu", "sigmoid", "leaky_relu", "hardswish", "tanh", "hardsigmoid"}
_BATCH_NORMS = {
    "native_batch_norm",
    "_native_batch_norm_legit_no_training",
    "cudnn_batch_norm",
    "miopen_batch_norm",
}
_ELEMENTWISE = {
    "gelu",
    "mish",
    "elu",
    "softplus",
    "hardtanh",
    "exp",
    "log",
    "abs",
    "neg",
    "sqrt",
    "clamp",
    "div",
}
_ALIASES = {"alias", "detach", "clone", "contiguous", "lift_fresh", "_to_copy", "dropout", "native_dropout"}
_ARITHMETIC = {"add": "add", "sub": "subtract", "mul": "multiply"}


def lower(record: Trace, model: nn.Module) -> Graph:
    """Build the graph of a trace of `model`."""
    return _Lowering(
        record, {path for path, module in model.named_modules() if not list(module.children())}
    ).run()


class _Lowering(Builder):
    def run(self) -> Graph:
        for call in self.record.calls:
            if not self._lower(call):
                self.add_value(call)
        self.graph.outputs = [
            Leaf(self.values[leaf.value]) if isinstance(leaf, Reference) else leaf
            for leaf in self.record.outputs
        ]
        self.graph.structure = self.record.structure
        return self.graph

    # What each call becomes. A method returns False where the general case must take over.

    def _lower(self, call: Call) -> bool:
        name = call.name
        if not call.args or not isinstance(call.args[0], (Reference, list)):
            return False
        if name in _ALIASES and self.record.dtypes[call.results[0]] == self.record.dtypes[call.args[0].value]:
            self.values[call.results[0]] = self.values[call.args[0].value]
            self.uses[call.args[0].value] += self.uses[call.results[0]] - 1
            return True
        if name in _BATCH_NORMS:
            return self._batch_norm(call)
        if name in _ACTIVATIONS or (name == "hardtanh" and call.args[1:] in ((0.0, 6.0), (0, 6))):
            return self._activation(call, "relu6" if name == "hardtanh" else name)
        if name in ("split", "split_with_sizes", "slice"):
            return self._split(call)
        if name in _ARITHMETIC:
            return self._arithmetic(call)
        if name in _ELEMENTWISE and len(pytree.tree_leaves((call.args, call.kwargs))) >= 1:
            return self._elementwise(call)
        handler = {
            "convolution": self._convolution,
            "max_pool2d_with_indices": self._max_pool,
            "max_pool2d": self._max_pool,
            "avg_pool2d": self._average_pool,
            "upsample_nearest2d": self._upsample,
            "upsample_bilinear2d": self._upsample,
            "cat": self._concat,
            "constant_pad_nd": self._pad,
            "pixel_shuffle": self._shuffle,
        }.get(name)
        return handler is not None and handler(call)

    def _convolution(self, call: Call) -> bool:
        source_value, weight, bias, stride, padding, dilation, is_transposed, extra, groups = call.args
        if isinstance(weight, Reference) or isinstance(bias, Reference) or weight.dim() != 4:
            return False
        source = self.map(source_value)
        if source is None:
            return False
        size = self.nodes[source].map_shape()[:2]
        result = self.result_shape(call)
        pairs = (_pair(stride), _pair(padding), _pair(dilation))
        kernel = (weight.shape[2], weight.shape[3])
        make = geometry.transposed if is_transposed else geometry.window
        taps = tuple(
            make(size[axis], result[axis], kernel[axis], *(pair[axis] for pair in pairs)) for axis in (0, 1)
        )
        if not is_transposed:
            work: Work = Convolve(weight, bias, Window(kernel, *pairs), groups)
            factor = (Fraction(pairs[0][0]), Fraction(pairs[0][1]))
        else:
            factor = (Fraction(1, pairs[0][0]), Fraction(1, pairs[0][1]))
            patch = kernel == pairs[0] and groups == 1 and pairs[1:] == ((0, 0), (1, 1)) and not any(extra)
            if patch:
                outputs = weight.shape[1]
                flat = weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0], 1, 1).contiguous()
                repeated = (weight.new_zeros(outputs) if bias is None else bias).repeat(kernel[0] * kernel[1])
                work = Unfold(flat, repeated, kernel)
            else:
                work = Local(call)
        self.add(call, work, (source,), result, ((taps[0], taps[1]),), factor)
        return True

    def _batch_norm(self, call: Call) -> bool:
        source, weight, bias, mean, variance = call.args[:5]
        epsilon = call.args[-1]
        if self.map(source) is None or isinstance(mean, Reference) or mean is None:
            return False
        factor = torch.rsqrt(variance.double() + epsilon)
        if weight is not None:
            factor = factor * weight.double()
        offset = -mean.double() * factor + (0 if bias is None else bias.double())
        return self._affine(call, source, factor, offset)

    def _affine(self, call: Call, source: Reference, factor: torch.Tensor, offset: torch.Tensor) -> bool:
        """factor · x + offset a channel: into the convolution before it, or a depthwise one of its own."""
        index = self.values[source.value]
        node = self.nodes[index]
        if self.fusible(source, index) and isinstance(node.work, Convolve) and len(node.inputs) == 1:
            work = node.work
            factor, offset = factor.to(work.weight.device), offset.to(work.weight.device)
            bias = torch.zeros_like(offset) if work.bias is None else work.bias
            folded = replace(
                work,
                weight=(work.weight.double() * factor[:, None, None, None]).to(work.weight.dtype),
                bias=(bias.double() * factor + offset).to(work.weight.dtype),
            )
            self.nodes[index] = replace(node, work=folded)
            self.values[call.results[0]] = index
            return True
        found = self.map(source)
        if found is None:
            return False
        shape = self.nodes[found].map_shape()
        channels = shape[2]
        work = Convolve(
            factor.float().expand(channels).reshape(channels, 1, 1, 1).contiguous(),
            offset.float().expand(channels).contiguous(),
            Window((1, 1)),
            channels,
        )
        self.add(call, work, (found,), shape, (self.same(shape),))
        return True

    def _activation(self, call: Call, activation: str) -> bool:
        source = self.map(call.args[0])
        if source is None:
            return False
        slope = float(call.args[1]) if activation == "leaky_relu" and len(call.args) > 1 else 0.01
        node = self.nodes[source]
        plain = isinstance(node.work, (Convolve, Unfold, Pointwise)) and node.work.activation == "none"
        with_residual = isinstance(node.work, Convolve) and len(node.inputs) == 2
        if plain and not with_residual and self.fusible(call.args[0], source):
            self.nodes[source] = replace(node, work=replace(node.work, activation=activation, slope=slope))
            self.values[call.results[0]] = source
            return True
        shape = node.map_shape()
        self.add(call, Pointwise("copy", activation, slope), (source,), shape, (self.same(shape),))
        return True

    def _arithmetic(self, call: Call) -> bool:
        first, second = call.args[0], call.args[1]
        if call.kwargs.get("alpha", 1) != 1 or len(call.args) > 2:
            return False
        if not isinstance(second, Reference):
            return self._with_constant(call, first, second)
        shape = self.record.shapes[first.value]
        if shape != self.record.shapes[second.value] or shape != self.record.shapes[call.results[0]]:
            return False
        maps = (self.map_or_none(first), self.map_or_none(second))
        if maps == (None, None):
            return False
        left, right = self.map(first), self.map(second)
        if left is None or right is None or self.nodes[left].scale != self.nodes[right].scale:
            return False
        size = self.nodes[left].map_shape()
        if call.name == "add":
            for this, value, other in ((left, first, right), (right, second, left)):
                node = self.nodes[this]
                if (
                    isinstance(node.work, Convolve)
                    and len(node.inputs) == 1
                    and other < this
                    and self.fusible(value, this)
                ):
                    period = common_period(node.period, self.nodes[other].period)
                    taps = (*node.taps, self.same(size))
                    self.nodes[this] = replace(node, inputs=(*node.inputs, other), taps=taps, period=period)
                    self.values[call.results[0]] = this
                    return True
        same = self.same(size)
        self.add(call, Pointwise(_ARITHMETIC[call.name]), (left, right), size, (same, same))
        return True

    def _with_constant(self, call: Call, source: Reference, constant: Any) -> bool:
        """x ∘ c for a number or one number a channel; a constant with a place in the frame is not local."""
        if self.map_or_none(source) is None:
            return False
        value = torch.as_tensor(constant, dtype=torch.float64, device="cpu")
        channels = self.record.shapes[source.value][1]
        if value.numel() == 1:
            value = value.reshape(1).expand(channels)
        elif value.dim() in (3, 4) and value.numel() == channels and value.shape[-3] == channels:
            value = value.reshape(channels)
        else:
            return False
        one, zero = torch.ones(channels).double(), torch.zeros(channels).double()
        if call.name == "mul":
            return self._affine(call, source, value, zero)
        return self._affine(call, source, one, value if call.name == "add" else -value)

    def _elementwise(self, call: Call) -> bool:
        rest = pytree.tree_leaves((call.args[1:], call.kwargs))
        if any(isinstance(leaf, (Reference, torch.Tensor)) for leaf in rest):
            return False
        source = self.map_or_none(call.args[0])
        if source is None:
            return False
        shape = self.nodes[source].map_shape()
        self.add(call, Local(call), (source,), shape, (self.same(shape),))
        return True

    def _max_pool(self, call: Call) -> bool:
        arguments = list(call.args) + [None] * (6 - len(call.args))
        source_value, kernel, stride, padding, dilation, _ = arguments
        if len(call.results) > 1 and self.uses[call.results[1]]:
            return False
        return self._pool(call, source_value, "max", kernel, stride, padding, dilation or [1, 1], True)

    def _average_pool(self, call: Call) -> bool:
        arguments = list(call.args) + [None] * (7 - len(call.args))
        source_value, kernel, stride, padding, ceil_mode, count_padding, divisor = arguments
        if ceil_mode or divisor is not None:
            return False
        count = True if count_padding is None else bool(count_padding)
        return self._pool(call, source_value, "average", kernel, stride, padding, [1, 1], count)

    def _pool(self, call: Call, value: Any, kind: str, *settings: Any) -> bool:
        source = self.map(value)
        if source is None:
            return False
        *pairs, count = settings
        kernel, dilation = _pair(pairs[0]), _pair(pairs[3])
        stride = _pair(pairs[1]) if pairs[1] else kernel
        padding = _pair(pairs[2]) if pairs[2] else (0, 0)
        size, result = self.nodes[source].map_shape(), self.result_shape(call)
        taps = tuple(
            geometry.window(
                size[axis], result[axis], kernel[axis], stride[axis], padding[axis], dilation[axis]
            )
            for axis in (0, 1)
        )
        work = Pool(kind, Window(kernel, stride, padding, dilation), count)
        factor = (Fraction(stride[0]), Fraction(stride[1]))
        self.add(call, work, (source,), result, ((taps[0], taps[1]),), factor)
        return True

    def _upsample(self, call: Call) -> bool:
        size, result = self.record.shapes[call.args[0].value][2:], self.result_shape(call)
        if result[0] % size[0] or result[1] % size[1]:
            return False
        source = self.map(call.args[0])
        if source is None:
            return False
        if call.name == "upsample_nearest2d":
            work = Upsample("nearest", False)
            taps = tuple(geometry.nearest(size[axis], result[axis]) for axis in (0, 1))
        else:
            work = Upsample("bilinear", bool(call.args[2]))
            taps = tuple(geometry.bilinear(size[axis], result[axis], work.align_corners) for axis in (0, 1))
        factor = (Fraction(size[0], result[0]), Fraction(size[1], result[1]))
        self.add(call, work, (source,), result, ((taps[0], taps[1]),), factor)
        return True

    def _concat(self, call: Call) -> bool:
        values = call.args[0]
        axis = call.args[1] if len(call.args) > 1 else 0
        shape = self.record.shapes[call.results[0]]
        if (
            len(shape) != 4
            or axis not in (1, -3)
            or not all(isinstance(value, Reference) for value in values)
        ):
            return False
        if all(self.map_or_none(value) is None for value in values):
            return False
        sources = [self.map(value) for value in values]
        if any(source is None for source in sources):
            return False
        found = tuple(source for source in sources if source is not None)
        if len({self.nodes[source].scale for source in found}) > 1:
            return False
        result = self.result_shape(call)
        self.add(call, Concat(), found, result, (self.same(result),) * len(found))
        return True

    def _split(self, call: Call) -> bool:
        value = call.args[0]
        source = self.map_or_none(value)
        axis = call.args[2] if call.name != "slice" and len(call.args) > 2 else (call.args[1:2] or (0,))[0]
        if call.name != "slice" and len(call.args) <= 2:
            axis = 0
        if source is None or axis not in (1, -3):
            return False
        height, width, channels = self.nodes[source].map_shape()
        if call.name == "slice":
            start, stop, step = (*call.args[2:], *(None, None, None)[len(call.args) - 2 :])
            if step not in (None, 1):
                return False
            start, stop, _ = slice(start, stop).indices(channels)
            bounds = [(start, stop)]
        else:
            widths = [self.record.shapes[result][1] for result in call.results]
            ends = torch.tensor(widths).cumsum(0).tolist()
            bounds = [(end - wide, end) for end, wide in zip(ends, widths, strict=True)]
        for result, (start, stop) in zip(call.results, bounds, strict=True):
            shape = (height, width, stop - start)
            self.add(call, Slice(start, stop), (source,), shape, (self.same(shape),), result=result)
        return True

    def _pad(self, call: Call) -> bool:
        value, amounts = call.args[0], list(call.args[1])
        source = self.map_or_none(value)
        if source is None or any(amounts[4:]):
            return False
        amounts += [0] * (4 - len(amounts))
        height, width, _ = self.nodes[source].map_shape()
        taps = (geometry.padded(height, *amounts[2:4]), geometry.padded(width, *amounts[:2]))
        self.add(call, Local(call), (source,), self.result_shape(call), (taps,))
        return True

    def _shuffle(self, call: Call) -> bool:
        source = self.map_or_none(call.args[0])
        if source is None:
            return False
        result, (height, width, _) = self.result_shape(call), self.nodes[source].map_shape()
        taps = (geometry.nearest(height, result[0]), geometry.nearest(width, result[1]))
        factor = (Fraction(1, call.args[1]), Fraction(1, call.args[1]))
        self.add(call, Local(call), (source,), result, (taps,), factor)
        return True


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])
