"""Self-attention at the active tokens: the part of a graph that is one, found by what its calls do.

The recorded calls of an attention compute all tokens of a map from all tokens. Where only some tokens are
active, only their queries are needed: keys and values of the others are in the cache. What the calls between
the two products and the softmax do is move numbers about; run on a map of indices, they say which channel of
which token each operand holds. So an attention is recognised whatever way it is written, and not by the names
of a library.

    out[i] = Σ_j softmax_j(factor · q[i] · k[j]) v[j]        for each head, i an active token, j any token
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from kernels.executor.graph.module_trace import TracedValue
from kernels.executor.graph.nodes import DenseCall, Graph, TensorToMap

_MOVES = {
    *("view", "_unsafe_view", "_reshape_alias", "reshape", "expand", "transpose", "permute", "t"),
    *("split", "split_with_sizes", "slice", "select", "squeeze", "unsqueeze", "unbind", "chunk"),
    *("clone", "contiguous"),
}
_MOST_NUMBERS = 2**23  # in one tensor: the maps of indices are made at planning, and are eight bytes each
_RESHAPES = {"view", "_unsafe_view", "_reshape_alias"}


@dataclass(frozen=True, slots=True)
class TokenMap:
    """A map that is made of another one's tokens, by index of its node.

    Attributes:
        source: the map node that all is read from.
        queries, keys, values: channels of `source`, (heads, d), (heads, d), (heads, e); None where the map
            only takes over channels.
        factor: of the products of queries and keys.
        channels: for each channel of the map, that of the (heads · e) results, or of `source`.
    """

    source: int
    channels: torch.Tensor
    queries: torch.Tensor | None = None
    keys: torch.Tensor | None = None
    values: torch.Tensor | None = None
    factor: float = 1.0

    def at(self, source: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The map's values (n, C) at some tokens.

        Args:
            source: (H · W, channels), complete.
            tokens: int64 (n,).
        """
        here = source.index_select(0, tokens)
        if self.queries is None or self.keys is None or self.values is None:
            return here.index_select(1, self.channels)
        heads = self.queries.shape[0]
        queries = here.index_select(1, self.queries.flatten()).view(len(tokens), heads, -1).transpose(0, 1)
        keys = source.index_select(1, self.keys.flatten()).view(len(source), heads, -1).permute(1, 2, 0)
        values = source.index_select(1, self.values.flatten()).view(len(source), heads, -1).transpose(0, 1)
        shares = torch.bmm(queries, keys).mul_(self.factor).softmax(-1)
        made = torch.bmm(shares, values).transpose(0, 1).reshape(len(tokens), -1)
        return made.index_select(1, self.channels)


def find_token_maps(graph: Graph) -> dict[int, TokenMap]:
    """The `TensorToMap` nodes of a graph that are an attention over one map, or channels of it."""
    found = {}
    for index, node in enumerate(graph.nodes):
        if isinstance(node.operation, TensorToMap):
            made = _taken_over(graph, index) or _attention(graph, index)
            if made is not None:
                found[index] = made
    return found


def _taken_over(graph: Graph, index: int) -> TokenMap | None:
    node = graph.nodes[index]
    moved = _moved(graph, node.inputs[0])
    if moved is None or not graph.nodes[moved.origin].is_map:
        return None
    height, width, channels = node.map_shape()
    if moved.indices.shape != (1, channels, height, width):
        return None
    tokens = height * width
    return _channels(moved.indices.reshape(channels, tokens), tokens, moved.origin)


def _channels(indices: torch.Tensor, tokens: int, origin: int) -> TokenMap | None:
    """Of (channels, tokens): the channel that each row is of, if all of it is of one, in order."""
    channels = _of_tokens(indices, tokens)
    return None if channels is None else TokenMap(origin, channels)


def _attention(graph: Graph, index: int) -> TokenMap | None:
    """Backwards: result, product of shares and values, softmax, product of queries and keys."""
    height, width, channels = graph.nodes[index].map_shape()
    tokens = height * width
    result = _moved(graph, graph.nodes[index].inputs[0])
    if result is None or result.indices.shape != (1, channels, height, width):
        return None
    operands = _product(graph, result.origin)
    if operands is None:
        return None
    left, right = operands
    # Shares of (query, key) times values, or values times shares of (key, query).
    for shares, values, turned in ((left, right, False), (right, left, True)):
        softmax = _call(graph, shares.origin, "_softmax")
        if softmax is None or not graph.nodes[values.origin].is_map:
            continue
        heads = shares.indices.shape[0]
        order = torch.arange(shares.indices.numel()).view(heads, tokens, tokens)
        if not torch.equal(shares.indices, order.transpose(1, 2) if turned else order):
            continue
        each = values.indices if turned else values.indices.transpose(1, 2)  # (heads, e, key)
        places = torch.arange(heads * each.shape[1] * tokens).view(heads, -1, tokens)
        if not turned:
            places = places.view(heads, tokens, -1).transpose(1, 2)
        held = _of_tokens(each.flatten(0, 1), tokens)
        position = torch.empty(places.numel(), dtype=torch.int64)
        position[places.flatten()] = torch.arange(places.numel())  # of a result: (head · e) · tokens + query
        out = _of_tokens(position[result.indices.flatten()].view(channels, tokens), tokens)
        scores = _scores(graph, softmax, tokens, heads)
        if held is None or out is None or scores is None or scores.source != values.origin:
            continue
        return TokenMap(values.origin, out, scores.queries, scores.keys, held.view(heads, -1), scores.factor)
    return None


