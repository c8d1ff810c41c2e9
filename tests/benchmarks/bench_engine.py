"""How fast the engine is without pixels, and against the same pipeline on SimPy's own resources.

    python -m tests.benchmarks.bench_engine [seconds of simulated time]

Frames are drawn from recorded statistics; devices and links are fast enough that every captured frame is
processed, since frames that are replaced cost next to nothing. Prints frames per second of wall time (best
and median of interleaved repeats), events per frame, and, each in a process of its own, the start-up time of
the command and the peak memory of 64 cameras over the whole time. Frames go one at a time, but for the rows
`pipelined`: full offload with up to four of a camera under way.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import simpy

from profiler.latency import Quadratic, load_profile, save_profile
from sim.assembly import Assembly, assemble
from sim.assembly.uplink import load_uplink
from sim.configuration import RunConfig, read_config
from sim.physics.trace_replay import replay
from sim.world.frame import Frame

REPEATS = 5
FPS = 30.0
SYSTEMS = ("full_offload", "fluxshard_ea")


def configuration(system: str, cameras: int, seconds: float, folder: str, in_flight: int = 1) -> RunConfig:
    """A statistical run whose uplink grows with the number of cameras."""
    return read_config(
        {
            "system": {"name": system, **({"codec": "jpeg"} if system == "full_offload" else {})},
            "video": {"kind": "statistical", "name": "statistical", "statistics": "scene_walk"},
            "trace": {"name": "medium", "mean_mbps": 56.0 * cameras, "duration_s": 60.0, "seed": 2},
            "link": {"delay_s": 0.001},
            "downlink": {"delay_s": 0.001, "mean_mbps": 1e4},
            "edge": "fast",
            "cloud": "fast",
            "config_folders": [folder],
            "frames": int(seconds * FPS),
            "cameras": cameras,
            "in_flight": in_flight,
            "deterministic": True,
            "codec_time": "none",  # the other engine has no codecs
        }
    )


def write_fast_profile(folder: Path) -> None:
    """A device that 64 cameras cannot saturate, in a folder laid out as `conf/` is."""
    profile = load_profile("rtx_3080", "yolo11m-seg")
    fast = replace(profile, device="fast", dense_s=1e-4, extract_s=1e-4, quadratic=Quadratic(0.0, 2e-8, 1e-5))
    save_profile(fast, folder / "profile" / "fast" / "yolo11m-seg.yaml")


def ours(config: RunConfig) -> tuple[int, float]:
    """Processed frames and wall seconds of one run of the engine, without start-up."""
    assembly = assemble(config)
    began_s = time.perf_counter()
    assembly.simulation.run()
    wall_s = time.perf_counter() - began_s
    return _processed(assembly), wall_s


def events_per_frame(config: RunConfig) -> float:
    """Events a processed frame, counted by stepping through a short run."""
    assembly = assemble(config)
    env = assembly.simulation.env
    events = 0
    step = env.step

    def counting() -> None:
        nonlocal events
        events += 1
        step()

    env.step = counting  # type: ignore[method-assign]
    assembly.simulation.run()
    return events / _processed(assembly)


def _processed(assembly: Assembly) -> int:
    return int((assembly.simulation.table.columns()["outcome"] == 0).sum())


def on_resources(config: RunConfig) -> tuple[int, float]:
    """Full offload as SimPy's manual would have it: a Resource for each edge, the link and the server."""
    assembly = assemble(config)
    cameras = assembly.simulation.cameras
    trace = replay(load_uplink(config.trace, config.seed, 60.0))
    env = simpy.Environment()
    link, server = simpy.Resource(env), simpy.Resource(env)
    rows: list[tuple[float, ...]] = []
    delay_s, dense_s = config.link.delay_s, assembly.cloud.dense_s

    def camera(number: int) -> Any:
        encoder = cameras[number].system.encoder  # type: ignore[attr-defined]
        for index in range(assembly.frames_per_camera):
            captured_s = (index + number / len(cameras)) / FPS
            if captured_s > env.now:
                yield env.timeout(captured_s - env.now)
            size_bytes = encoder.encode(Frame(index, captured_s)).size_bytes
            with link.request() as turn:
                yield turn
                yield env.timeout(trace.take(size_bytes, env.now) - env.now)
            yield env.timeout(delay_s)
            with server.request() as turn:
                yield turn
                yield env.timeout(dense_s)
            yield env.timeout(delay_s)
            rows.append((number, index, captured_s, env.now))

    for number in range(len(cameras)):
        env.process(camera(number))
    began_s = time.perf_counter()
    env.run()
    return len(rows), time.perf_counter() - began_s


def start_up_s() -> float:
    """Median wall time of `python -m sim --help`."""
    times = []
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        subprocess.run([sys.executable, "-m", "sim", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - began_s)
    return median(times)


def peak_memory_mib(system: str, seconds: float, config: str) -> float:
    """Peak memory of 64 cameras, results written, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            f"system={system}",
            "video=statistical",
            "trace.mean_mbps=3584",
            "trace.duration_s=60",  # as in `configuration`: it is the frames that are weighed, not the trace
            "link.delay_s=0.001",
            "downlink.mean_mbps=10000",
            "edge=fast",
            "cloud=fast",
            f"--config-dir={config}",
            f"frames={int(seconds * FPS)}",
            "cameras=64",
            f"hydra.run.dir={folder}",
        ]
        code = (
            "import resource, sys; from sim.__main__ import main; main(); "
            "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
        )
    return int(done.stdout.split("PEAK")[1]) / 1024


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 300.0
    with tempfile.TemporaryDirectory() as folder:
        write_fast_profile(Path(folder))
        print(f"{'system':14} {'cameras':>7} {'frames':>8} {'best/s':>9} {'median/s':>9} {'events':>7}")
        for cameras in (1, 8, 64):
            span_s = min(seconds, {1: 600.0, 8: 75.0, 64: 300.0}[cameras])
            configs = {name: configuration(name, cameras, span_s, folder) for name in SYSTEMS}
            configs["pipelined"] = configuration("full_offload", cameras, span_s, folder, in_flight=4)
            cases: dict[str, Callable[[], tuple[int, float]]] = {
                **{name: partial(ours, config) for name, config in configs.items()},
                "resources": partial(on_resources, configs["full_offload"]),
            }
            rates: dict[str, list[float]] = {name: [] for name in cases}
            processed = dict.fromkeys(cases, 0)
            for _ in range(REPEATS if cameras < 64 else 3):
                for name, run in cases.items():
                    processed[name], wall_s = run()
                    rates[name].append(processed[name] / wall_s)
            for name, values in rates.items():
                events = ""
                if name in configs:
                    short = replace(configs[name], frames=int(5.0 * FPS))
                    events = f"{events_per_frame(short):.2f}"
                print(
                    f"{name:14} {cameras:7d} {processed[name]:8d} {max(values):9.0f} "
                    f"{median(values):9.0f} {events:>7}"
                )
            pairs = zip(rates["full_offload"], rates["resources"], strict=True)
            ratio = median(mine / theirs for mine, theirs in pairs)
            print(f"full_offload over SimPy resources, {cameras} cameras: {ratio:.2f} times")
        print(f"start-up of python -m sim --help: {start_up_s():.2f} s")
        for system in SYSTEMS:
            peak_mib = peak_memory_mib(system, seconds, folder)
            print(f"peak memory, {system}, 64 cameras, {seconds:g} s: {peak_mib:.0f} MiB")


if __name__ == "__main__":
    main()
