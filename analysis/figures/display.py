"""How a system is shown in pictures: the label, the colour, the dash and the marker that its YAML gives it.

A system's YAML may have a section ``display`` with a ``label``, a ``colour`` ("#rrggbb"), a ``dash`` and a
``marker`` (names of :mod:`analysis.figures.styles`), all optional. A run keeps it in its own configuration,
so that a picture can be drawn where the YAML is no longer at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from analysis.figures.styles import DASHES, MARKERS, Display
from conf.search_path import find_file
from traces.errors import InputError

_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_KEYS = ("label", "colour", "dash", "marker")


def system_display(folder: Path, system: str) -> Display:
    """How the system of a run is shown.

    What the run's own configuration does not say (it may be of an earlier version) is as its YAML says today.

    Args:
        folder: the run's.
        system: the name of its YAML, which is its label where there is no other.

    Raises:
        InputError: a label that is no text, or a colour, dash or marker that is none.
    """
    own = folder / ".hydra" / "config.yaml"
    if own.is_file():
        section = _read(own).get("system")
        kept = section.get("display") if isinstance(section, Mapping) else None
        shown = read_display(kept, system, f"{own}: display")
        if kept is None or not all(name in kept for name in _KEYS):
            return shown.filled(_from_yaml(system))
        return shown
    return _from_yaml(system)


def _from_yaml(system: str) -> Display:
    path = find_file("system", system)
    return read_display(_read(path).get("display"), system, f"{path}: display")


def read_display(section: Any, system: str, key: str) -> Display:
    """How a system is shown, from the section `display` of its YAML.

    Args:
        section: its keys; None where there is none.
        system: the label where the section has none.
        key: where the section stands, for messages.

    Raises:
        InputError: it is no section, has another key, a label that is no text, a colour that is not
            "#rrggbb", or a dash or marker that there is not.
    """
    if section is None:
        return Display(system)
    if not isinstance(section, Mapping):
        raise InputError(f"{key}: expected a section with {', '.join(_KEYS)}, found {section!r}")
    for name in section:
        if name not in _KEYS:
            raise InputError(f"{key}.{name}: expected one of {', '.join(_KEYS)}, found {name!r}")
    label, colour = section.get("label", system), section.get("colour")
    if not isinstance(label, str):
        raise InputError(f"{key}.label: expected a text, found {label!r}")
    if colour is not None and not (isinstance(colour, str) and _COLOUR.fullmatch(colour)):
        raise InputError(f'{key}.colour: expected "#rrggbb" or none, found {colour!r}')
    for name, known in (("dash", DASHES), ("marker", MARKERS)):
        if section.get(name) is not None and section[name] not in known:
            raise InputError(f"{key}.{name}: expected one of {', '.join(known)}, found {section[name]!r}")
    return Display(label, colour, section.get("dash"), section.get("marker"))


def _read(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, Mapping) else {}
