"""Time of one scheduling decision: ``python -m tests.benchmarks.bench_scheduler``."""

from __future__ import annotations

import statistics
import timeit
from bisect import bisect_left

from profiler.latency import load_profile
from sim.schedulers import (
    EffectiveAccuracyScheduler,
    LatencyScheduler,
    Observation,
    OracleScheduler,
    UplinkOracle,
    cloud_cost,
    edge_cost,
)

CALLS, ROUNDS = 2000, 15


def main() -> None:
    """Print the median of interleaved rounds; what the edge must do before it can decide is timed too."""
    edge, cloud = load_profile("jetson_xavier_nx", "yolo11m-seg"), load_profile("rtx_3080", "yolo11m-seg")
    times_s = [0.0002 * i for i in range(20000)]  # one packet each: 60 Mbit/s

    def finish_s(n_bytes: int, enqueued_s: float) -> float:
        return times_s[bisect_left(times_s, enqueued_s) + n_bytes // 1500]

    def observation() -> Observation:
        return Observation(
            edge_cost(edge, 600, 0.003),
            cloud_cost(cloud, 600, 0.013, bandwidth_bps=56e6, block_bytes=440, header_bytes=1500, unsent=9),
            UplinkOracle(finish_s, 440, 1500, 0.0, 0.0, 0.01),
        )

    case = observation()
    decisions = {
        "observation": observation,
        "ea": lambda: EffectiveAccuracyScheduler.decide(ea, case),
        "latency": lambda: LatencyScheduler.decide(latency, case),
        "oracle": lambda: OracleScheduler.decide(oracle, case),
    }
    ea, latency, oracle = EffectiveAccuracyScheduler(), LatencyScheduler(), OracleScheduler()
    rounds: dict[str, list[float]] = {name: [] for name in decisions}
    for _ in range(ROUNDS):
        for name, decide in decisions.items():
            rounds[name].append(timeit.timeit(decide, number=CALLS) / CALLS)
    for name, seconds in rounds.items():
        print(f"{name:<10} {statistics.median(seconds) * 1e6:7.2f} µs a decision")


if __name__ == "__main__":
    main()
