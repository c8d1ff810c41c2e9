"""Schedulers that decide on estimates, as a real edge must."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import itemgetter

from sim.schedulers.effective_accuracy import DEFAULT_DECAY_PER_S, best_block_count, effective_accuracy
from sim.schedulers.observation import Decision, ExecutionPath, Observation, PathCost


@dataclass(frozen=True, slots=True)
class EffectiveAccuracyObjective:
    """λ and A: how a latency and a share of processed blocks become an effective accuracy.

    Raises:
        ValueError: a decay below 0 or not finite, or an accuracy outside [0, 1].
    """

    decay_per_s: float = DEFAULT_DECAY_PER_S
    dense_accuracy: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.decay_per_s) and self.decay_per_s >= 0.0):
            raise ValueError(f"decay_per_s: expected at least 0 per second, found {self.decay_per_s!r}")
        if not 0.0 <= self.dense_accuracy <= 1.0:
            raise ValueError(f"dense_accuracy: expected a value from 0 to 1, found {self.dense_accuracy!r}")

    def score(self, cost: PathCost, k: int, latency_s: float) -> float:
        """ln(EA / A): unlike EA it still tells two hopeless choices apart."""
        if latency_s == math.inf:
            return -math.inf
        active = cost.active
        if active == 0:
            return -self.decay_per_s * latency_s
        return math.log(k / active) - self.decay_per_s * latency_s if k else -math.inf

    def best_choice(self, cost: PathCost) -> tuple[int, float, float]:
        """The k of a path with the largest EA, its latency in seconds and its score.

        With a dense fallback T is the smaller of two curves, so EA is the larger of two, and its maximum
        the larger of their two maxima.
        """
        active, wait_s, per_block_s, a_s, b_s, c_s, dirty, dense_s, _, _ = cost
        decay_per_s = self.decay_per_s
        k = best_block_count(active, a_s, b_s, decay_per_s, per_block_s, dirty)
        if dense_s < math.inf or k == 0 or per_block_s == math.inf or wait_s == math.inf:
            more = best_block_count(active, 0.0, 0.0, decay_per_s, per_block_s) if dense_s < math.inf else k
            return max((self._valued(cost, candidate) for candidate in (k, more)), key=itemgetter(2))
        blocks = k + dirty  # the common case, PathCost.latency_s and score written out for speed
        latency_s = wait_s + k * per_block_s + (a_s * blocks + b_s) * blocks + c_s
        return k, latency_s, math.log(k / active) - decay_per_s * latency_s

    def _valued(self, cost: PathCost, k: int) -> tuple[int, float, float]:
        latency_s = cost.latency_s(k)
        return k, latency_s, self.score(cost, k, latency_s)

    def make_decision(self, path: ExecutionPath, cost: PathCost, k: int, latency_s: float) -> Decision:
        """The decision for k blocks on a path, with the effective accuracy it promises."""
        ea = effective_accuracy(self.dense_accuracy, k, cost.active, latency_s, self.decay_per_s)
        return Decision(path, k, k + cost.dirty, cost.runs_densely(k), latency_s, ea, cost.is_extrapolated(k))


def no_path() -> ValueError:
    """The error for an observation that offers nothing."""
    return ValueError("observation: expected an edge path, a cloud path or both, found neither")


@dataclass(frozen=True, slots=True)
class EffectiveAccuracyScheduler(EffectiveAccuracyObjective):
    """The best k on each path by EA, then the better path (FluxShard, §4.2, "Decision Process")."""

    def decide(self, observation: Observation) -> Decision:
        """Decide for one frame; a tie stays on the edge."""
        edge, cloud, _ = observation
        if cloud is None:
            if edge is None:
                raise no_path()
            k, latency_s, _ = self.best_choice(edge)
            return self.make_decision(ExecutionPath.EDGE, edge, k, latency_s)
        k_cloud, cloud_s, cloud_score = self.best_offload(cloud, observation)
        if edge is not None:
            k_edge, edge_s, edge_score = self.best_choice(edge)
            if edge_score > cloud_score or (edge_score == cloud_score and edge_s <= cloud_s):
                return self.make_decision(ExecutionPath.EDGE, edge, k_edge, edge_s)
        return self.make_decision(ExecutionPath.CLOUD, cloud, k_cloud, cloud_s)

    def best_offload(self, cost: PathCost, observation: Observation) -> tuple[int, float, float]:
        """The best k on the cloud path, its latency and its score, by what an edge can know."""
        return self.best_choice(cost)


@dataclass(frozen=True, slots=True)
class LatencyScheduler(EffectiveAccuracyObjective):
    """All misses, on the path that has them sooner (FluxShard's remap paper: min of T_e and T_c).

    λ and A only serve the effective accuracy that the decision reports.
    """

    def decide(self, observation: Observation) -> Decision:
        """Decide for one frame; a tie stays on the edge."""
        edge, cloud, _ = observation
        edge_s = math.inf if edge is None else edge.latency_s(edge.active)
        if edge is not None and (cloud is None or edge_s <= cloud.latency_s(cloud.active)):
            return self.make_decision(ExecutionPath.EDGE, edge, edge.active, edge_s)
        if cloud is None:
            raise no_path()
        return self.make_decision(ExecutionPath.CLOUD, cloud, cloud.active, cloud.latency_s(cloud.active))
