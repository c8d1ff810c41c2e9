"""Files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from traces.errors import InputError


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """A path to write to; what was written takes its place at ``path`` at the end, or vanishes on an error.

    Raises:
        InputError: the place cannot be written to.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if part.is_file():
            part.unlink()


def check_writable(path: Path | str) -> None:
    """Make the folder of a file to come, and see that files can be made in it.

    Raises:
        InputError: they cannot.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        part.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: expected a path that can be written, found {error}")