def _scores(graph: Graph, softmax: DenseCall, tokens: int, heads: int) -> TokenMap | None:
    """What the softmax is of: a multiple of the products of queries and keys, over the keys."""
    shape = (heads, tokens, tokens)
    value, dimension = softmax.call.args[:2]
    if not isinstance(value, TracedValue):
        return None
    node, factor = graph.values[value.index], 1.0
    scaled = _moved(graph, node)
    if scaled is None:
        return None
    if dimension not in (-1, scaled.indices.dim() - 1):
        return None
    indices, origin = scaled.indices, scaled.origin
    while True:
        multiple = _call(graph, origin, "mul")
        if multiple is None:
            break
        first, second = multiple.call.args[:2]
        if not isinstance(first, TracedValue) or not isinstance(second, (int, float)):
            return None
        factor *= second
        before = _moved(graph, graph.values[first.index])
        if before is None:
            return None
        indices, origin = before.indices.flatten()[indices], before.origin
    operands = _product(graph, origin)
    order = torch.arange(heads * tokens * tokens)
    if operands is None or indices.numel() != order.numel() or not torch.equal(indices.flatten(), order):
        return None
    queries, keys = operands
    if queries.origin != keys.origin or not graph.nodes[keys.origin].is_map:
        return None
    if queries.indices.shape[:2] != shape[:2] or keys.indices.shape[::2] != shape[::2]:
        return None
    of_queries = _of_tokens(queries.indices.transpose(1, 2).flatten(0, 1), tokens)
    of_keys = _of_tokens(keys.indices.flatten(0, 1), tokens)
    if of_queries is None or of_keys is None:
        return None
    return TokenMap(keys.origin, of_keys, of_queries.view(heads, -1), of_keys.view(heads, -1), factor=factor)


def _of_tokens(indices: torch.Tensor, tokens: int) -> torch.Tensor | None:
    """Of (n, tokens) flat indices into (channels, tokens): the one channel of each row, tokens in order."""
    if indices.shape[1] != tokens or not torch.equal(
        indices % tokens, torch.arange(tokens).expand_as(indices)
    ):
        return None
    channels = indices // tokens
    return channels[:, 0].contiguous() if bool((channels == channels[:, :1]).all()) else None


@dataclass(frozen=True, slots=True)
class _Moved:
    """A tensor that holds another's numbers in other places.

    Attributes:
        origin: the node that made them.
        indices: into its result, contiguous and flat.
    """

    origin: int
    indices: torch.Tensor


def _call(graph: Graph, node: int, name: str) -> DenseCall | None:
    operation = graph.nodes[node].operation
    return operation if isinstance(operation, DenseCall) and operation.call.name == name else None


def _product(graph: Graph, node: int) -> tuple[_Moved, _Moved] | None:
    product = _call(graph, node, "bmm")
    if product is None or not all(isinstance(value, TracedValue) for value in product.call.args[:2]):
        return None
    left, right = (_moved(graph, graph.values[value.index]) for value in product.call.args[:2])
    return None if left is None or right is None else (left, right)


def _moved(graph: Graph, node: int) -> _Moved | None:
    """Where the numbers of a tensor come from, back to what computes some."""
    chain: list[DenseCall] = []
    while True:
        operation = graph.nodes[node].operation
        if not isinstance(operation, DenseCall) or operation.call.name not in _MOVES:
            break
        if operation.call.is_reinterpreted or not isinstance(operation.call.args[0], TracedValue):
            return None
        chain.append(operation)
        node = graph.values[operation.call.args[0].index]
    shape = _shape(graph, node)
    if shape is None or math.prod(shape) > _MOST_NUMBERS:
        return None
    indices = torch.arange(math.prod(shape)).view(shape)
    for operation in reversed(chain):
        moved = _replayed(operation, indices)
        if moved is None:
            return None
        indices = moved
    return _Moved(node, indices)


def _replayed(operation: DenseCall, indices: torch.Tensor) -> torch.Tensor | None:
    call = operation.call
    run: Callable[..., Any] = call.function
    try:
        if call.name in _RESHAPES:
            made: Any = indices.reshape(call.args[1])
        else:
            made = run(indices, *call.args[1:], **call.kwargs)
    except RuntimeError:  # of another dtype or layout than it takes: then nothing is known
        return None
    found: torch.Tensor = made[operation.result] if isinstance(made, (tuple, list)) else made
    return found


def _shape(graph: Graph, node: int) -> tuple[int, ...] | None:
    """Of a map (1, C, H, W), of a product of matrices, a multiple or a softmax; None of anything else."""
    one = graph.nodes[node]
    if one.is_map:
        height, width, channels = one.map_shape()
        return (1, channels, height, width)
    operands = _product(graph, node)
    if operands is not None:
        return (*operands[0].indices.shape[:2], operands[1].indices.shape[2])
    operation = _call(graph, node, "mul") or _call(graph, node, "_softmax")
    if operation is None or not isinstance(operation.call.args[0], TracedValue):
        return None
    moved = _moved(graph, graph.values[operation.call.args[0].index])
    return None if moved is None else tuple(moved.indices.shape)
