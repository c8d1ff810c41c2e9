"""The command ``fluxshard``: ``fluxshard sim ARGUMENTS`` is ``python -m sim ARGUMENTS`` from any folder.

``python -m sim`` finds the package in the current folder first, whatever ``sim`` or ``traces`` may lie there.
An installed script does not look there, so this one works everywhere. It starts the others by name and
imports none of them, which is why it may lie here, at the bottom of all arrows.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from conf.version import package_version

COMMANDS = {
    "sim": "simulate: one run, or a sweep over systems, networks, videos and devices",
    "profiler": "measure a model on this machine and fit its latencies",
    "traces": "look at bandwidth traces, convert, generate and download them",
    "kernels": "what runs on this machine, whether it is right and how fast",
    "analysis": "tables and pictures of what runs have left",
}
BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Start a command with the arguments that follow its name; 2 with one line for a name that is none."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if given else BAD_INPUT
    if given[0] == "--version":
        print(f"fluxshard {package_version() or '(not installed)'}")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        _refuse(name)
    sys.argv = [f"fluxshard {name}", *rest]
    result: int | None = import_module(f"{name}.__main__").main()
    return result


def _help() -> str:
    width = max(map(len, COMMANDS))
    rows = [f"  {name.ljust(width)}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "fluxshard COMMAND ARGUMENTS          fluxshard COMMAND --help          fluxshard --version",
            "",
            *rows,
        ]
    )


def _refuse(name: str) -> NoReturn:
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    print(f"error: expected a command, one of {', '.join(COMMANDS)}, found {name!r}{hint}", file=sys.stderr)
    raise SystemExit(BAD_INPUT)


if __name__ == "__main__":
    sys.exit(main())
