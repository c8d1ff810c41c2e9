"""The command ``python -m analysis``: look at what runs have left.

    python -m analysis show FOLDER [FOLDER ...] [--picture FILE]
    python -m analysis plot SWEEP [SWEEP ...] x=KEY y=COLUMN [by=system] out=FILE
    python -m analysis table SWEEP [SWEEP ...] y=COLUMN[,COLUMN ...] [out=FILE.tex]
    python -m analysis compare A B [--out FILE]
    python -m analysis compare MULTIRUN --by system A B
    python -m analysis frontier FOLDER [FOLDER ...] [--picture FILE]
    python -m analysis ablation MULTIRUN
    python -m analysis faults MULTIRUN
    python -m analysis scaling MULTIRUN [--picture FILE]
    python -m analysis capacity find=cameras system=A,B p99_s=S min_accuracy=A out=FOLDER [KEY=VALUE ...]
    python -m analysis merge MULTIRUN
    python -m analysis report FOLDER [FOLDER ...] [out=FILE]
    python -m analysis readme MULTIRUN [--table NAME]
    python -m analysis reproduce [KEY=VALUE ...]
    python -m analysis calibrate [KEY=VALUE ...]

Each command is a module of :mod:`analysis.commands`, whose first line says what it does; it is offered here
once it stands in :data:`COMMANDS`.
"""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from analysis.commands import (
    ablation,
    calibrate,
    capacity,
    compare,
    faults,
    frontier,
    merge,
    plot,
    readme,
    report,
    reproduce,
    scaling,
    show,
    table,
)
from traces.errors import InputError

#: In the order of ``python -m analysis --help``.
COMMANDS = {
    "show": show.COMMAND,
    "plot": plot.COMMAND,
    "table": table.COMMAND,
    "compare": compare.COMMAND,
    "frontier": frontier.COMMAND,
    "ablation": ablation.COMMAND,
    "faults": faults.COMMAND,
    "scaling": scaling.COMMAND,
    "capacity": capacity.COMMAND,
    "merge": merge.COMMAND,
    "readme": readme.COMMAND,
    "reproduce": reproduce.COMMAND,
    "calibrate": calibrate.COMMAND,
    "report": report.COMMAND,
}


def main(arguments: list[str] | None = None) -> None:
    """Entry point; bad input ends with exit code 2 and one line."""
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__.split("\n")[0])
    offered = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command.arguments(offered.add_parser(name, help=command.help))
    chosen = parser.parse_args(arguments)
    try:
        COMMANDS[chosen.command].run(chosen)
    except (InputError, OSError, ValueError) as error:
        _end(str(error))


def _end(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
