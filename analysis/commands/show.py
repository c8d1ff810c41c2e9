"""``show``: the table of runs or of a sweep's jobs, whatever became of them, and their picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.commands.command import Command
from analysis.figures.pictures import check_format, draw_runs
from analysis.replicates import pooled_rows
from analysis.results import check_unused, rows_in
from analysis.tables import summary_table


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, help="also draw them: .png, .pdf, .svg, …")
    parser.add_argument("--overwrite", action="store_true", help="the picture, where there is one")


def _run(chosen: argparse.Namespace) -> None:
    folders: list[Path] = chosen.folders
    picture: Path | None = chosen.picture
    if picture is not None:
        check_format(picture)
        check_unused(picture, chosen.overwrite, "--overwrite")
    rows = rows_in(folders)
    print(summary_table(pooled_rows(rows)))
    if picture is None:
        return
    completed = [Path(row["folder"]) for row in rows if row["status"] == "completed"]
    if not completed:
        raise FileNotFoundError("--picture: expected completed runs, found none")
    draw_runs(completed, picture)
    print(f"written to {picture}")


COMMAND = Command("print the table of runs and draw their picture", _arguments, _run)
