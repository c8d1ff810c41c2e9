"""One colour, dash and marker a system, the same in every picture of the project.

They are those of the system's YAML (:mod:`analysis.figures.display`). Colours stay apart for readers who see
no red or no green as well; printed in grey, systems of like lightness differ in their dashes, and no two have
one marker (tests/theory/sim/test_picture_colours.py). What a YAML does not say is chosen by the system's
name, so that it does not depend on what else is in the picture, as long as nothing there looks alike.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

# Of what has no colour of its own, or shares one. From Paul Tol's and Okabe and Ito's schemes, chosen so that
# any two stay apart for colour-blind readers, too; no green.
CYCLE = ("#332288", "#CC6677", "#88CCEE", "#000000", "#D55E00", "#4477AA", "#DDCC77")
#: Lengths of strokes and gaps, in line widths; nothing for a line without gaps.
DASHES: Mapping[str, tuple[float, ...]] = {
    "solid": (),
    "dashed": (5, 1.5),
    "dotted": (1.2, 1.2),
    "dash-dot": (6, 1.5, 1.2, 1.5),
    "short": (3, 3),
    "long-short": (9, 2, 3, 2),
    "sparse": (1.2, 3),
    "dash-dot-dot": (6, 1.5, 1.2, 1.5, 1.2, 1.5),
    "long": (12, 3),
}
#: As matplotlib calls them.
MARKERS: Mapping[str, str] = {
    "circle": "o",
    "square": "s",
    "triangle": "^",
    "diamond": "D",
    "triangle-down": "v",
    "pentagon": "p",
    "cross": "X",
    "plus": "P",
    "star": "*",
    "hexagon": "h",
    "triangle-left": "<",
    "triangle-right": ">",
}
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo", "---", "+++", "|||", "//..", "***", "\\\\..")
APART = 25.0  # in CIELAB (1976), what thin lines need


@dataclass(frozen=True, slots=True)
class Display:
    """How a system is shown; what is None nothing says."""

    label: str
    colour: str | None = None
    dash: str | None = None
    marker: str | None = None

    def filled(self, other: Display) -> Display:
        """This, and what it does not say from another; a label that is but the name is not said either."""
        return replace(
            self,
            colour=self.colour or other.colour,
            dash=self.dash or other.dash,
            marker=self.marker or other.marker,
        )


@dataclass(frozen=True, slots=True)
class LineStyle:
    """How a run's curve is drawn; `dashes` and `marker` as matplotlib wants them."""

    colour: str
    dashes: Any = "solid"
    marker: str = "o"

    @property
    def hatch(self) -> str:
        """Of an area, so that areas stay apart in grey as lines do: one for each marker."""
        return HATCHES[list(MARKERS.values()).index(self.marker) % len(HATCHES)]


def run_styles(displays: Sequence[Display]) -> list[LineStyle]:
    """A style of its own for each run: its system's, or one of the cycle where that is missing or taken.

    When the colours are used up they come again with other dashes.
    """
    given = [display.colour for display in displays if display.colour is not None]
    spare = [colour for colour in CYCLE if all(difference(colour, one) >= APART for one in given)] or CYCLE
    styles: list[LineStyle] = []
    taken: set[tuple[str, Any]] = set()
    for display in displays:
        style = _own(display, spare)
        if (style.colour, style.dashes) in taken:
            turn = _turn(display.label)
            dashes = [matplotlib_dashes(name) for name in DASHES]
            again = [(colour, dash) for dash in dashes for colour in _rotated(spare, turn)]
            colour, dash = next((one for one in again if one not in taken), (CYCLE[0], "solid"))
            style = LineStyle(colour, dash, style.marker)
        taken.add((style.colour, style.dashes))
        styles.append(style)
    return styles


def _own(display: Display, spare: Sequence[str]) -> LineStyle:
    turn = _turn(display.label)
    colour = display.colour or next(one for one in _rotated(CYCLE, turn) if one in spare)
    marker = display.marker or list(MARKERS)[turn % len(MARKERS)]
    return LineStyle(colour, matplotlib_dashes(display.dash or "solid"), MARKERS[marker])


def matplotlib_dashes(name: str) -> Any:
    """A dash as matplotlib wants it."""
    return (0, DASHES[name]) if DASHES[name] else "solid"


def _turn(name: str) -> int:
    """A number that depends on a name alone."""
    return zlib.crc32(name.encode())


def _rotated(values: Sequence[str], turn: int) -> list[str]:
    first = turn % len(values)
    return [*values[first:], *values[:first]]


def lightness(colour: str) -> float:
    """L* of a colour "#rrggbb", 0 to 100: all that is left of it in grey."""
    return _lab(colour, _SEEN[0])[0]


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
