"""A small sweep that the tests keep: two systems, two λ, three replicates of 30 frames."""

from __future__ import annotations

import shutil
from pathlib import Path

from analysis.figures.plot.request import parse
from analysis.figures.plot.runs import Runs, read_runs

SWEEP = Path(__file__).resolve().parents[1] / "golden" / "tables" / "sweep"
X = "x=scheduler.lambda_per_s"
#: A request of each kind of figure that it serves, by a name.
REQUESTS = {
    "lines": (X, "y=ea_mean"),
    "bars": ("kind=bars", X, "y=latency_p50_s"),
    "cdf": ("kind=cdf", "where=scheduler.lambda_per_s=16"),
    "pareto": ("kind=pareto", "x=uplink_bps_mean", "y=ea_mean"),
    "heat": ("kind=heat", X, "y=system", "z=latency_mean_s"),
    "composition": ("kind=composition", X),
    "series": (
        "kind=series",
        "where=system=fluxshard_ea",
        "where=replicate=1",
        "where=scheduler.lambda_per_s=1",
    ),
    "facets": (X, "y=uplink_bps_mean", "facet=system"),
}


def runs_of(*arguments: str) -> Runs:
    """The small sweep's runs, as a request chooses them."""
    return read_runs(parse([str(SWEEP), *arguments], "plot"))


def copied(target: Path, jobs: int) -> Path:
    """A folder with some of the sweep's jobs, to be changed."""
    for number in range(jobs):
        shutil.copytree(SWEEP / str(number), target / str(number))
    return target
