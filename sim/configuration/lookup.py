"""Whatever has a name is a YAML file, `<folder>/<group>/<name>.yaml`, along one search path.

The group is the key that holds the name: `trace.format=mine` is the file `trace/format/mine.yaml`.

The path is that of `conf.search_path`: the folders of `--config-dir`, the user's own, then `conf/`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from conf.search_path import find_file, group_names
from sim.configuration.reading import hint_at
from traces.errors import InputError


def names(group: str, folders: Iterable[str] = ()) -> tuple[str, ...]:
    """The names in a group, all folders together, sorted."""
    return group_names(group, folders)


def find(group: str, name: str, folders: Iterable[str] = (), key: str | None = None) -> Path:
    """The file behind a name.

    Args:
        group: such as "system" or "trace/format".
        name: without its suffix.
        folders: searched before the user's and the package's.
        key: the configuration key that holds the name, for the message; the group's where it is None.

    Raises:
        InputError: there is none; says which there are, and the nearest.
    """
    folders = tuple(folders)
    path = find_file(group, name, folders)
    if path is None:
        key, known = key or group.replace("/", "."), names(group, folders)
        raise InputError(f"{key}: expected one of {', '.join(known)}, found {name!r}{hint_at(name, known)}")
    return path


def read(path: Path) -> dict[str, Any]:
    """The keys of a YAML file.

    Raises:
        InputError: it cannot be read, or holds no keys; names file and line.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a YAML file, found {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise InputError(f"{path}{line}: expected YAML, found {getattr(error, 'problem', error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected keys and values, found {content!r}")
    return content


def line_of(path: Path, key: str) -> int:
    """The line, from 1, on which a top-level key of a YAML file stands; 1 if it stands nowhere."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith(f"{key}:"):
            return number
    return 1
