"""The oracle scheduler, which knows the true future of the uplink, and the regret of any other plan.

On the cloud path EA(k) is no longer unimodal: the message's arrival follows the real link, with its steps
and outages. It is still monotone, since more bytes never arrive sooner, and that makes an exact search
cheap. Within k in [l, h] the message arrives no sooner than for l, so with C(k) the computation

    ln EA(k) ≤ −λ·arrival(l) + max over [l, h] of (ln k − λ·C(k)) − ln N − λ·after

whose second term has the closed form of :mod:`sim.schedulers.effective_accuracy`. Halving the interval
with the largest bound first (branch and bound) ends at the exact whole-number maximum.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

from sim.schedulers.effective_accuracy import best_block_count, effective_accuracy
from sim.schedulers.online import EffectiveAccuracyScheduler, Objective
from sim.schedulers.situation import Path, PathCost, Plan, Situation, TrueUplink


def _uplink(situation: Situation) -> TrueUplink:
    if situation.uplink is None:
        raise ValueError("situation.uplink: expected the true future of the uplink, found None")
    return situation.uplink


def true_latency_s(situation: Situation, path: Path, k: int) -> float:
    """The latency that k blocks on a path will really have, computation at its expected value.

    Raises:
        ValueError: the situation lacks the path or, for the cloud, the true uplink.
    """
    cost = situation.edge if path is Path.EDGE else situation.cloud
    if cost is None:
        raise ValueError(f"path: expected one that the situation has, found {path.value!r}")
    if path is Path.EDGE:
        return cost.latency_s(k)
    uplink = _uplink(situation)
    return uplink.arrival_s(k) + uplink.after_s + min(cost.sparse_s(k), cost.dense_s)


def true_effective_accuracy(situation: Situation, plan: Plan, objective: Objective) -> float:
    """The effective accuracy that a plan will really have."""
    cost = situation.edge if plan.path is Path.EDGE else situation.cloud
    latency_s = true_latency_s(situation, plan.path, plan.k)
    active = cost.active if cost is not None else plan.k
    return effective_accuracy(objective.dense_accuracy, plan.k, active, latency_s, objective.decay_per_s)


def regret(situation: Situation, plan: Plan, oracle_plan: Plan, objective: Objective) -> float:
    """The effective accuracy lost by ``plan`` against the oracle's, both in the true future; ≥ 0."""
    best = true_effective_accuracy(situation, oracle_plan, objective)
    return best - true_effective_accuracy(situation, plan, objective)


@dataclass(frozen=True, slots=True)
class OracleScheduler(EffectiveAccuracyScheduler):
    """The best path and k given how the uplink will really behave (the situation carries it)."""

    def best_offload(self, cost: PathCost, situation: Situation) -> tuple[int, float, float]:
        """The exact best k, its true latency and its score."""
        uplink = _uplink(situation)

        def evaluate(k: int) -> tuple[float, float]:
            arrival_s = uplink.arrival_s(k)
            latency_s = arrival_s + uplink.after_s + min(cost.sparse_s(k), cost.dense_s)
            return arrival_s, latency_s

        def bound(low: int, high: int, arrival_s: float) -> float:
            fixed_s = arrival_s + uplink.after_s
            k = max(low, best_block_count(high, cost.a_s, cost.b_s, self.decay_per_s, dirty=cost.dirty))
            best = self.score(cost, k, fixed_s + cost.sparse_s(k))
            if cost.dense_s < math.inf:
                best = max(best, self.score(cost, high, fixed_s + cost.dense_s))
            return best

        low = min(1, cost.active)
        arrival_s, best_s = evaluate(low)
        best_k, best_score = low, self.score(cost, low, best_s)
        open_intervals = [(-bound(low, cost.active, arrival_s), low, cost.active, arrival_s)]
        while open_intervals and -open_intervals[0][0] > best_score:
            _, low, high, low_arrival_s = heapq.heappop(open_intervals)
            if low == high:
                continue  # its one member has been evaluated as a lower end
            middle = (low + high + 1) // 2
            arrival_s, latency_s = evaluate(middle)
            score = self.score(cost, middle, latency_s)
            if score > best_score:
                best_k, best_s, best_score = middle, latency_s, score
            heapq.heappush(
                open_intervals, (-bound(low, middle - 1, low_arrival_s), low, middle - 1, low_arrival_s)
            )
            heapq.heappush(open_intervals, (-bound(middle, high, arrival_s), middle, high, arrival_s))
        return best_k, best_s, best_score
