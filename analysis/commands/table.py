"""``table``: the numbers of sweeps as a table for a paper (.tex) or a page (.md)."""

from __future__ import annotations

import argparse

from analysis.commands.command import Command

USAGE = "folders of runs or sweeps, and x= y=COLUMN,COLUMN by= over= where=KEY=VALUE out=FILE.tex|FILE.md"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arguments", nargs="+", metavar="SWEEP|KEY=VALUE", help=USAGE)


def _run(chosen: argparse.Namespace) -> None:
    from analysis.figures.plot.request import parse
    from analysis.figures.plot.text_table import write_table

    text, written = write_table(parse(chosen.arguments, "table"))
    print(f"written to {', '.join(map(str, written))}" if written else text)


COMMAND = Command("print numbers of sweeps as Markdown, or write them as LaTeX", _arguments, _run)
