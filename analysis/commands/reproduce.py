"""``reproduce``: what the papers printed beside what was simulated; runs what is missing."""

from __future__ import annotations

import argparse

from analysis.commands.command import Command

USAGE = (
    "paper= figure= calibration=none|fitted run=true|false davis=FOLDER yolo11n_seg=FILE yolo11n=FILE "
    "folder= processes= out="
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("choices", nargs="*", metavar="KEY=VALUE", help=USAGE)


def _run(chosen: argparse.Namespace) -> None:
    from analysis.reproduction.command import run_command

    run_command(chosen.choices)


COMMAND = Command("published numbers beside simulated ones", _arguments, _run)
