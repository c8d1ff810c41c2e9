"""Break-evens: from which share of active positions a layer runs faster in full, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch

from kernels.executor.graph.nodes import Convolution, TransposedConvolution
from kernels.executor.plan.execution_plan import ExecutionPlan, pack_for_torch
from kernels.executor.policies.dense import run_dense
from kernels.executor.policies.fixed import compute_fixed
from kernels.executor.policies.sparse_request import SparseRequest, active_sets_of
from kernels.executor.state import active_sets
from kernels.executor.state.active_sets import ActiveSet
from kernels.executor.state.arenas import Arena, ArenaPool
from kernels.executor.state.node_runner import NodeRunner, runs_whole
from kernels.ops.maps import list_tiles

SHARES = (0.25, 0.5, 0.75, 1.0)
# Torch's own convolution has to be clearly faster than the backend's: it takes a layer out of the programs.
_CLEARLY = 0.9


def break_even_share(shares: Sequence[float], times_s: Sequence[float], full_s: float) -> float | None:
    """The share at which a sparse run takes as long as a full one, or None if it never does.

    From there on it takes at least as long at every share measured: one slow run below does not count.
    Between the shares time is taken as linear, below the first as proportional to the share.

    Args:
        shares: ascending, in (0, 1].
        times_s: of a sparse run at each share.
        full_s: of a full run.
    """
    points = [(0.0, 0.0), *zip(shares, times_s, strict=True)]
    slow = len(points)
    while slow > 1 and points[slow - 1][1] >= full_s:
        slow -= 1
    if slow == len(points):
        return None
    (before, time_before), (share, time_s) = points[slow - 1], points[slow]
    return before + (share - before) * (full_s - time_before) / (time_s - time_before)


def measure_layers(
    plan: ExecutionPlan, pool: ArenaPool, frame: torch.Tensor, block_px: int, policy: str, repeats: int
) -> dict[int, float]:
    """Break-evens of the layers for `ExecutionPlan.break_even`; layers that never break even are left out.

    Each layer runs on the maps of `frame`: at scattered blocks of each of `SHARES`, in full by the backend's
    own kernel, and under "fixed" in full by torch's own convolution as well. Where that is clearly the
    fastest full run it is noted in `ExecutionPlan.torch_weights`, so that full runs use it. The fastest of
    `repeats` interleaved runs counts.
    """
    size = [-(-side // block_px) for side in frame.shape[2:]]
    order = torch.randperm(size[0] * size[1], generator=torch.Generator().manual_seed(0)).view(size)
    vectors = torch.zeros(*size, 2, dtype=torch.int64)
    _, reference = run_dense(plan, pool, frame, block_px)
    runner, _held = run_dense(plan, pool, frame, block_px)  # dropping the cache would give its maps back
    sets = [
        active_sets_of(
            plan, SparseRequest(frame, order < share * order.numel(), vectors, reference, block_px)
        )
        for share in SHARES
    ]
    everything = [active_sets.full_tiles(one, block_px, plan.device) for one in plan.resolutions]
    found: dict[int, float] = {}
    for index in plan.reported:
        if runs_whole(plan, index):
            continue
        node = plan.nodes[index]
        key = plan.computed_resolution(index)

        runs: list[Callable[[], None]] = [partial(runner.compute, index, *everything[key])]
        for made in sets:
            if policy == "fixed":
                runs.append(partial(compute_fixed, plan, runner, reference.arena, made, index))
            else:
                runs.append(_by_positions(plan, runner, reference.arena, made, index, policy == "exact"))
        rival = policy == "fixed" and isinstance(node.operation, Convolution)
        if rival and isinstance(node.operation, Convolution):
            plan.torch_weights.setdefault(index, pack_for_torch(node.operation, plan.dtype))
            runs.append(partial(runner.compute_dense, index))
        times_s = _fastest(runs, repeats, plan.device)
        full_s = times_s[0]
        if rival and (plan.backends[index].name != "cpu" or times_s[-1] < _CLEARLY * full_s):
            full_s = times_s[-1]  # other backends always run their convolutions in full with torch
        elif rival:
            del plan.torch_weights[index]
        share = break_even_share(SHARES, times_s[1 : 1 + len(SHARES)], full_s)
        if share is not None:
            found[index] = share
    return found


def _by_positions(
    plan: ExecutionPlan,
    runner: NodeRunner,
    source: Arena,
    sets: dict[int, ActiveSet],
    index: int,
    moved: bool,
) -> Callable[[], None]:
    """A run at a list of positions; with `moved`, the rest of the map is moved along the vectors first."""
    node = plan.nodes[index]
    own = sets[plan.resolution_of(index)]
    listed = (
        sets[plan.resolution_of(node.inputs[0])] if isinstance(node.operation, TransposedConvolution) else own
    )
    positions = list_tiles(listed.fresh.cpu().bool()).to(plan.device)

    def run() -> None:
        assert plan.remap_backend is not None
        if moved:
            remap = plan.remap_backend.module.remap
            remap(source.views[index], own.displacement, runner.view(index), own.fresh)
        runner.compute(index, positions, (1, 1))

    return run


def _fastest(runs: Sequence[Callable[[], None]], repeats: int, device: torch.device) -> list[float]:
    """Seconds of the fastest of `repeats` runs of each, taken in turns after one to warm up."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.thread_time if alone else time.perf_counter  # which a busy machine does not disturb
    times_s = [float("inf")] * len(runs)
    for repeat in range(repeats + 1):
        for number, run in enumerate(runs):
            start = clock()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repeat > 0:
                times_s[number] = min(times_s[number], clock() - start)
    return times_s
