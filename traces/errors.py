"""The one error that bad input raises: a message a user can act on, printed without a traceback."""

from __future__ import annotations

import inspect
import traceback
from pathlib import Path
from typing import Any


class InputError(ValueError):
    """Bad input: a file, a row or a configuration value that cannot be used.

    The message is one line and names the file and line (or the configuration key), what was expected
    with its unit, and what was found. Commands print it and exit with code 2.
    """


def class_path(cls: type) -> str:
    """The class as a `_target_` names it."""
    return f"{cls.__module__}.{cls.__qualname__}"


def failure_in(cls: type, error: Exception) -> str:
    """One line on an error that came out of a class which a user brought: where it arose, and what it says.

    The place is the innermost line within the folder of the class's own file, since a line of a library
    that it called tells its author less. Example: `link.py, line 12: KeyError: 'rate'`.
    """
    frames = traceback.extract_tb(error.__traceback__)
    try:
        folder = Path(inspect.getfile(cls)).resolve().parent
    except (OSError, TypeError):  # a class made in a console has no file
        folder = None
    own = [frame for frame in frames if folder is not None and _is_within(folder, frame.filename)]
    place = own or list(frames)
    where = f"{place[-1].filename}, line {place[-1].lineno}: " if place else ""
    said = " ".join(str(error).split())
    return f"{where}{type(error).__name__}{': ' if said else ''}{said}"


def _is_within(folder: Path, file: str) -> bool:
    """Whether a file lies in a folder, and not in a library that is installed below that folder."""
    path = Path(file).resolve()
    return folder in path.parents and "site-packages" not in path.relative_to(folder).parts


def place_of(thing: Any) -> str:
    """File and line of a class or function, for messages about it."""
    try:
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):
        return str(getattr(thing, "__qualname__", thing))
