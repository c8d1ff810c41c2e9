"""The graph that the executor plans and runs: its nodes and their operations.

A node is either a *map* (a feature map of one image, channels last, whose positions correspond to pixels of
the frame) or any other tensor (tokens, pooled vectors, decoded boxes). Those are computed in full in every
frame, by the recorded call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch

from kernels.executor.graph.module_trace import RecordedCall
from kernels.ops.maps import Window


@dataclass(frozen=True, slots=True)
class Input:
    """The frame."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """activation(weight * x + bias), plus a second input if there is one. weight (O, I / groups, kh, kw)."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    window: Window
    groups: int
    activation: str = "none"
    slope: float = 0.01


@dataclass(frozen=True, slots=True)
class TransposedConvolution:
    """A transposed convolution whose kernel size is its stride: each input position makes its own patch.

    weight (kh · kw · O, I, 1, 1), patch rows first; bias repeats for each patch position. If there is an
    `order`,
    nothing is multiplied: output i of a patch, rows first, is the input's channel order[i].
    """

    weight: torch.Tensor
    bias: torch.Tensor
    factor: tuple[int, int]
    activation: str = "none"
    slope: float = 0.01
    order: tuple[int, ...] = ()

    @property
    def outputs(self) -> int:
        """Channels of the map that it makes."""
        return (len(self.order) or self.weight.shape[0]) // (self.factor[0] * self.factor[1])


@dataclass(frozen=True, slots=True)
class Pooling:
    """Pooling of `kind` "max" or "average"; `count_padding` as torch's count_include_pad."""

    kind: str
    window: Window
    count_padding: bool


@dataclass(frozen=True, slots=True)
class Pointwise:
    """activation(first `function` second): "add", "subtract", "multiply", or "copy" of the first alone."""

    function: str
    activation: str = "none"
    slope: float = 0.01


@dataclass(frozen=True, slots=True)
class Upsample:
    """Upsampling by a whole factor, of `mode` "nearest" or "bilinear"."""

    mode: str
    align_corners: bool


@dataclass(frozen=True, slots=True)
class Concat:
    """Channels of the inputs, one after another."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Channels [start, stop) of the input."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class LocalCall:
    """A local operation without a kernel: its recorded call runs on whole maps, and the result is a map."""

    call: RecordedCall


@dataclass(frozen=True, slots=True)
class TensorToMap:
    """A tensor that becomes a map again, as after attention: all of it is new in every frame."""


@dataclass(frozen=True, slots=True)
class DenseCall:
    """A recorded call that runs on whole inputs; the result is no map. `result` picks one of several."""

    call: RecordedCall
    result: int


Operation = (
    Input
    | Convolution
    | TransposedConvolution
    | Pooling
    | Pointwise
    | Upsample
    | Concat
    | Slice
    | LocalCall
    | TensorToMap
    | DenseCall
)
Taps = tuple[torch.Tensor, torch.Tensor]
Span = tuple[Fraction, Fraction]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the graph and its result.

    Attributes:
        name: path of the submodule it came from, with the operation where one submodule has several.
        operation: how it is computed.
        inputs: indices of the nodes it reads.
        shape: (H, W, C) of a map; None for another tensor.
        scale: pixels of the frame a position, (vertical, horizontal); None for another tensor.
        period: pixels that a motion must be a multiple of, (vertical, horizontal): the least common multiple
            of the scales on every path from the frame (P_l).
        taps: per input, the (vertical, horizontal) tables of `kernels.executor.graph.tap_tables`.
        offsets: pixels from where position 0 would lie to where its content does, as behind an unpadded
            convolution or a crop: (least, most) over all paths, (vertical, horizontal).
    """

    name: str
    operation: Operation
    inputs: tuple[int, ...]
    shape: tuple[int, int, int] | None = None
    scale: tuple[Fraction, Fraction] | None = None
    period: tuple[int, int] = (1, 1)
    taps: tuple[Taps, ...] = ()
    offsets: tuple[Span, Span] = ((Fraction(0), Fraction(0)), (Fraction(0), Fraction(0)))

    @property
    def is_map(self) -> bool:
        """Whether its result is a feature map."""
        return self.shape is not None

    def map_shape(self) -> tuple[int, int, int]:
        """`shape`; a TypeError if it is no map."""
        if self.shape is None:
            raise TypeError(f"{self.name} is no map")
        return self.shape

    def map_scale(self) -> tuple[Fraction, Fraction]:
        """`scale`; a TypeError if it is no map."""
        if self.scale is None:
            raise TypeError(f"{self.name} is no map")
        return self.scale


@dataclass(slots=True)
class Graph:
    """Nodes in an order in which they can run; node 0 is the frame.

    Attributes:
        outputs: leaves of the module's result: a node's index wrapped in `NodeOutput`, or a constant.
        structure: the pytree that the leaves belong to.
        values: node of each traced value.
    """

    frame_shape: tuple[int, int, int, int]
    nodes: list[Node] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    structure: Any = None
    values: dict[int, int] = field(default_factory=dict)

    def consumers(self) -> list[list[int]]:
        """For each node, the nodes that read it."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for index, node in enumerate(self.nodes):
            for source in node.inputs:
                readers[source].append(index)
        return readers

    def output_nodes(self) -> Iterator[int]:
        """Indices of the nodes that the module returns."""
        return (leaf.node for leaf in self.outputs if isinstance(leaf, NodeOutput))


@dataclass(frozen=True, slots=True)
class NodeOutput:
    """A leaf of the module's result that a node computes."""

    node: int
