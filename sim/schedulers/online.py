"""Schedulers that decide on estimates, as a real edge must.

A scheduler is made as ``Class(objective, options)``; ``options`` holds what its configuration says besides
λ, as the class's own ``Options``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.schedulers.interface import Decision, ExecutionPath, Observation
from sim.schedulers.objective import DEFAULT_OBJECTIVE, EffectiveAccuracyObjective, no_path
from sim.schedulers.path_cost import PathCost


@dataclass(frozen=True, slots=True)
class EffectiveAccuracyScheduler:
    """The best k on each path by EA, then the better path (FluxShard, §4.2, "Decision Process")."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """Nothing besides the objective."""

    objective: EffectiveAccuracyObjective = DEFAULT_OBJECTIVE
    options: Options = Options()

    def decide(self, observation: Observation) -> Decision:
        """Decide for one frame; a tie stays on the edge."""
        edge, cloud, _ = observation
        objective = self.objective
        if cloud is None:
            if edge is None:
                raise no_path()
            k, latency_s, _ = objective.best_choice(edge)
            return objective.decision(ExecutionPath.EDGE, edge, k, latency_s)
        k_cloud, cloud_s, cloud_score = self.best_offload(cloud, observation)
        if edge is None:
            return objective.decision(ExecutionPath.CLOUD, cloud, k_cloud, cloud_s)
        k_edge, edge_s, edge_score = objective.best_choice(edge)
        if edge_score > cloud_score or (edge_score == cloud_score and edge_s <= cloud_s):
            return objective.decision(ExecutionPath.EDGE, edge, k_edge, edge_s, cloud_s, cloud_score)
        return objective.decision(ExecutionPath.CLOUD, cloud, k_cloud, cloud_s, edge_s, edge_score)

    def best_offload(self, cost: PathCost, observation: Observation) -> tuple[int, float, float]:
        """The best k on the cloud path, its latency and its score, by what an edge can know."""
        return self.objective.best_choice(cost)


@dataclass(frozen=True, slots=True)
class LatencyScheduler:
    """All misses, on the path that has them sooner (FluxShard's remap paper: min of T_e and T_c).

    λ and A only serve the effective accuracy that the decision reports.
    """

    @dataclass(frozen=True, slots=True)
    class Options:
        """Nothing besides the objective."""

    objective: EffectiveAccuracyObjective = DEFAULT_OBJECTIVE
    options: Options = Options()

    def decide(self, observation: Observation) -> Decision:
        """Decide for one frame; a tie stays on the edge."""
        edge, cloud, _ = observation
        objective = self.objective
        if cloud is None:
            if edge is None:
                raise no_path()
            return objective.decision(ExecutionPath.EDGE, edge, edge.active, edge.latency_s(edge.active))
        cloud_s = cloud.latency_s(cloud.active)
        if edge is None:
            return objective.decision(ExecutionPath.CLOUD, cloud, cloud.active, cloud_s)
        edge_s = edge.latency_s(edge.active)
        decay_per_s = objective.decay_per_s  # all misses are processed: ln(EA / A) = −λ·T
        if edge_s <= cloud_s:
            score = -decay_per_s * cloud_s if cloud_s < math.inf else -math.inf
            return objective.decision(ExecutionPath.EDGE, edge, edge.active, edge_s, cloud_s, score)
        return objective.decision(
            ExecutionPath.CLOUD, cloud, cloud.active, cloud_s, edge_s, -decay_per_s * edge_s
        )
