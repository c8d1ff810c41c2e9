"""How a system is shown in pictures: the label and the colour that its YAML gives it.

A system's YAML may have a section ``display`` with a ``label`` and a ``colour`` ("#rrggbb"), both optional.
A run keeps it in its own configuration, so that a picture can be drawn where the YAML is no longer at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from conf.search_path import find_file
from traces.errors import InputError

# Paul Tol's muted scheme, for colour-blind readers: of runs whose systems have no colour or share one.
CYCLE = ("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#AA4499", "#44AA99", "#882255", "#999933")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")


@dataclass(frozen=True, slots=True)
class Display:
    """How a system is shown; `colour` is None where nothing says it."""

    label: str
    colour: str | None = None


def system_display(folder: Path, system: str) -> Display:
    """How the system of a run is shown.

    Args:
        folder: the run's.
        system: the name of its YAML, which is its label where there is no other.

    Raises:
        InputError: a label that is no text or a colour that is not "#rrggbb".
    """
    own = folder / ".hydra" / "config.yaml"
    path = own if own.is_file() else find_file("system", system)
    content = _read(path)
    section = content.get("system") if path == own else content
    if not isinstance(section, Mapping):
        return Display(system)
    return read_display(section.get("display"), system, f"{path}: display")


def read_display(section: Any, system: str, key: str) -> Display:
    """How a system is shown, from the section `display` of its YAML.

    Args:
        section: its keys; None where there is none.
        system: the label where the section has none.
        key: where the section stands, for messages.

    Raises:
        InputError: it is no section, has another key, a label that is no text, or a colour that is not
            "#rrggbb".
    """
    if section is None:
        return Display(system)
    if not isinstance(section, Mapping):
        raise InputError(f"{key}: expected a section with label and colour, found {section!r}")
    for name in section:
        if name not in ("label", "colour"):
            raise InputError(f"{key}.{name}: expected one of label, colour, found {name!r}")
    label, colour = section.get("label", system), section.get("colour")
    if not isinstance(label, str):
        raise InputError(f"{key}.label: expected a text, found {label!r}")
    if colour is not None and not (isinstance(colour, str) and _COLOUR.fullmatch(colour)):
        raise InputError(f'{key}.colour: expected "#rrggbb" or none, found {colour!r}')
    return Display(label, colour)


def run_colours(displays: Sequence[Display]) -> list[str]:
    """A colour for each run: its system's own, or the cycle's where that is missing or taken."""
    given = [display.colour for display in displays]
    spare = iter(colour for colour in CYCLE * (1 + len(displays)) if colour not in given)
    taken: set[str] = set()
    colours = []
    for colour in given:
        chosen = colour if colour is not None and colour not in taken else next(spare)
        taken.add(chosen)
        colours.append(chosen)
    return colours


def _read(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, Mapping) else {}
