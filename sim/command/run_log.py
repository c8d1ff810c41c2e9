"""A run's own log: what it was, what it warned of, how it ended; and warnings as one line on the screen."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOG = logging.getLogger("sim")
_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_said: set[str] = set()  # by this process: a sweep's jobs share their notes


@contextmanager
def run_log(folder: Path) -> Iterator[None]:
    """While it lasts, ``run.log`` in the folder takes what is logged or warned of.

    A user's warning is also a line ``note: …`` on stderr, once a process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / "run.log", mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter(_FORMAT))
    root, level = logging.getLogger(), LOG.level
    root.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            # After all filters that there are: whoever wants errors gets them, the rest is noted each time.
            warnings.filterwarnings("always", category=UserWarning, append=True)
            warnings.showwarning = _note_through(warnings.showwarning)
            yield
    finally:
        LOG.setLevel(level)
        root.removeHandler(handler)
        handler.close()


def write_traceback(folder: Path, error: BaseException) -> None:
    """Where an error came from, in ``traceback.txt``."""
    text = "".join(traceback.format_exception(error))
    (folder / "traceback.txt").write_text(text, encoding="utf-8")


def _note_through(show: Any) -> Any:
    def note(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        logging.getLogger().warning("%s: %s", category.__name__, message)
        if not issubclass(category, UserWarning):
            show(message, category, *where, **more)
        elif str(message) not in _said:
            _said.add(str(message))
            print(f"note: {message}", file=sys.stderr)

    return note
