"""python -m profiler.split_table MODEL…: where a network can be cut, derived from the network itself.

A cut lies after a top-level layer. Everything computed before it and read behind it must be sent: in a
network with skip connections that is more than the layer's own output, and a tensor that several layers
read is counted once. A layer that is used several times (the default network's upsampling) has no one place,
and is no cut. What reads the tables is `profiler.latency.split_table`; only deriving one needs torch.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from typing import Any

import yaml

from conf.search_path import writable_folder
from profiler.latency.split_table import Cut, SplitTable


def derive_split_table(model: str, network: str, resolution_px: tuple[int, int]) -> SplitTable:
    """Trace a network of ``kernels.models`` on shapes alone and list its cuts.

    Args:
        model: the profile's name, such as ``yolo11m-seg-1024``.
        network: the network's name, such as ``yolo11m-seg``.
        resolution_px: height and width of the input.
    """
    import torch
    from torch import fx
    from torch.utils.flop_counter import FlopCounterMode

    from kernels.models import build_model

    class LayerTracer(fx.Tracer):
        """Keeps the members of the network's ``model`` list whole."""

        def is_leaf_module(self, module: torch.nn.Module, name: str) -> bool:
            return name.count(".") <= 1

    with torch.device("meta"):
        whole = build_model(network)
        frame = torch.empty(1, 3, *resolution_px)
    graph = LayerTracer().trace(whole)
    order = {node: position for position, node in enumerate(graph.nodes)}
    values: dict[fx.Node, Any] = {}
    flops: dict[fx.Node, int] = {}
    with torch.no_grad():
        for node in graph.nodes:
            arguments = fx.node.map_arg(node.args, values.__getitem__)
            counter = FlopCounterMode(display=False)
            with counter:
                if node.op == "placeholder":
                    values[node] = frame
                elif node.op == "call_module":
                    values[node] = whole.get_submodule(str(node.target))(*arguments)
                elif node.op == "call_function":
                    values[node] = node.target(*arguments, **node.kwargs)
                elif node.op == "output":
                    values[node] = arguments[0]
                else:
                    raise ValueError(f"{network}: expected layers and functions, found {node.op} {node.name}")
            flops[node] = counter.get_total_flops()
    total = sum(flops.values())
    used = Counter(node.target for node in graph.nodes if node.op == "call_module")
    cuts = []
    before = 0
    for node in graph.nodes:
        before += flops[node]
        if node.op not in ("placeholder", "call_module") or used[node.target] > 1:
            continue
        live = [
            tensor
            for producer in order
            if order[producer] <= order[node] and any(order[user] > order[node] for user in producer.users)
            for tensor in _tensors(values[producer])
        ]
        after = "input" if node.op == "placeholder" else str(node.target).removeprefix("model.")
        cuts.append(Cut(after, len(live), sum(tensor.numel() for tensor in live), round(before / total, 6)))
    return SplitTable(model, resolution_px, total // 2, tuple(cuts))


def _tensors(value: Any) -> list[Any]:
    """The tensors of a nested output."""
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in _tensors(item)]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _tensors(item)]
    return [value]


def main(arguments: list[str]) -> int:
    """Write the tables of the named models to split/; a number at the end is the input's side."""
    for model in arguments:
        network, _, side = model.rpartition("-")
        network, side_px = (network, int(side)) if side.isdigit() else (model, 640)
        table = derive_split_table(model, network, (side_px, side_px))
        path = writable_folder("model/split") / f"{model}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_text(table), encoding="utf-8")
        print(f"{path}: {len(table.cuts)} cuts")
    return 0


def _text(table: SplitTable) -> str:
    head = (
        f"# Written by: python -m profiler.split_table {table.model}\n"
        "# What crosses the link if the network is cut after a layer, in elements (× bytes an element).\n"
        "# The last row is the network's raw output maps; a result decoded on the edge is not sent at all.\n"
    )
    content = {
        "model": table.model,
        "resolution_px": list(table.resolution_px),
        "provenance": {
            "kind": "derived",
            "source": "traced from the network in kernels/models, convolutions and matrix products counted",
        },
        "multiplications": table.multiplications,
    }
    rows = "".join(
        "- " + yaml.safe_dump(asdict(cut), default_flow_style=True, sort_keys=False, width=200)
        for cut in table.cuts
    )
    return (
        f"{head}{yaml.safe_dump(content, sort_keys=False, width=110, default_flow_style=None)}cuts:\n{rows}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
