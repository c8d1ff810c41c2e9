"""The command ``python -m analysis``: look at what runs have left.

    python -m analysis show FOLDER [FOLDER ...] [--picture runs.png]
    python -m analysis merge MULTIRUN
    python -m analysis readme MULTIRUN

``show`` prints the table of runs (or of all jobs of a multirun) and draws their picture. ``merge`` collects a
multirun's jobs anew into results.parquet and results.csv. ``readme`` takes the main job's results into
tests/golden/quickstart.csv and from there into README.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

import pandas as pd

from analysis.pictures import draw_runs
from analysis.results import merge_results, read_summary, run_folders
from analysis.tables import summary_table

ROOT = Path(__file__).resolve().parent.parent
QUICKSTART = ROOT / "tests" / "golden" / "quickstart.csv"
BEGIN, END = "<!-- quickstart table -->", "<!-- end of quickstart table -->"
# What differs between machines and moments is not taken along.
VOLATILE = ("folder", "wall_s", "git_sha", "version", "config_sha256", "error")


def readme_table(results: pd.DataFrame) -> str:
    """The table that README.md shows, as a fenced block."""
    return f"```text\n{summary_table(results.to_dict('records'))}\n```"


def update_readme(folder: Path, target: Path = ROOT / "README.md") -> None:
    """Take a multirun of the main job into the golden file, and its table into the README."""
    results = merge_results(folder)
    kept = results.drop(columns=[name for name in VOLATILE if name in results])
    kept.to_csv(QUICKSTART, index=False)
    text = target.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    table = readme_table(pd.read_csv(QUICKSTART))
    target.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Entry point; bad input ends with exit code 2 and one line."""
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="print the table of runs and draw their picture")
    show.add_argument("folders", nargs="+", type=Path)
    show.add_argument("--picture", type=Path, help="default: runs.png in the first folder")
    for name, text in (("merge", "collect a multirun's jobs"), ("readme", "update README.md's table")):
        commands.add_parser(name, help=text).add_argument("folder", type=Path)
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
            update_readme(chosen.folder)
    except FileNotFoundError as error:
        _end(str(error))


def _end(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
