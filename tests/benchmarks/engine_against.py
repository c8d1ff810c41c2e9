"""The engine of this checkout against that of another one, in turn: a ratio that a busy machine cannot move.

    python -m tests.benchmarks.engine_against CHECKOUT [pairs]

Each pair runs `bench_engine`'s configurations once in either checkout, each in a process of its own, and
takes processor time. Prints the median of the ratios of rates, here over there, with the smallest and the
largest: below 1 this checkout is slower. Both must have `tests/benchmarks/bench_engine.py`, whose own
configuration is used.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

PAIRS = 5
SPANS_S = {1: 600.0, 8: 75.0, 64: 30.0}  # of simulated time, by cameras
CODE = """
import json, sys, tempfile, time
from pathlib import Path
from tests.benchmarks import bench_engine as bench

time.perf_counter = time.process_time
rates = {}
with tempfile.TemporaryDirectory() as folder:
    bench.write_fast_profile(Path(folder))
    for cameras, seconds in json.loads(sys.argv[1]).items():
        for system in bench.SYSTEMS:
            frames, took_s = bench.ours(bench.configuration(system, int(cameras), seconds, folder))
            rates[f"{system}, {cameras} cameras"] = frames / took_s
print("RATES", json.dumps(rates))
"""


def rates(checkout: Path) -> dict[str, float]:
    """Frames a second of processor time in a checkout, by system and number of cameras."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(SPANS_S)],
        cwd=checkout,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout.split("RATES")[1])
    return found


def main() -> None:
    if len(sys.argv) < 2 or not (Path(sys.argv[1]) / "tests" / "benchmarks" / "bench_engine.py").is_file():
        sys.exit("expected a checkout with tests/benchmarks/bench_engine.py: its folder")
    there, pairs = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else PAIRS
    here = Path(__file__).resolve().parents[2]
    ratios: dict[str, list[float]] = {}
    last: dict[str, tuple[float, float]] = {}
    for turn in range(pairs):
        order = (here, there) if turn % 2 == 0 else (there, here)
        found = {checkout: rates(checkout) for checkout in order}
        for name, rate in found[here].items():
            ratios.setdefault(name, []).append(rate / found[there][name])
            last[name] = rate, found[there][name]
    print(f"{'':28} {'here':>9} {'there':>9} {'ratio':>7} {'least':>7} {'most':>7}")
    for name, values in ratios.items():
        mine, theirs = last[name]
        print(
            f"{name:28} {mine:9.0f} {theirs:9.0f} {median(values):7.3f} {min(values):7.3f} {max(values):7.3f}"
        )


if __name__ == "__main__":
    main()
