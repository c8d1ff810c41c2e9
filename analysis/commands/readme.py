"""``readme``: the results of an experiment into tests/golden/tables/, and from there into their page."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.commands.command import Command
from analysis.pages import TABLES, update_page


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path)
    parser.add_argument("--table", choices=list(TABLES), default="quickstart")


def _run(chosen: argparse.Namespace) -> None:
    update_page(chosen.table, chosen.folder)


COMMAND = Command("update a table of a page", _arguments, _run)
