"""How a system is shown in pictures: the label and the colour that its YAML gives it.

A system's YAML may have a section ``display`` with a ``label`` and a ``colour`` ("#rrggbb"), both optional.
A run keeps it in its own configuration, so that a picture can be drawn where the YAML is no longer at hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from conf.search_path import find_file
from traces.errors import InputError

# Of runs whose systems have no colour or share one. From Paul Tol's and Okabe and Ito's schemes, chosen so
# that any two stay apart for colour-blind readers, too (tests/theory/sim/test_picture_colours.py); no green.
CYCLE = ("#332288", "#CC6677", "#88CCEE", "#000000", "#D55E00", "#4477AA", "#DDCC77")
# Of runs that have to share a colour, the first with a solid line.
DASHES: tuple[Any, ...] = (
    *("solid", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 3)), (0, (9, 2, 3, 2))),
    *((0, (1.2, 3)), (0, (6, 1.5, 1.2, 1.5, 1.2, 1.5)), (0, (12, 3))),
)
APART = 25.0  # in CIELAB (1976), what thin lines need
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


@dataclass(frozen=True, slots=True)
class LineStyle:
    """How a run's curve is drawn; `dashes` as matplotlib wants them."""

    colour: str
    dashes: Any = "solid"


def run_styles(displays: Sequence[Display]) -> list[LineStyle]:
    """A style of its own for each run: its system's colour, or the cycle's where that is missing or taken.

    When the colours are used up they come again with other dashes.
    """
    given = [display.colour for display in displays if display.colour is not None]
    spare = [colour for colour in CYCLE if all(difference(colour, one) >= APART for one in given)] or CYCLE
    styles: list[LineStyle] = []
    taken: set[LineStyle] = set()
    again = (LineStyle(colour, dashes) for dashes in DASHES for colour in spare)
    for display in displays:
        style = LineStyle(display.colour) if display.colour is not None else None
        if style is None or style in taken:
            style = next((one for one in again if one not in taken), LineStyle(CYCLE[0]))
        taken.add(style)
        styles.append(style)
    return styles


# What readers see of linear RGB: all of it, without green and without red receptors (Machado et al. 2009).
_SEEN = (
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
)


def difference(one: str, other: str) -> float:
    """How far apart two colours "#rrggbb" are in CIELAB, for the reader for whom they are nearest."""
    return min(math.dist(_lab(one, seen), _lab(other, seen)) for seen in _SEEN)


def _lab(colour: str, seen: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """CIELAB (D65) of a colour as a reader sees it."""
    values = (int(colour[place : place + 2], 16) / 255.0 for place in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    red, green, blue = (
        min(1.0, max(0.0, sum(a * b for a, b in zip(row, linear, strict=True)))) for row in seen
    )
    x, y, z = (
        cube if share > 0.008856 else 7.787 * share + 16.0 / 116.0
        for share in (
            (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
            0.2126 * red + 0.7152 * green + 0.0722 * blue,
            (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
        )
        for cube in (share ** (1.0 / 3.0),)
    )
    return 116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)


def _read(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, Mapping) else {}
