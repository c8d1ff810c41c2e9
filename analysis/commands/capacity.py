"""``capacity``: most cameras, least bandwidth or slowest edge at which systems do what is required."""

from __future__ import annotations

import argparse

from analysis.commands.command import Command
from traces.errors import InputError

USAGE = (
    "find=cameras|bandwidth|edge system=A,B p99_s=0.15 min_accuracy=0.9 out=FOLDER, and as needed "
    "min_answered= replicates= share= from= to= overwrite=true; all else goes to python -m sim"
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arguments", nargs="+", metavar="KEY=VALUE", help=USAGE)


def _run(chosen: argparse.Namespace) -> None:
    from analysis.capacity.capacity import capacity_table, check_out, search, write
    from analysis.capacity.question import parse

    arguments: list[str] = [one for one in chosen.arguments if not one.startswith("overwrite=")]
    asked = [one.partition("=")[2] for one in chosen.arguments if one.startswith("overwrite=")]
    if any(value not in ("true", "false") for value in asked):
        raise InputError(f"overwrite: expected true or false, found {asked[0]!r}")
    question = parse(arguments)
    check_out(question, "true" in asked)
    found = search(question, lambda line: print(line, flush=True))
    print(capacity_table(question, found))
    print(f"written to {', '.join(map(str, write(question, found)))}")


COMMAND = Command("most cameras, least bandwidth, slowest edge that still do", _arguments, _run)
