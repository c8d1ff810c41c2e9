"""The oracle scheduler, which knows the true future of the uplink, and the regret of any other decision.

On the cloud path EA(k) is no longer unimodal: the message's arrival follows the real link, with its steps
and outages. It is still monotone, since more bytes never arrive sooner, and that makes an exact search
cheap. Within k in [l, h] the message arrives no sooner than for l, so with C(k) the computation

    ln EA(k) ≤ −λ·arrival(l) + max over [l, h] of (ln k − λ·C(k)) − ln N − λ·after

whose second term every curve answers (:mod:`profiler.latency.curves`); where the number of blocks
computed is listed for each k, ln h − λ·C(l) bounds it. Halving the interval with the largest bound first
(branch and bound) ends at the exact whole-number maximum.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import ClassVar

from sim.schedulers.effective_accuracy import effective_accuracy
from sim.schedulers.interface import Decision, ExecutionPath, Observation, UplinkOracle
from sim.schedulers.objective import EffectiveAccuracyObjective
from sim.schedulers.online import EffectiveAccuracyScheduler
from sim.schedulers.path_cost import PathCost


def _uplink(observation: Observation) -> UplinkOracle:
    if observation.uplink is None:
        raise ValueError("observation.uplink: expected the true future of the uplink, found None")
    return observation.uplink


def true_latency_s(observation: Observation, path: ExecutionPath, k: int) -> float:
    """The latency that k blocks on a path will really have, computation at its expected value.

    Raises:
        ValueError: the observation lacks the path or, for the cloud, the true uplink.
    """
    cost = observation.edge if path is ExecutionPath.EDGE else observation.cloud
    if cost is None:
        raise ValueError(f"path: expected one that the observation has, found {path.value!r}")
    if path is ExecutionPath.EDGE:
        return cost.latency_s(k)
    uplink = _uplink(observation)
    return uplink.arrival_s(k) + uplink.after_s + cost.compute_s(k)


def true_effective_accuracy(
    observation: Observation, decision: Decision, objective: EffectiveAccuracyObjective
) -> float:
    """The effective accuracy that a decision will really have."""
    cost = observation.edge if decision.path is ExecutionPath.EDGE else observation.cloud
    latency_s = true_latency_s(observation, decision.path, decision.k)
    active = cost.active if cost is not None else decision.k
    return effective_accuracy(objective.dense_accuracy, decision.k, active, latency_s, objective.decay_per_s)


def regret(
    observation: Observation,
    decision: Decision,
    oracle_decision: Decision,
    objective: EffectiveAccuracyObjective,
) -> float:
    """The effective accuracy lost by ``decision`` against the oracle's, both in the true future; ≥ 0."""
    best = true_effective_accuracy(observation, oracle_decision, objective)
    return best - true_effective_accuracy(observation, decision, objective)


@dataclass(frozen=True, slots=True)
class OracleScheduler(EffectiveAccuracyScheduler):
    """The best path and k given how the uplink will really behave (the observation carries it)."""

    wants_truth: ClassVar[bool] = True  # systems put the link's future into its observations

    def best_offload(self, cost: PathCost, observation: Observation) -> tuple[int, float, float]:
        """The exact best k, its true latency and its score."""
        uplink = _uplink(observation)
        active, objective = cost.active, self.objective

        def evaluate(k: int) -> tuple[float, float]:
            arrival_s = uplink.arrival_s(k)
            return arrival_s, arrival_s + uplink.after_s + cost.compute_s(k)

        def bound(low: int, high: int, arrival_s: float) -> float:
            fixed_s = arrival_s + uplink.after_s
            if cost.computed is not None:
                return objective.score(active, high, fixed_s + cost.compute_s(low))
            k = cost.curve.best_block_count(
                high, objective.decay_per_s, unsent=cost.unsent, least=max(low, 1)
            )
            best = objective.score(active, k, fixed_s + cost.curve.seconds(k + cost.unsent))
            if cost.dense_s < math.inf:
                best = max(best, objective.score(active, high, fixed_s + cost.dense_s))
            return best

        low = min(1, active)
        arrival_s, best_s = evaluate(low)
        best_k, best_score = low, objective.score(active, low, best_s)
        open_intervals = [(-bound(low, active, arrival_s), low, active, arrival_s)]
        while open_intervals and -open_intervals[0][0] > best_score:
            _, low, high, low_arrival_s = heapq.heappop(open_intervals)
            if low == high:
                continue  # its one member has been evaluated as a lower end
            middle = (low + high + 1) // 2
            arrival_s, latency_s = evaluate(middle)
            score = objective.score(active, middle, latency_s)
            if score > best_score:
                best_k, best_s, best_score = middle, latency_s, score
            heapq.heappush(
                open_intervals, (-bound(low, middle - 1, low_arrival_s), low, middle - 1, low_arrival_s)
            )
            heapq.heappush(open_intervals, (-bound(middle, high, arrival_s), middle, high, arrival_s))
        return best_k, best_s, best_score
