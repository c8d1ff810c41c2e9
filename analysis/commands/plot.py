"""``plot``: a figure for a paper or a slide, and the table that it was drawn from."""

from __future__ import annotations

import argparse

from analysis.commands.command import Command

USAGE = (
    "folders of runs or sweeps, and kind=lines|bars|cdf|pareto|heat|composition|series x= y= by= facet= "
    "over= where=KEY=VALUE out=FILE width= …"
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arguments", nargs="+", metavar="SWEEP|KEY=VALUE", help=USAGE)


def _run(chosen: argparse.Namespace) -> None:
    from analysis.figures.plot.plot import plot
    from analysis.figures.plot.request import parse

    written, notes = plot(parse(chosen.arguments, "plot"))
    for note in notes:
        print(note)
    print(f"written to {', '.join(map(str, written))}")


COMMAND = Command("draw lines, bars, CDFs, fronts, heat maps, … of sweeps", _arguments, _run)
