"""``merge``: a multirun's jobs collected anew into results.parquet and results.csv."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.commands.command import Command
from analysis.replicates import pooled_rows
from analysis.results import merge_results, run_rows
from analysis.tables import summary_table


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path)


def _run(chosen: argparse.Namespace) -> None:
    folder: Path = chosen.folder
    merge_results(folder)
    print(summary_table(pooled_rows(run_rows(folder), folder)))
    pooled = ", pooled.csv" if (folder / "pooled.csv").is_file() else ""
    print(f"written to {folder}: results.parquet, results.csv{pooled}")


COMMAND = Command("collect a multirun's jobs", _arguments, _run)
