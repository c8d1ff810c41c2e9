"""``scaling``: what more cameras do to systems."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.commands.command import Command
from analysis.results import check_unused


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path)
    parser.add_argument("--picture", type=Path, help="also draw it: .png, .pdf, .svg, …")
    parser.add_argument("--overwrite", action="store_true", help="the picture, where there is one")


def _run(chosen: argparse.Namespace) -> None:
    from analysis.comparison.scaling import scaling_lines, scaling_table
    from analysis.figures.pictures import check_format
    from analysis.figures.scaling import draw_scaling

    picture: Path | None = chosen.picture
    if picture is not None:
        check_format(picture)
        check_unused(picture, chosen.overwrite, "--overwrite")
    lines = scaling_lines(chosen.folder)
    print(scaling_table(lines))
    if picture is not None:
        draw_scaling(lines, picture)
        print(f"written to {picture}")


COMMAND = Command("systems against the number of cameras", _arguments, _run)
