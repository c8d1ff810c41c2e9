"""The one error that bad input raises: a message a user can act on, printed without a traceback."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: a file, a row or a configuration value that cannot be used.

    The message is one line and names the file and line (or the configuration key), what was expected
    with its unit, and what was found. Commands print it and exit with code 2.
    """
