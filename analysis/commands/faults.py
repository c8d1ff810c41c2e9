"""``faults``: what each fault costs each system."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.commands.command import Command
from analysis.results import run_rows


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path)


def _run(chosen: argparse.Namespace) -> None:
    from analysis.comparison.ablation import faults_table

    print(faults_table(run_rows(chosen.folder)))


COMMAND = Command("what each fault costs each system", _arguments, _run)
