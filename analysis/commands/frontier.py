"""``frontier``: each system's settings as points of accuracy against latency and bytes."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.commands.command import Command
from analysis.results import check_unused


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, help="also draw it: .png, .pdf, .svg, …")
    parser.add_argument("--overwrite", action="store_true", help="the picture, where there is one")


def _run(chosen: argparse.Namespace) -> None:
    from analysis.comparison.frontier import frontier_table, points
    from analysis.figures.frontier import draw_frontier
    from analysis.figures.pictures import check_format

    if chosen.picture is None:
        print(frontier_table(points(chosen.folders)))
        return
    check_format(chosen.picture)
    check_unused(chosen.picture, chosen.overwrite, "--overwrite")
    print(frontier_table(draw_frontier(chosen.folders, chosen.picture)))
    print(f"written to {chosen.picture}")


COMMAND = Command("what each system trades: accuracy, latency, bytes", _arguments, _run)
