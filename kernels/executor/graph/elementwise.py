"""Lowering of calls that read one position: batch norm, activations, arithmetic, functions of its channels.

A call with a kernel becomes a node, or is fused into the convolution before it. Others keep their recorded
call and stay maps (`LocalCall`): they run in full, and layers after them can still be certified.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from kernels.executor.graph import tap_tables
from kernels.executor.graph.builder import GraphBuilder, common_period, joined_offsets
from kernels.executor.graph.module_trace import RecordedCall, TracedValue
from kernels.executor.graph.nodes import Convolution, LocalCall, Pointwise, TransposedConvolution
from kernels.ops.maps import Window
from kernels.torch_versions import tree_leaves

_ACTIVATIONS = {"relu", "silu", "sigmoid", "leaky_relu", "hardswish", "tanh", "hardsigmoid"}
_BATCH_NORMS = {
    "native_batch_norm",
    "_native_batch_norm_legit_no_training",
    "cudnn_batch_norm",
    "miopen_batch_norm",
}
_ARITHMETIC = {"add": "add", "sub": "subtract", "mul": "multiply"}
# Without a kernel: of one or more maps, numbers, and constants with a value a channel.
_FUNCTIONS = {
    *("add", "sub", "rsub", "mul", "div", "maximum", "minimum", "pow", "clamp", "clamp_min", "clamp_max"),
    *("gelu", "mish", "elu", "celu", "softplus", "hardtanh", "_prelu_kernel", "log_sigmoid_forward"),
    *("fill", "zero"),
    *("exp", "log", "abs", "neg", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "erf", "sign"),
}
# Of all channels of a position, where their axis is 1: the argument that names it.
_OVER_CHANNELS = {
    **dict.fromkeys(("_softmax", "_log_softmax", "mean", "sum", "amax", "amin", "max", "min"), 1),
    "linalg_vector_norm": 2,
}


class ElementwiseLowering(GraphBuilder):
    """The part of the lowering that handles calls on single positions."""

    def elementwise(self, call: RecordedCall) -> bool:
        """Lower a call that reads one position; False if it does not, or its result is no map."""
        name = call.name
        if self.record.dtypes[call.results[0]] != torch.float32:
            return False
        if name in _BATCH_NORMS:
            return self._batch_norm(call)
        activation = _activation_of(call)
        if activation is not None:
            return self._activation(call, *activation)
        if (name in _ARITHMETIC or name in ("div", "rsub")) and self._arithmetic(call):
            return True
        if name in _FUNCTIONS or _over_channels(call) or name in ("expand", "channel_shuffle"):
            return self.local(call)
        return False

    def _batch_norm(self, call: RecordedCall) -> bool:
        source, weight, bias, mean, variance = call.args[:5]
        epsilon = call.args[-1]
        of_frame = call.name != "_native_batch_norm_legit_no_training" and bool(call.args[5])
        if self.map(source) is None or isinstance(mean, TracedValue) or mean is None or of_frame:
            return False
        factor = torch.rsqrt(variance.double() + epsilon)
        if weight is not None:
            factor = factor * weight.double()
        offset = -mean.double() * factor + (0 if bias is None else bias.double())
        return self._affine(call, source, factor, offset)

    def _affine(
        self, call: RecordedCall, source: TracedValue, factor: torch.Tensor, offset: torch.Tensor
    ) -> bool:
        """factor · x + offset a channel: into the convolution before it, or a depthwise one of its own."""
        index = self.values[source.index]
        node = self.nodes[index]
        operation = node.operation
        plain = (
            isinstance(operation, Convolution) and operation.activation == "none" and len(node.inputs) == 1
        )
        if isinstance(operation, Convolution) and plain and self.fusible(source, index):
            factor, offset = factor.to(operation.weight.device), offset.to(operation.weight.device)
            bias = torch.zeros_like(offset) if operation.bias is None else operation.bias
            folded = replace(
                operation,
                weight=(operation.weight.double() * factor[:, None, None, None]).to(operation.weight.dtype),
                bias=(bias.double() * factor + offset).to(operation.weight.dtype),
            )
            self.nodes[index] = replace(node, operation=folded)
            self.values[call.results[0]] = index
            return True
        found = self.map(source)
        if found is None:
            return False
        shape = self.nodes[found].map_shape()
        channels = shape[2]
        own = Convolution(
            factor.float().expand(channels).reshape(channels, 1, 1, 1).contiguous(),
            offset.float().expand(channels).contiguous(),
            Window((1, 1)),
            channels,
        )
        self.add(call, own, (found,), shape, (self.same(shape),))
        return True

    def _activation(self, call: RecordedCall, activation: str, slope: float) -> bool:
        source = self.map(call.args[0])
        if source is None:
            return False
        node = self.nodes[source]
        operation = node.operation
        with_residual = isinstance(operation, Convolution) and len(node.inputs) == 2
        if (
            isinstance(operation, (Convolution, TransposedConvolution, Pointwise))
            and operation.activation == "none"
            and not with_residual
            and self.fusible(call.args[0], source)
        ):
            fused = replace(operation, activation=activation, slope=slope)
            self.nodes[source] = replace(node, operation=fused)
            self.values[call.results[0]] = source
            return True
        shape = node.map_shape()
        self.add(call, Pointwise("copy", activation, slope), (source,), shape, (self.same(shape),))
        return True

    def _arithmetic(self, call: RecordedCall) -> bool:
        first, second = call.args[:2]
        if not isinstance(first, TracedValue) or not isinstance(second, TracedValue):
            return self._with_constant(call)
        shape = self.record.shapes[first.index]
        if call.name not in _ARITHMETIC or call.kwargs.get("alpha", 1) != 1:
            return False
        if shape != self.record.shapes[second.index]:
            return self._gated(call, first, second)
        if shape != self.record.shapes[call.results[0]]:
            return False
        maps = (self.map_or_none(first), self.map_or_none(second))
        if maps == (None, None):
            return False
        left, right = self.map(first, maps[1]), self.map(second, maps[0])
        if left is None or right is None or self.nodes[left].scale != self.nodes[right].scale:
            return False
        size = self.nodes[left].map_shape()
        if call.name == "add":
            for this, value, other in ((left, first, right), (right, second, left)):
                node = self.nodes[this]
                if (
                    isinstance(node.operation, Convolution)
                    and len(node.inputs) == 1
                    and other < this
                    and self.fusible(value, this)
                ):
                    period = common_period(node.period, self.nodes[other].period)
                    taps = (*node.taps, self.same(size))
                    offsets = joined_offsets([node, self.nodes[other]])
                    self.nodes[this] = replace(
                        node, inputs=(*node.inputs, other), taps=taps, period=period, offsets=offsets
                    )
                    self.values[call.results[0]] = this
                    return True
        same = self.same(size)
        self.add(call, Pointwise(_ARITHMETIC[call.name]), (left, right), size, (same, same))
        return True

    def _gated(self, call: RecordedCall, first: TracedValue, second: TracedValue) -> bool:
        """A map and a number a channel that is this frame's own, as behind squeeze and excitation."""
        shapes, result = self.record.shapes, self.record.shapes[call.results[0]]
        wide, narrow = (first, second) if shapes[first.index] == result else (second, first)
        if call.name == "sub" and wide is second:
            return False
        if shapes[wide.index] != result or shapes[narrow.index] != (*result[:2], 1, 1):
            return False
        left = self.map_or_none(wide)
        right = None if left is None else self.gate(narrow)
        if left is None or right is None:
            return False
        size = self.nodes[left].map_shape()
        whole = tap_tables.nearest(1, size[0]), tap_tables.nearest(1, size[1])
        self.add(call, Pointwise(_ARITHMETIC[call.name]), (left, right), size, (self.same(size), whole))
        self.nodes[-1] = replace(self.nodes[-1], offsets=self.nodes[left].offsets)
        return True

    def _with_constant(self, call: RecordedCall) -> bool:
        """factor · x + offset, from a number or a number a channel on either side of the operator."""
        first, second = call.args[:2]
        source, constant = (first, second) if isinstance(first, TracedValue) else (second, first)
        if not isinstance(source, TracedValue) or self.map_or_none(source) is None:
            return False
        if "rounding_mode" in call.kwargs or (call.name == "div" and source is second):
            return False
        value = self._per_channel(constant, self.record.shapes[source.index][1])
        if value is None:
            return False
        alpha = call.kwargs.get("alpha", call.args[2] if len(call.args) > 2 else 1)
        one, zero = torch.ones_like(value), -torch.zeros_like(value)  # -0 + -0 is -0, as of a product
        if call.name in ("mul", "div"):
            factor, offset = (value if call.name == "mul" else 1 / value), zero
        elif call.name == "add":
            factor, offset = (one, alpha * value) if source is first else (alpha * one, value)
        else:  # the first less alpha times the second; rsub takes them in the other order
            is_subtracted = (source is second) != (call.name == "rsub")
            factor, offset = (-alpha * one, value) if is_subtracted else (one, -alpha * value)
        finite = bool(factor.isfinite().all()) and bool(offset.isfinite().all())
        return finite and self._affine(call, source, factor, offset)

    def _per_channel(self, constant: Any, channels: int) -> torch.Tensor | None:
        """A constant as float64 (channels,); None if it varies over positions."""
        value = torch.as_tensor(constant, dtype=torch.float64, device="cpu")
        if value.numel() == 1:
            return value.reshape(1).expand(channels)
        if value.dim() in (3, 4) and value.numel() == channels and value.shape[-3] == channels:
            return value.reshape(channels)
        return None

    def local(self, call: RecordedCall) -> bool:
        """Keep the call, if its maps are of one size and no constant varies over positions."""
        shape = self.record.shapes[call.results[0]]
        if len(shape) != 4 or shape[0] != 1:
            return False
        if any(result >= 0 and self.uses[result] for result in call.results[1:]):
            return False
        read: list[TracedValue] = []
        for leaf in tree_leaves((call.args, call.kwargs)):
            if isinstance(leaf, TracedValue):
                read.append(leaf)
            elif isinstance(leaf, torch.Tensor) and self._per_channel(leaf, shape[1]) is None:
                return False
        like = next((node for value in read if (node := self.map_or_none(value)) is not None), None)
        if like is None:
            return False
        if any(self.record.shapes[value.index][2:] != shape[2:] for value in read):
            return False
        found = [self.map(value, like) for value in read]
        sources = tuple(source for source in found if source is not None)
        if len(sources) < len(found) or len({self.nodes[source].scale for source in sources}) > 1:
            return False
        result = self.result_shape(call)
        self.add(call, LocalCall(call), sources, result, (self.same(result),) * len(sources))
        return True


