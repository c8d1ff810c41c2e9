"""``ablation``: what each part that a sweep leaves out is worth in each regime."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.commands.command import Command
from analysis.results import run_rows


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path)


def _run(chosen: argparse.Namespace) -> None:
    from analysis.comparison.ablation import ablation_table, effects

    print(ablation_table(effects(run_rows(chosen.folder))))


COMMAND = Command("what each part that was left out is worth", _arguments, _run)
