"""Both paths at once: disjoint blocks on the edge and in the cloud, at the same time.

With N active blocks that either side can compute, k_e of them on the edge and k_c in the cloud give

    EA(k_e, k_c) = A · (k_e + k_c)/N · exp(−λ·max(T_e(k_e), T_c(k_c))),    k_e + k_c ≤ N

where a side with no block costs nothing: neither its constant part nor its delays. (Neither paper has it.)

**The best split is a merge.** Neither T falls as its k grows. Within a time t the edge finishes
#{k : T_e(k) ≤ t} blocks and the cloud #{k : T_c(k) ≤ t}, so both together finish n blocks soonest at

    L(n) = the n-th smallest of T_e(1), …, T_e(N), T_c(1), …, T_c(N)

and a split that attains it takes from each side what is done by then. Any split of n blocks takes at least
L(n), hence max EA = max over n in [1, N] of A·n/N·exp(−λ·L(n)), of which every n is compared. Choosing one
path alone is a case of it: no T of the other side is among the n smallest. It needs no form of the curves,
takes O(N) after a merge of two sorted lists, and of equally good splits gives the smallest n, with as many
of them on the edge as finish in time: those send nothing.

**The oracle's** T_c follows the link's true future. It still never falls, but each value of it costs a
question to the link, so k_c is sought by branch and bound as in :mod:`sim.schedulers.oracle`: for k_c in
[l, h] no split is better than max over k_e of ln min(k_e + h, N) − λ·max(T_e(k_e), T_c(l)).

Each side's T counts the blocks of a list of its own. Where a margin makes what is computed depend on which
blocks are taken (``PathCost.computed``), the lists should start at opposite ends, so that both are disjoint.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from operator import itemgetter
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from profiler.latency import best_of_times
from sim.schedulers.effective_accuracy import effective_accuracy
from sim.schedulers.interface import Decision, ExecutionPath, Observation
from sim.schedulers.objective import DEFAULT_OBJECTIVE, EffectiveAccuracyObjective, no_path
from sim.schedulers.online import EffectiveAccuracyScheduler
from sim.schedulers.oracle import true_latency_s
from sim.schedulers.path_cost import PathCost

Times = NDArray[np.float64]
Counts = tuple[int | None, int | None]  # k_e and k_c


class SplitDecision(NamedTuple):
    """How many blocks each side takes; None: that side is not asked."""

    active: int  # N
    k_edge: int | None
    k_cloud: int | None
    predicted_latency_s: float
    predicted_ea: float
    extrapolated: bool  # on either side

    @property
    def k(self) -> int:
        """Blocks processed, on both sides together."""
        return (self.k_edge or 0) + (self.k_cloud or 0)

    @property
    def blocks_sent(self) -> int:
        """Blocks that cross the uplink before the result."""
        return self.k_cloud or 0


def as_split(decision: Decision, active: int) -> SplitDecision:
    """A decision for one path as the split that it is."""
    on_edge = decision.path is ExecutionPath.EDGE
    return SplitDecision(
        active,
        decision.k if on_edge else None,
        None if on_edge else decision.k,
        decision.predicted_latency_s,
        decision.predicted_ea,
        decision.extrapolated,
    )


def times_of(cost: PathCost) -> Times:
    """(N,) T(1), …, T(N) of a path; it never falls."""
    counts = np.arange(1, cost.active + 1)
    computed = counts + cost.unsent if cost.computed is None else np.asarray(cost.computed[1:])
    times_s = cost.curve.seconds_of(computed)
    np.minimum(times_s, cost.dense_s, out=times_s)
    times_s += counts * cost.per_block_s
    times_s += cost.wait_s
    return times_s


@dataclass(frozen=True, slots=True)
class SplitScheduler:
    """The best k_e and k_c by what an edge can know."""

    objective: EffectiveAccuracyObjective = DEFAULT_OBJECTIVE

    def decide(self, observation: Observation) -> SplitDecision:
        """Decide for one frame; where nothing is active, the side that says so sooner, a tie on the edge.

        Raises:
            ValueError: the observation has no path, or its paths differ in the number of active blocks.
        """
        edge, cloud, active = _sides(observation)
        if active:
            k_edge, k_cloud = self._best(observation)
            latency_s = self._latency_s(observation, k_edge, k_cloud)
        else:
            options: list[Counts] = ([(0, None)] if edge else []) + ([(None, 0)] if cloud else [])
            timed = [(self._latency_s(observation, *counts), counts) for counts in options]
            latency_s, (k_edge, k_cloud) = min(timed, key=itemgetter(0))
        k = (k_edge or 0) + (k_cloud or 0)
        objective = self.objective
        ea = effective_accuracy(objective.dense_accuracy, k, active, latency_s, objective.decay_per_s)
        extrapolated = any(
            cost.is_extrapolated(k)
            for cost, k in ((edge, k_edge), (cloud, k_cloud))
            if cost is not None and k is not None
        )
        return SplitDecision(active, k_edge, k_cloud, latency_s, ea, extrapolated)

    def _latency_s(self, observation: Observation, k_edge: int | None, k_cloud: int | None) -> float:
        sides = ((observation.edge, k_edge), (observation.cloud, k_cloud))
        return max(cost.latency_s(k) for cost, k in sides if cost is not None and k is not None)

    def _best(self, observation: Observation) -> Counts:
        """The best numbers of blocks where at least one is active."""
        edge, cloud, active = _sides(observation)
        edge_s, cloud_s = _times_if(edge), _times_if(cloud)
        soonest_s = np.sort(np.concatenate([edge_s, cloud_s]), kind="stable")[:active]
        if not len(soonest_s):
            return _hopeless(edge)
        n = best_of_times(soonest_s, self.objective.decay_per_s)
        k_edge = min(int(np.searchsorted(edge_s, soonest_s[n - 1], side="right")), n)
        return k_edge or None, n - k_edge or None


@dataclass(frozen=True, slots=True)
class SplitOracle(SplitScheduler):
    """The best split given how the uplink will really behave (the observation carries it)."""

    wants_truth: ClassVar[bool] = True  # systems put the link's future into its observations

    def _latency_s(self, observation: Observation, k_edge: int | None, k_cloud: int | None) -> float:
        return true_split_latency_s(observation, k_edge, k_cloud)

    def _best(self, observation: Observation) -> Counts:
        edge, cloud, active = _sides(observation)
        decay_per_s = self.objective.decay_per_s
        edge_s = _times_if(edge)
        best_score, best = -math.inf, _hopeless(edge)
        if len(edge_s):
            k = best_of_times(edge_s, decay_per_s)
            best_score, best = math.log(k) - decay_per_s * float(edge_s[k - 1]), (k, None)
        if cloud is None:
            return best

        def arrival_s(k: int) -> float:
            return true_latency_s(observation, ExecutionPath.CLOUD, k)

        def beside(low: int, high: int, cloud_s: float) -> tuple[float, int]:
            """A bound for k_c in [low, high]; what is reached, where both are the same."""
            return _beside(edge_s[: active - low], high, active, cloud_s, decay_per_s)

        open_intervals = [(-math.inf, 1, active, arrival_s(1))]
        while open_intervals and -open_intervals[0][0] > best_score:
            _, low, high, low_s = heapq.heappop(open_intervals)
            score, k_edge = beside(low, low, low_s)
            if score > best_score:
                best_score, best = score, (k_edge or None, low)
            if low < high:
                middle = (low + high + 1) // 2
                middle_s = arrival_s(middle)
                for start, end, start_s in ((low, middle - 1, low_s), (middle, high, middle_s)):
                    bound, _ = beside(start, end, start_s)
                    heapq.heappush(open_intervals, (-bound, start, end, start_s))
        return best


def true_split_latency_s(observation: Observation, k_edge: int | None, k_cloud: int | None) -> float:
    """The latency that a split will really have, computation at its expected value.

    Raises:
        ValueError: the observation lacks a side that is used or, for the cloud, the true uplink.
    """
    sides = ((ExecutionPath.EDGE, k_edge), (ExecutionPath.CLOUD, k_cloud))
    return max(true_latency_s(observation, path, k) for path, k in sides if k is not None)


def true_split_effective_accuracy(
    observation: Observation, decision: SplitDecision, objective: EffectiveAccuracyObjective
) -> float:
    """The effective accuracy that a split will really have."""
    latency_s = true_split_latency_s(observation, decision.k_edge, decision.k_cloud)
    return effective_accuracy(
        objective.dense_accuracy, decision.k, decision.active, latency_s, objective.decay_per_s
    )


def split_regret(
    observation: Observation,
    decision: SplitDecision,
    oracle_decision: SplitDecision,
    objective: EffectiveAccuracyObjective,
) -> float:
    """The effective accuracy lost by ``decision`` against the oracle's, both in the true future; ≥ 0.

    A decision for one path is judged by it, too (:func:`as_split`): what it lost includes what splitting
    would have gained.
    """
    best = true_split_effective_accuracy(observation, oracle_decision, objective)
    return best - true_split_effective_accuracy(observation, decision, objective)


def _sides(observation: Observation) -> tuple[PathCost | None, PathCost | None, int]:
    edge, cloud, _ = observation
    costs = [cost for cost in (edge, cloud) if cost is not None]
    if not costs:
        raise no_path()
    if costs[0].active != costs[-1].active:
        raise ValueError(
            "observation: expected paths over the same active blocks, "
            f"found {costs[0].active} on the edge and {costs[1].active} in the cloud"
        )
    return edge, cloud, costs[0].active


def _finite(times_s: Times) -> Times:
    """Those that are ever reached: all before the first infinite one."""
    return times_s[: int(np.searchsorted(times_s, math.inf))]


def _times_if(cost: PathCost | None) -> Times:
    """T(1), T(2), … of a path, as far as it is there and they are ever reached."""
    if cost is None:
        return np.empty(0)
    return _finite(times_of(cost))


def _hopeless(edge: PathCost | None) -> Counts:
    """One block, where no side ever finishes."""
    return (1, None) if edge else (None, 1)


def _beside(edge_s: Times, k_cloud: int, most: int, cloud_s: float, decay_per_s: float) -> tuple[float, int]:
    """The largest ln min(k_e + k_c, N) − λ·max(T_e(k_e), T_c) over k_e, and that k_e.

    Args:
        edge_s: (n,) T_e(1), …, T_e(n), finite.
        k_cloud: k_c ≥ 1, taking ``cloud_s``.
        most: N, in blocks.
    """
    if cloud_s == math.inf:
        return -math.inf, 0
    free = int(np.searchsorted(edge_s, cloud_s, side="right"))  # they take no longer than the cloud
    best, best_k = math.log(min(free + k_cloud, most)) - decay_per_s * cloud_s, free
    if free < len(edge_s):
        counts = np.minimum(np.arange(free + 1, len(edge_s) + 1) + k_cloud, most)
        scores = np.log(counts) - decay_per_s * edge_s[free:]
        i = int(scores.argmax())
        if scores[i] > best:
            best, best_k = float(scores[i]), free + 1 + i
    return best, best_k


@dataclass(frozen=True, slots=True)
class PathsAtOnceScheduler(EffectiveAccuracyScheduler):
    """``scheduler=split``: both paths at once where that is worth more than either alone.

    A system that can divide a frame asks ``divide`` about the blocks that either side could compute; one
    that cannot is told the better path, as by ``ea``.
    """

    def divide(self, both: Observation) -> SplitDecision:
        """The best split of blocks that either side could compute; see :class:`SplitScheduler`."""
        return SplitScheduler(self.objective).decide(both)

    def oracle(self) -> SplitOracle:
        """The same with the link's true future."""
        return SplitOracle(self.objective)