def is_elementwise(call: RecordedCall) -> bool:
    """Whether a call does the same to each element, whatever the order of the axes."""
    return call.name in _FUNCTIONS or call.name in _ACTIVATIONS or call.name == "leaky_relu"


def _activation_of(call: RecordedCall) -> tuple[str, float] | None:
    """The kernel and slope of a call that is an activation, or None."""
    name, rest = call.name, call.args[1:]
    if any(isinstance(bound, torch.Tensor) and bound.numel() > 1 for bound in rest):
        return None
    if name == "leaky_relu":
        return name, float(rest[0]) if rest else 0.01
    if name in _ACTIVATIONS:
        return name, 0.01
    if name == "gelu":
        return ("gelu_tanh" if call.kwargs.get("approximate") == "tanh" else "gelu"), 0.01
    if name in ("hardtanh", "clamp") and rest == (0, 6):
        return "relu6", 0.01
    if name in ("clamp", "clamp_min") and rest in ((0,), (0, None)):
        return "relu", 0.01
    if name == "_prelu_kernel" and isinstance(rest[0], torch.Tensor) and rest[0].numel() == 1:
        return "leaky_relu", float(rest[0])
    return None


def _over_channels(call: RecordedCall) -> bool:
    """Whether a call makes something of all channels of each position, and leaves the axes as they are."""
    place = _OVER_CHANNELS.get(call.name)
    if place is None or len(call.args) <= place or call.args[place] not in (1, -3, [1], [-3]):
        return False
    return call.name in ("_softmax", "_log_softmax") or call.args[place + 1 : place + 2] == (True,)


__all__ = ["ElementwiseLowering", "is_elementwise"]
