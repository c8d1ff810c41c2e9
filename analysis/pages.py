"""Tables of the project's pages, from results that an experiment made and that the tests keep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from analysis.comparison.ablation import ablation_table, effects, faults_table
from analysis.comparison.frontier import frontier_table, points_of
from analysis.comparison.scaling import lines_of, scaling_table
from analysis.replicates import pooled_rows
from analysis.results import run_rows
from analysis.settings import join_overrides, split_overrides
from analysis.tables import mean_over_videos, summary_table
from conf.search_path import checkout_folder

ROOT = checkout_folder() or Path()  # pages are not in an installed package
GOLDEN = ROOT / "tests" / "golden" / "tables"


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table of a page.

    Args:
        page: the file that shows it; of several that a pattern finds, the one with the table's markers.
        columns: their headings; none: all that there are.
        pooled: shown as means over its videos.
        kind: a row a run (or its replicates), the points of a frontier, what parts are worth, what faults
            cost, or what more cameras do.
    """

    page: str
    columns: tuple[str, ...] = ()
    pooled: bool = False
    kind: Literal["summary", "frontier", "ablation", "faults", "scaling"] = "summary"


#: By the experiment that makes each.
TABLES = {
    "quickstart": PageTable(
        "README.md",
        (
            *("system", "trace", "network", "codec", "frames", "of", "EA", "EA/captured", "accuracy", "by"),
            *("streaming accuracy", "latency ms", "p99 ms", "uplink Mbit/s", "reuse %", "edge busy %"),
        ),
    ),
    "frontier": PageTable("sim/accuracy/README.md", kind="frontier"),
    "ablation": PageTable("README.md", kind="ablation"),
    "remap_ablation": PageTable("sim/systems/*/README.md", kind="ablation"),
    "cameras": PageTable("sim/physics/README.md", kind="scaling"),
    "faults": PageTable("sim/physics/README.md", kind="faults"),
    "propagation_delay": PageTable(
        "sim/README.md",
        ("system", "swept", "frames", "of", "EA", "EA/captured", "by", "latency ms", "offload %"),
    ),
    "measured": PageTable(
        "sim/accuracy/README.md",
        (
            *("system", "network", "codec", "frames", "of", "EA", "accuracy", "by", "coverage"),
            *("foreground IoU", "streaming accuracy", "latency ms"),
        ),
    ),
    "tasks": PageTable(
        "sim/accuracy/README.md",
        (
            *("system", "network", "frames", "of", "EA", "accuracy", "by", "foreground IoU"),
            *("streaming accuracy", "latency ms", "reuse %"),
        ),
    ),
    "measured_davis": PageTable(
        "sim/accuracy/README.md",
        (
            *("system", "network", "codec", "frames", "of", "EA", "accuracy", "by", "foreground IoU"),
            *("streaming accuracy", "J", "J of dense", "streaming J", "latency ms"),
        ),
        pooled=True,
    ),
}
# What differs between machines and moments is not taken along.
VOLATILE = ("folder", "wall_s", "git_sha", "version", "config_sha256", "error")

# Beginnings of the columns that frontiers and ablations, with a row for each replicate, are made of.
_NEEDED = (
    *("overrides", "status", "system", "model", "network", "trace", "video", "accuracy_", "ea_per_captured"),
    *(
        "frames_captured",
        "frames_completed",
        "latency_mean",
        "streaming_accuracy_mean",
        "uplink_b",
        "uplink_opportunistic_bytes",
    ),
)


# And those that only some kinds of table need.
_FURTHER = {"faults": ("ea_mean",), "scaling": ("cameras", "ea_fairness", "uplink_fairness")}


def markers(name: str) -> tuple[str, str]:
    """What stands around a table in its page."""
    return f"<!-- {name} table -->", f"<!-- end of {name} table -->"


def page_of(name: str) -> Path:
    """The file that shows a table.

    Raises:
        ValueError: none has the lines around it, or several have.
    """
    pattern, (begin, end) = TABLES[name].page, markers(name)
    found = [path for path in sorted(ROOT.glob(pattern)) if begin in path.read_text(encoding="utf-8")]
    if len(found) != 1:
        raise ValueError(f"{pattern}: expected a page with {begin!r} and {end!r}, found {len(found)}")
    return found[0]


def golden_results(name: str) -> pd.DataFrame:
    """The results that a table shows."""
    return pd.read_csv(GOLDEN / f"{name}.csv")


def page_table(name: str) -> str:
    """A table from its golden results, as a fenced block."""
    results, table = golden_results(name), TABLES[name]
    rows = (mean_over_videos(results) if table.pooled else results).to_dict("records")
    if table.kind == "frontier":
        text = frontier_table(points_of(rows))
    elif table.kind == "ablation":
        text = ablation_table(effects(rows))
    elif table.kind == "faults":
        text = faults_table(rows)
    elif table.kind == "scaling":
        text = scaling_table(lines_of(rows))
    else:
        text = summary_table(rows, table.columns)
    return f"```text\n{text}\n```"


def portable(overrides: str) -> str:
    """Overrides without those that name a file or folder, which lie elsewhere on each machine."""
    return join_overrides([part for part in split_overrides(overrides) if "/" not in part.partition("=")[2]])


def update_page(name: str, folder: Path) -> None:
    """Take a multirun into a table's golden file, and the table into its page.

    Raises:
        FileNotFoundError: the folder holds no jobs.
        ValueError: some of them failed, or there is no checkout to write to.
    """
    if checkout_folder() is None:
        raise ValueError("readme: expected a checkout with README.md, found an installed package")
    rows = run_rows(folder)
    kind = TABLES[name].kind
    results = pd.DataFrame(pooled_rows(rows, folder) if kind == "summary" else rows)
    failed = int((results["status"] != "completed").sum())
    if failed:
        raise ValueError(f"{folder}: expected completed jobs, found {failed} of {len(results)} that failed")
    kept = results.drop(columns=[column for column in VOLATILE if column in results])
    if kind != "summary":
        needed = (*_NEEDED, *_FURTHER.get(kind, ()))
        kept = kept[[column for column in kept if column.startswith(needed)]]
    kept["overrides"] = kept["overrides"].map(portable)
    page = page_of(name)
    text = page.read_text(encoding="utf-8")
    begin, end = markers(name)
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page}: expected the lines {begin!r} and {end!r}, each once")
    before, rest = text.split(begin)
    _, after = rest.split(end)
    kept.to_csv(GOLDEN / f"{name}.csv", index=False)
    page.write_text(f"{before}{begin}\n{page_table(name)}\n{end}{after}", encoding="utf-8")
