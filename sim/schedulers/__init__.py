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
from sim.schedulers.split import (
    PathsAtOnceScheduler,
    SplitDecision,
    SplitOracle,
    SplitScheduler,
    as_split,
    split_regret,
    true_split_effective_accuracy,
    true_split_latency_s,
)

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
    "PathsAtOnceScheduler",
    "Scheduler",
    "SplitDecision",
    "SplitOracle",
    "SplitScheduler",
    "UplinkOracle",
    "as_split",
    "cloud_cost",
    "edge_cost",
    "effective_accuracy",
    "regret",
    "split_regret",
    "true_effective_accuracy",
    "true_latency_s",
    "true_split_effective_accuracy",
    "true_split_latency_s",
]
