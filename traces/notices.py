"""Warnings on input that is usable but not as it seems: one line each, and each said once."""

from __future__ import annotations

import warnings

_said: set[str] = set()


class InputWarning(UserWarning):
    """What was made of input that could be understood in more ways than one. One line."""


def warn_once(message: str, stacklevel: int = 2) -> None:
    """Warn with `message`, unless this process has said it before: a sweep opens the same file many times."""
    if message in _said:
        return
    _said.add(message)
    warnings.warn(message, InputWarning, stacklevel=stacklevel + 1)


def print_in_one_line() -> None:
    """Let commands print an InputWarning without the place in the code; other warnings keep theirs."""
    usual = warnings.formatwarning
    if getattr(usual, "in_one_line", False):
        return

    def formatted(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if issubclass(category, InputWarning):
            return f"warning: {message}\n"
        return usual(message, category, filename, lineno, line)

    formatted.in_one_line = True  # type: ignore[attr-defined]
    warnings.formatwarning = formatted
