"""What every command of ``python -m analysis`` is made of."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple


class Command(NamedTuple):
    """One command.

    Args:
        help: its line in the list of commands.
        arguments: adds what it takes to its parser.
        run: does it, with what was given; :class:`traces.errors.InputError`, OSError and ValueError end the
            program in one line and exit code 2.
    """

    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
