"""What a value follows from, as a key: pixels by their content, code by its sources.

A version number would not do for code: a working copy changes without one, and a stale value would be a
silent wrong answer. The sources of whole packages are hashed instead, which takes milliseconds, once a
process; after any change in them nothing that was kept before is found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

_LEFT_OUT = (".md", ".pyc", ".parquet", ".csv")  # no code, and nothing that is computed with


def digest(*parts: Any) -> str:
    """SHA-256 over parts: texts, bytes, numbers and None by what they are, arrays by type, shape and content.

    Raises:
        TypeError: a part of another kind, whose text might not say all that it is.
    """
    made = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            made.update(f"array {part.dtype.str} {part.shape} ".encode())
            made.update(np.ascontiguousarray(part).data)
        elif isinstance(part, bytes):
            made.update(f"bytes {len(part)} ".encode())
            made.update(part)
        elif part is None or isinstance(part, (str, int, float)):
            text = repr(part).encode()
            made.update(f"{type(part).__name__} {len(text)} ".encode())
            made.update(text)
        else:
            raise TypeError(f"parts of a key must be texts, bytes, numbers, arrays or None (got {part!r})")
    return made.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def code_digest(*packages: str) -> str:
    """SHA-256 of every source of some packages, those below them included, with their names."""
    return digest(*(text for package in packages for text in _sources(package)))


def _sources(package: str) -> Iterable[str]:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"packages must be packages (got {package!r})")
    for folder in spec.submodule_search_locations:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and path.suffix not in _LEFT_OUT and "__pycache__" not in path.parts:
                yield f"{package}/{path.relative_to(folder).as_posix()} {file_digest(path)}"
