"""Layers that feed only outputs which matter near salient content, such as the masks that a detector paints.

Such a layer has an active set of its own: it is computed at the salient blocks among the active ones, and its
maps are moved elsewhere. In a plan it has a resolution of its own, of the same size and place.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils import _pytree as pytree

from kernels.executor.graph.nodes import Concat, Graph, NodeOutput, Slice
from kernels.torch_versions import tree_leaves


def salient_only_nodes(graph: Graph, names: Sequence[str]) -> frozenset[int]:
    """The map nodes whose every way leads to the outputs under these keys of the module's result, a mapping.

    Raises:
        ValueError: the result has no such key.
    """
    if not names:
        return frozenset()
    result = pytree.tree_unflatten(graph.outputs, graph.structure)
    keys = sorted(map(str, result)) if isinstance(result, dict) else []
    for name in names:
        if name not in keys:
            raise ValueError(f"salient_outputs must be keys of the module's result, of {keys} (got {name!r})")
    others = [value for key, value in result.items() if key not in names]
    wanted = {leaf.node for leaf in tree_leaves(others) if isinstance(leaf, NodeOutput)}
    consumers = graph.consumers()
    found: set[int] = set()
    for index in reversed(range(1, len(graph.nodes))):
        node = graph.nodes[index]
        if node.is_map and index not in wanted and all(reader in found for reader in consumers[index]):
            found.add(index)
    # Parts and wholes share memory, and with it the active set.
    while True:
        mixed = {
            read if index in found else index
            for index, node in enumerate(graph.nodes)
            if isinstance(node.operation, (Slice, Concat))
            for read in node.inputs
            if (index in found) != (read in found)
        } & found
        outside = {
            index
            for index in found - mixed
            if not all(reader in found - mixed for reader in consumers[index])
        }
        if not mixed | outside:
            return frozenset(found)
        found -= mixed | outside
