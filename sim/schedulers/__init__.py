"""Schedulers: where a frame's active blocks are processed, and how many of them.

A scheduler is an object with one method, ``decide(observation) -> Decision``. It sees estimates only; the
oracle also sees the true future of the uplink.
"""

from sim.schedulers.effective_accuracy import DEFAULT_DECAY_PER_S, best_block_count, effective_accuracy
from sim.schedulers.observation import (
    Decision,
    ExecutionPath,
    Observation,
    PathCost,
    Scheduler,
    UplinkOracle,
    cloud_cost,
    edge_cost,
)
from sim.schedulers.online import EffectiveAccuracyScheduler, LatencyScheduler
from sim.schedulers.oracle import OracleScheduler, regret, true_effective_accuracy, true_latency_s

__all__ = [
    "DEFAULT_DECAY_PER_S",
    "Decision",
    "EffectiveAccuracyScheduler",
    "ExecutionPath",
    "LatencyScheduler",
    "Observation",
    "OracleScheduler",
    "PathCost",
    "Scheduler",
    "UplinkOracle",
    "best_block_count",
    "cloud_cost",
    "edge_cost",
    "effective_accuracy",
    "regret",
    "true_effective_accuracy",
    "true_latency_s",
]
