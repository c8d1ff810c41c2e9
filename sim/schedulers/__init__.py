"""Schedulers: where a frame's active blocks are processed, and how many of them.

A scheduler is an object with one method, ``decide(observation) -> Decision``. It sees estimates only; the
oracle also sees the true future of the uplink.
"""

from sim.schedulers.effective_accuracy import DEFAULT_DECAY_PER_S, effective_accuracy
from sim.schedulers.interface import Decision, ExecutionPath, Observation, Scheduler, UplinkOracle
from sim.schedulers.objective import EffectiveAccuracyObjective
from sim.schedulers.online import EffectiveAccuracyScheduler, LatencyScheduler
from sim.schedulers.oracle import OracleScheduler, regret, true_effective_accuracy, true_latency_s
from sim.schedulers.path_cost import PathCost, cloud_cost, edge_cost

__all__ = [
    "DEFAULT_DECAY_PER_S",
    "Decision",
    "EffectiveAccuracyObjective",
    "EffectiveAccuracyScheduler",
    "ExecutionPath",
    "LatencyScheduler",
    "Observation",
    "OracleScheduler",
    "PathCost",
    "Scheduler",
    "UplinkOracle",
    "cloud_cost",
    "edge_cost",
    "effective_accuracy",
    "regret",
    "true_effective_accuracy",
    "true_latency_s",
]
