"""The command ``python -m analysis``: look at what runs have left.

    python -m analysis show FOLDER [FOLDER ...] [--picture runs.png]
    python -m analysis merge MULTIRUN
    python -m analysis readme MULTIRUN [--table measured|measured_davis]

``show`` prints the table of runs (or of all jobs of a multirun) and draws their picture. ``merge`` collects a
multirun's jobs anew into results.parquet and results.csv. ``readme`` takes the results of the main job (or,
with --table, of the experiment of that name) into tests/golden/tables/ and from there into README.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

import pandas as pd

from analysis.pictures import draw_runs
from analysis.results import merge_results, read_summary, run_folders
from analysis.tables import mean_over_videos, summary_table
from conf.search_path import checkout_folder
from traces.errors import InputError

ROOT = checkout_folder() or Path()  # what the README needs is not in an installed package
GOLDEN = ROOT / "tests" / "golden" / "tables"
# README.md's tables: the experiment that makes each, and the columns shown; none: all that there are.
TABLES: dict[str, tuple[str, ...]] = {
    "quickstart": (),
    "measured": (
        *("system", "frames", "of", "EA", "accuracy", "measured EA", "measured accuracy"),
        *("foreground IoU", "streaming accuracy", "latency ms"),
    ),
    "measured_davis": (
        *("system", "frames", "of", "measured EA", "measured accuracy", "foreground IoU"),
        *("streaming accuracy", "J", "J of dense", "streaming J", "latency ms"),
    ),
}
POOLED = ("measured_davis",)  # shown as means over its videos
# What differs between machines and moments is not taken along.
VOLATILE = ("folder", "wall_s", "git_sha", "version", "config_sha256", "error")


def markers(name: str) -> tuple[str, str]:
    """What stands around a table in README.md."""
    return f"<!-- {name} table -->", f"<!-- end of {name} table -->"


def golden_results(name: str) -> pd.DataFrame:
    """The results that a table of README.md shows."""
    return pd.read_csv(GOLDEN / f"{name}.csv")


def readme_table(name: str) -> str:
    """A table of README.md from its golden results, as a fenced block."""
    results = golden_results(name)
    shown = mean_over_videos(results) if name in POOLED else results
    return f"```text\n{summary_table(shown.to_dict('records'), TABLES[name])}\n```"


def portable(overrides: str) -> str:
    """Overrides without those that name a file or folder, which lie elsewhere on each machine."""
    return " ".join(part for part in overrides.split() if "/" not in part.partition("=")[2])


def update_readme(name: str, folder: Path, target: Path = ROOT / "README.md") -> None:
    """Take a multirun into a table's golden file, and the table into the README.

    Raises:
        FileNotFoundError: the folder holds no jobs.
        ValueError: some of them failed.
    """
    if checkout_folder() is None:
        raise ValueError("readme: expected a checkout with README.md, found an installed package")
    results = merge_results(folder)
    failed = int((results["status"] != "completed").sum())
    if failed:
        raise ValueError(f"{folder}: expected completed jobs, found {failed} of {len(results)} that failed")
    kept = results.drop(columns=[column for column in VOLATILE if column in results])
    kept["overrides"] = kept["overrides"].map(portable)
    kept.to_csv(GOLDEN / f"{name}.csv", index=False)
    text = target.read_text(encoding="utf-8")
    begin, end = markers(name)
    before, rest = text.split(begin)
    _, after = rest.split(end)
    target.write_text(f"{before}{begin}\n{readme_table(name)}\n{end}{after}", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Entry point; bad input ends with exit code 2 and one line."""
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="print the table of runs and draw their picture")
    show.add_argument("folders", nargs="+", type=Path)
    show.add_argument("--picture", type=Path, help="default: runs.png in the first folder")
    merge = commands.add_parser("merge", help="collect a multirun's jobs")
    merge.add_argument("folder", type=Path)
    readme = commands.add_parser("readme", help="update a table of README.md")
    readme.add_argument("folder", type=Path)
    readme.add_argument("--table", choices=list(TABLES), default="quickstart")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "show":
            folders = [run for folder in chosen.folders for run in run_folders(folder)]
            print(summary_table([read_summary(folder) for folder in folders]))
            picture = chosen.picture or chosen.folders[0] / "runs.png"
            draw_runs(folders, picture)
            print(f"written to {picture}")
        elif chosen.command == "merge":
            print(summary_table(merge_results(chosen.folder).to_dict("records")))
        else:
            update_readme(chosen.table, chosen.folder)
    except (InputError, FileNotFoundError, ValueError) as error:
        _end(str(error))


def _end(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
