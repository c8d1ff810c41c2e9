"""``calibrate``: what the second paper leaves open, fitted to those of its numbers that are not held out."""

from __future__ import annotations

import argparse

from analysis.commands.command import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("choices", nargs="*", metavar="KEY=VALUE", help="as for reproduce")


def _run(chosen: argparse.Namespace) -> None:
    from analysis.reproduction.calibration import run_command

    run_command(chosen.choices)


COMMAND = Command("fit what a paper leaves open to half of its numbers", _arguments, _run)
