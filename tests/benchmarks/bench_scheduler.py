"""Time of one scheduling decision: ``python -m tests.benchmarks.bench_scheduler``."""

from __future__ import annotations

import statistics
import timeit
from bisect import bisect_left
from collections.abc import Callable
from functools import partial

import numpy as np

from profiler.latency import LatencyCurve, Tabulated, load_profile
from sim.schedulers import (
    EffectiveAccuracyScheduler,
    LatencyScheduler,
    Observation,
    OracleScheduler,
    UplinkOracle,
    cloud_cost,
    edge_cost,
)
from sim.schedulers.split import SplitOracle, SplitScheduler

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
    assert case.edge is not None
    assert case.cloud is not None
    bent = load_profile("epyc_zen5_1thread", "yolo11n-seg").curve
    listed = range(1601)
    table = Tabulated(tuple(listed), tuple(bent.seconds(k) for k in listed))
    curves: dict[str, LatencyCurve] = {"piecewise-linear": bent, "tabulated": table}
    cases = {
        name: Observation(
            case.edge._replace(curve=curve.scaled(2.0)), case.cloud._replace(curve=curve), case.uplink
        )
        for name, curve in curves.items()
    }
    margin = np.arange(601) * 2
    cases["margin"] = Observation(
        case.edge._replace(computed=margin), case.cloud._replace(computed=margin), case.uplink
    )
    ea, latency, oracle = EffectiveAccuracyScheduler(), LatencyScheduler(), OracleScheduler()
    decisions: dict[str, Callable[[], object]] = {
        "observation": observation,
        "ea": lambda: EffectiveAccuracyScheduler.decide(ea, case),
        "latency": lambda: LatencyScheduler.decide(latency, case),
        "oracle": lambda: OracleScheduler.decide(oracle, case),
    }
    for name, other in cases.items():
        decisions[f"ea, {name}"] = partial(EffectiveAccuracyScheduler.decide, ea, other)
        decisions[f"oracle, {name}"] = partial(OracleScheduler.decide, oracle, other)
    split, split_oracle = SplitScheduler(), SplitOracle()
    for blocks in (600, 4096):
        edge_path, cloud_path = (path._replace(active=blocks) for path in (case.edge, case.cloud))
        large = Observation(edge_path, cloud_path, case.uplink)
        decisions[f"split, {blocks} blocks"] = partial(SplitScheduler.decide, split, large)
        decisions[f"oracle, split, {blocks} blocks"] = partial(SplitOracle.decide, split_oracle, large)
    rounds: dict[str, list[float]] = {name: [] for name in decisions}
    for _ in range(ROUNDS):
        for name, decide in decisions.items():
            calls = CALLS // 10 if name.startswith("oracle, ") else CALLS
            rounds[name].append(timeit.timeit(decide, number=calls) / calls)
    for name, seconds in rounds.items():
        print(f"{name:<27} {statistics.median(seconds) * 1e6:7.2f} µs a decision")


if __name__ == "__main__":
    main()
