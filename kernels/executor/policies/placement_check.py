"""Whether maps that are made of tensors lie where the blocks do, as `fixed` and `adaptive` take for granted.

Behind a flip, a roll, a transposition or a crop by other means than a slice, a position stands for other
pixels than its place says. `exact` and `truncate` compute such maps everywhere and compare; the other
policies would compute the blocks of the frame there, and miss what changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import torch

from kernels.executor.graph.module_trace import UnsupportedModule, first_line
from kernels.executor.graph.nodes import DenseCall, Node, TensorToMap
from kernels.executor.plan.attention import find_token_maps
from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.policies.dense import run_dense
from kernels.executor.state.arenas import ArenaPool
from kernels.executor.state.node_runner import NodeRunner

# Of the frame, (down, across): no flip, transposition, swap of halves or quarter of it keeps all four.
_SPOTS = ((0.28, 0.28), (0.28, 0.72), (0.72, 0.28), (0.72, 0.55))
_LEAST_INSIDE = 0.25  # of the positions that lie where a change was
_NEAR = 2  # positions by which interpolation may spread a change


def check_placement(plan: ExecutionPlan, pool: ArenaPool, frame: torch.Tensor, block_px: int) -> None:
    """Change the maps behind each such map at a spot of about a block, and look for the change in its place.

    Raises:
        UnsupportedModule: it is elsewhere, and not there; with the path of the submodule.
    """
    known = find_token_maps(plan.graph)
    made = [
        index
        for index, node in enumerate(plan.nodes)
        if isinstance(node.operation, TensorToMap) and index not in known
    ]
    if not made:
        return
    runner, cache = run_dense(plan, pool, frame, block_px)
    for index in made:
        calls, sources = _behind(plan, index)
        for spot in _SPOTS if sources and calls else ():
            if _is_elsewhere(plan, pool, runner, index, calls, sources, spot, block_px):
                operation = plan.nodes[calls[-1]].operation
                path = operation.call.path if isinstance(operation, DenseCall) else plan.nodes[index].name
                where = f"model.{path}".removesuffix(".")
                raise UnsupportedModule(
                    f"{where}: puts positions of the frame in other places, as flips, rolls and "
                    "transpositions do; 'fixed' and 'adaptive' compute blocks in their places, 'exact' and "
                    "'truncate' follow"
                )
    del cache  # whose memory `runner` reads


def _behind(plan: ExecutionPlan, index: int) -> tuple[list[int], list[int]]:
    """The dense calls that a map is made by, in order, and the maps that these read."""
    calls, sources = set[int](), set[int]()
    waiting = list(plan.nodes[index].inputs)
    while waiting:
        one = waiting.pop()
        if plan.nodes[one].is_map:
            sources.add(one)
        elif one not in calls:
            calls.add(one)
            waiting += plan.nodes[one].inputs
    return sorted(calls), sorted(sources)


def _is_elsewhere(
    plan: ExecutionPlan,
    pool: ArenaPool,
    before: NodeRunner,
    index: int,
    calls: Iterable[int],
    sources: Iterable[int],
    spot: tuple[float, float],
    block_px: int,
) -> bool:
    node = plan.nodes[index]
    scales = [
        max(one.map_scale())
        for one in (node, *(plan.nodes[source] for source in sources))
        if one.map_shape()[:2] != (1, 1)  # a number for the whole frame
    ]
    side = max(Fraction(block_px), 3 * max(scales))
    height, width = plan.graph.frame_shape[2:]
    if side > min(height, width):
        return False  # a frame of a few positions: no spot is apart from the rest
    ends = height - side, width - side
    start = min(Fraction(int(spot[0] * height)), ends[0]), min(Fraction(int(spot[1] * width)), ends[1])
    after = NodeRunner(plan, pool, before.arena)
    noise = torch.Generator().manual_seed(0)
    for source in sources:
        image = before.view(source).permute(2, 0, 1)[None].clone(memory_format=torch.contiguous_format)
        rows, columns = (_positions(plan.nodes[source], axis, start[axis], side, 0) for axis in (0, 1))
        part = image[..., rows, columns]
        low, high = image.min(), image.max()
        part.copy_(low + (high - low + 1) * torch.rand(part.shape, generator=noise).to(part))
        after.tensors[source] = image
    try:
        for call in calls:
            after.run_whole(call)
    except RuntimeError as error:
        raise UnsupportedModule(first_line(error)) from error
    result = node.inputs[0]
    made, was = after.tensors[result], before.tensors.get(result)
    if was is None:
        return False
    changed = (made != was)[0].any(0)
    inside = changed[_positions(node, 0, start[0], side, -1), _positions(node, 1, start[1], side, -1)]
    if not inside.numel() or float(inside.float().mean()) >= _LEAST_INSIDE:
        return False
    changed[_positions(node, 0, start[0], side, _NEAR), _positions(node, 1, start[1], side, _NEAR)] = False
    return bool(changed.any())


def _positions(node: Node, axis: int, start: Fraction, side: Fraction, margin: int) -> slice:
    """Positions of the pixels [start, start + side) along an axis, grown by some at both ends."""
    scale, offset = node.map_scale()[axis], sum(node.offsets[axis]) / 2
    first, end = (start - offset) / scale, (start + side - offset) / scale
    least = (math.ceil(first) if margin < 0 else math.floor(first)) - margin
    most = (math.floor(end) if margin < 0 else math.ceil(end)) + margin
    return slice(max(0, least), max(0, most))
