"""Per-layer times and sizes: the split table that systems with a cut network choose from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
Timer = Callable[[Callable[[], object]], float]


@dataclass(frozen=True, slots=True)
class LayerSize:
    """A layer's output, and everything that must cross a cut right after it (skip connections included)."""

    name: str
    output_bytes: int
    live_bytes: int


class _LayerTracer(fx.Tracer):
    """Stops at the first module below the root that is not a container: a layer as the papers count."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not isinstance(m, CONTAINERS)


class LayerTable:
    """A model cut into its top-level layers, in order of execution."""

    def __init__(self, module: fx.GraphModule) -> None:
        self._module = module
        self._nodes = [node for node in module.graph.nodes if node.op != "output"]

    @classmethod
    def of(cls, model: nn.Module) -> LayerTable | None:
        """The layers of a model; None where its control flow depends on values and cannot be traced."""
        try:
            return cls(fx.GraphModule(model, _LayerTracer().trace(model)))
        except (fx.proxy.TraceError, TypeError, NotImplementedError):
            return None

    def time(self, frame: Tensor, seconds: Timer) -> list[tuple[str, float]]:
        """Time every layer in one inference; work between layers (a concatenation) counts to the next one."""
        run = _Run(self._module, frame)
        rows: list[tuple[str, float]] = []
        waiting_s = 0.0
        for node in self._nodes:
            waiting_s += seconds(lambda node=node: run.step(node))  # type: ignore[misc]
            if node.op == "call_module":
                rows.append((str(node.target), waiting_s))
                waiting_s = 0.0
        return rows

    def sizes(self, frame: Tensor) -> list[LayerSize]:
        """What each layer puts out, and what is still needed after it."""
        run = _Run(self._module, frame, keep=True)
        order = {node: i for i, node in enumerate(self._module.graph.nodes)}
        for node in self._nodes:
            run.step(node)
        found = []
        for node in self._nodes:
            if node.op != "call_module":
                continue
            at = order[node]
            live = [
                one for one in self._nodes if order[one] <= at and any(order[user] > at for user in one.users)
            ]
            found.append(
                LayerSize(
                    str(node.target), _bytes(run.values[node]), sum(_bytes(run.values[one]) for one in live)
                )
            )
        return found


class _Run(fx.Interpreter):
    """Executes a graph node by node and drops values after their last use, as eager execution does."""

    def __init__(self, module: fx.GraphModule, frame: Tensor, keep: bool = False) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.args_iter = iter((frame,))
        self.values: dict[fx.Node, Any] = self.env
        self._keep = keep
        self._last_users: dict[fx.Node, list[fx.Node]] = {}
        for node in reversed(module.graph.nodes):
            for used in node.all_input_nodes:
                if not any(used in users for users in self._last_users.values()):
                    self._last_users.setdefault(node, []).append(used)

    def step(self, node: fx.Node) -> None:
        self.env[node] = self.run_node(node)
        if not self._keep:
            for done in self._last_users.get(node, ()):
                del self.env[done]


def _bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_bytes, value))
    return 0
