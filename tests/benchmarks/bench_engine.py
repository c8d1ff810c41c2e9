"""How fast the engine is without pixels, and against the same pipeline on SimPy's own resources.

    python -m tests.benchmarks.bench_engine [seconds of simulated time]

Prints frames per second of wall time (best and median of interleaved repeats, garbage collection as in a
run) and events per frame, for full offload and FluxShard, with 1, 8 and 64 cameras.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import simpy

from sim.assembly import assemble
from sim.config import read_config
from sim.replay import replay
from traces.synthetic_traffic import synthetic_uplink

REPEATS = 3
FPS = 30.0


def configuration(system: str, cameras: int, seconds: float) -> dict[str, Any]:
    """A statistical run in which the uplink is as loaded per camera whatever the number of cameras."""
    return {
        "system": {"name": system, **({"codec": "jpeg"} if system == "full_offload" else {})},
        "video": {"kind": "statistical", "name": "statistical", "statistics": "scene_walk"},
        "trace": {"name": "medium", "mean_mbps": 56.0 * cameras},
        "frames": int(seconds * FPS),
        "cameras": cameras,
        "deterministic": True,
    }


def ours(system: str, cameras: int, seconds: float) -> tuple[int, float, int]:
    """Frames, wall seconds and events of one run of the engine, without start-up."""
    simulation = assemble(read_config(configuration(system, cameras, seconds))).simulation
    began_s = time.perf_counter()
    simulation.run()
    wall_s = time.perf_counter() - began_s
    return len(simulation.table), wall_s, 0


def count_events(system: str, cameras: int, seconds: float) -> float:
    """Events a frame, counted by stepping through a short run."""
    simulation = assemble(read_config(configuration(system, cameras, seconds))).simulation
    env = simulation.env
    events = 0
    step = env.step

    def counting() -> None:
        nonlocal events
        events += 1
        step()

    env.step = counting  # type: ignore[method-assign]
    simulation.run()
    return events / len(simulation.table)


def resources(cameras: int, seconds: float) -> tuple[int, float, int]:
    """Full offload as SimPy's manual would have it: a Resource for the link and one for the server."""
    config = read_config(configuration("full_offload", cameras, seconds))
    assembly = assemble(config)
    content = [camera.system.encoder for camera in assembly.simulation.cameras]  # type: ignore[attr-defined]
    trace = replay(synthetic_uplink(config.trace.mean_mbps * 1e6))  # type: ignore[operator]
    env = simpy.Environment()
    link, server = simpy.Resource(env), simpy.Resource(env)
    edges = [simpy.Resource(env) for _ in range(cameras)]
    rows: list[tuple[float, ...]] = []
    dense_s = assembly.cloud.dense_s
    frame_type = __import__("sim.content.interface", fromlist=["Frame"]).Frame

    def camera(number: int) -> Any:
        for index in range(int(seconds * FPS)):
            captured_s = (index + number / cameras) / FPS
            if captured_s > env.now:
                yield env.timeout(captured_s - env.now)
            with edges[number].request() as turn:
                yield turn
                size = content[number].encode(frame_type(index, captured_s))
            with link.request() as turn:
                yield turn
                yield env.timeout(trace.take(size, env.now) - env.now)
            yield env.timeout(0.01)
            with server.request() as turn:
                yield turn
                yield env.timeout(dense_s)
            yield env.timeout(0.01)
            rows.append((number, index, captured_s, env.now))

    for number in range(cameras):
        env.process(camera(number))
    began_s = time.perf_counter()
    env.run()
    return len(rows), time.perf_counter() - began_s, 0


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 300.0
    print(f"{'system':14} {'cameras':>7} {'frames/s':>10} {'median':>10} {'events/frame':>13}")
    for cameras in (1, 8, 64):
        span_s = seconds if cameras == 64 else min(seconds, 60.0 if cameras == 8 else 300.0)
        cases: dict[str, Callable[[], tuple[int, float, int]]] = {
            "full_offload": lambda c=cameras, s=span_s: ours("full_offload", c, s),  # type: ignore[misc]
            "fluxshard_ea": lambda c=cameras, s=span_s: ours("fluxshard_ea", c, s),  # type: ignore[misc]
            "resources": lambda c=cameras, s=span_s: resources(c, s),  # type: ignore[misc]
        }
        rates: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(REPEATS):
            for name, run in cases.items():
                frames, wall_s, _ = run()
                rates[name].append(frames / wall_s)
        for name, values in rates.items():
            events = "" if name == "resources" else f"{count_events(name, cameras, 10.0):.2f}"
            print(f"{name:14} {cameras:7d} {max(values):10.0f} {median(values):10.0f} {events:>13}")
        ratio = median(np.divide(rates["full_offload"], rates["resources"]))
        print(f"full_offload over SimPy resources, {cameras} cameras: {ratio:.2f}×")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory: {peak_mib:.0f} MiB")


if __name__ == "__main__":
    main()
