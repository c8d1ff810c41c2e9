"""From which share of active positions each layer is faster run in full: measured, layer by layer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch

from kernels.executor.graph.nodes import Convolve, Unfold
from kernels.executor.plan.plan import Plan, dense_weights
from kernels.executor.policies.dense import run_dense
from kernels.executor.policies.fixed import compute_fixed, levels_of
from kernels.executor.policies.request import Request
from kernels.executor.state import active_sets
from kernels.executor.state.cache import Arena, Level, Pool
from kernels.executor.state.steps import Steps, runs_whole
from kernels.ops.maps import list_tiles

SHARES = (0.25, 0.5, 0.75, 1.0)
# Torch's own convolution has to be clearly faster than the backend's: it takes a layer out of the programs.
_CLEARLY = 0.9


def crossing(shares: Sequence[float], times_s: Sequence[float], full_s: float) -> float | None:
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
    plan: Plan, pool: Pool, frame: torch.Tensor, block_px: int, policy: str, repeats: int
) -> dict[int, float]:
    """Break-evens of the layers for `Plan.break_even`; layers that never break even are left out.

    Each layer runs on the maps of `frame`: at scattered blocks of each of `SHARES`, in full by the backend's
    own kernel, and under "fixed" in full by torch's own convolution as well. Where that is clearly the
    fastest full run it is noted in `Plan.dense`, so that full runs use it. The fastest of `repeats`
    interleaved runs counts.
    """
    size = [-(-side // block_px) for side in frame.shape[2:]]
    order = torch.randperm(size[0] * size[1], generator=torch.Generator().manual_seed(0)).view(size)
    vectors = torch.zeros(*size, 2, dtype=torch.int64)
    _, reference = run_dense(plan, pool, frame, block_px)
    steps, _held = run_dense(plan, pool, frame, block_px)  # dropping the cache would give its maps back
    levels = [
        levels_of(plan, Request(frame, order < share * order.numel(), vectors, reference, block_px))
        for share in SHARES
    ]
    everything = [active_sets.full_level(one, block_px, plan.device) for one in plan.resolutions]
    found: dict[int, float] = {}
    for index in plan.counted:
        if runs_whole(plan, index):
            continue
        node = plan.nodes[index]
        key = plan.level(node.inputs[0] if isinstance(node.work, Unfold) else index)

        runs: list[Callable[[], None]] = [partial(steps.compute, index, *everything[key])]
        for made in levels:
            if policy == "fixed":
                runs.append(partial(compute_fixed, plan, steps, reference.arena, made, index))
            else:
                runs.append(_by_positions(plan, steps, reference.arena, made, index, policy == "exact"))
        rival = policy == "fixed" and isinstance(node.work, Convolve)
        if rival and isinstance(node.work, Convolve):
            plan.dense.setdefault(index, dense_weights(node.work, plan.dtype))
            runs.append(partial(steps.compute_dense, index))
        times_s = _fastest(runs, repeats, plan.device)
        full_s = times_s[0]
        if rival and (plan.choices[index].name != "cpu" or times_s[-1] < _CLEARLY * full_s):
            full_s = times_s[-1]  # other backends always run their convolutions in full with torch
        elif rival:
            del plan.dense[index]
        share = crossing(SHARES, times_s[1 : 1 + len(SHARES)], full_s)
        if share is not None:
            found[index] = share
    return found


def _by_positions(
    plan: Plan, steps: Steps, source: Arena, levels: dict[int, Level], index: int, moved: bool
) -> Callable[[], None]:
    """A list of positions, after the rest of the map if that is `moved`."""
    node = plan.nodes[index]
    own = levels[plan.level(index)]
    listed = levels[plan.level(node.inputs[0])] if isinstance(node.work, Unfold) else own
    positions = list_tiles(listed.fresh.cpu().bool()).to(plan.device)

    def run() -> None:
        assert plan.remapper is not None
        if moved:
            remap = plan.remapper.module.remap
            remap(source.views[index], own.displacement, steps.view(index), own.fresh)
        steps.compute(index, positions, (1, 1))

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
