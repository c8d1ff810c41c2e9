"""What a sweep of 6 systems × 3 networks × 3 λ costs beside its jobs run alone.

    python -m tests.benchmarks.bench_sweep [--frames N] [--networks high,low] [--folder DIR] [OVERRIDES…]

The sweep runs in one command with an empty cache; a job alone runs in a process of its own that shares
nothing. Of the jobs alone, those of the middle λ are run and counted three times. Times are processor
seconds, of the children too, so that other work on the machine does not count. DIR holds the runs (default:
a temporary folder).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

SYSTEMS = ("fluxshard_ea", "full_offload", "edge_only", "deltacnn", "spinn", "coach")
NETWORKS = ("high", "medium", "low")
DECAYS = ("3.5", "7.0", "14.0")  # per second


def processor_s(arguments: list[str], cache: Path) -> float:
    """Processor time of one command line of `python -m sim`."""
    # The folder of built libraries is the user's: compiling is no part of a sweep.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FLUXSHARD_CACHE": str(cache)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "sim", *arguments],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Run both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = (options.folder or Path(made)).resolve()
        cache = folder / "cache"
        common = ["accuracy=measured", f"frames={options.frames}", *options.overrides]
        processor_s([*common, "frames=2", "system=edge_only", f"hydra.run.dir={folder / 'first'}"], cache)
        alone_s = 0.0
        for system in SYSTEMS:
            for network in options.networks.split(","):
                words = [f"system={system}", f"trace={network}", f"scheduler.lambda_per_s={DECAYS[1]}"]
                where = f"hydra.run.dir={folder / 'alone' / system / network}"
                spent_s = processor_s([*common, *words, "cache.enabled=false", where], cache)
                alone_s += spent_s * len(DECAYS)
                print(f"{system:14} {network:7} alone {spent_s:6.1f} s", flush=True)
        for what in ("first", "second"):  # the second finds everything
            sweep_s = processor_s(
                [
                    *("-m", f"system={','.join(SYSTEMS)}", f"trace={options.networks}", *common),
                    f"scheduler.lambda_per_s={','.join(DECAYS)}",
                    f"hydra.sweep.dir={folder / what}-sweep",
                ],
                cache,
            )
            print(f"{what} sweep {sweep_s:.0f} s, its jobs alone {alone_s:.0f} s: {sweep_s / alone_s:.2f}")


if __name__ == "__main__":
    main()
