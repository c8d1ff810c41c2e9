"""How each line, bar or curve of a figure looks: a system as everywhere, anything else in a fixed order."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures.display import system_display
from analysis.figures.plot.quantities import axis_of
from analysis.figures.plot.runs import Runs, plain
from analysis.figures.styles import CYCLE, DASHES, MARKERS, Display, LineStyle, matplotlib_dashes, run_styles
from analysis.settings import short

Series = tuple[Any, ...]  # a value of each key of `by`
Looks = Mapping[Series, tuple[str, LineStyle]]


def looks(runs: Runs, by: Sequence[str], table: pd.DataFrame) -> Looks:
    """Label and style of each series, in the order in which they are drawn.

    Systems have their own colours, dashes and markers; where something else is told apart beside the system,
    its values have dashes, the first a solid line.

    Args:
        runs: whose folders say how systems are shown.
        by: the keys that tell series apart.
        table: what is drawn; has a column for each of them.
    """
    if not by:
        return {(): ("", LineStyle(CYCLE[0]))}
    columns = [[plain(value) for value in table[key]] for key in by]
    found = list(dict.fromkeys(zip(*columns, strict=True)))
    values = [ordered(dict.fromkeys(series[place] for series in found)) for place in range(len(by))]
    styles = [_styles(runs, key, own) for key, own in zip(by, values, strict=True)]
    if len(by) == 1:
        return {(value,): styles[0][value] for value in values[0]}
    first, second = (0, 1) if by[1] != "system" else (1, 0)
    dashes = [matplotlib_dashes(name) for name in DASHES]
    result: dict[Series, tuple[str, LineStyle]] = {}
    for series in itertools.product(*values):
        if series in found:
            label, style = styles[first][series[first]]
            place = values[second].index(series[second])
            further = series[second]
            told = None if further is None else styles[second][further][0]
            named = label if told is None else f"{label}, {told}"
            result[series] = (named, LineStyle(style.colour, dashes[place % len(dashes)], style.marker))
    return result


def ordered(values: Any) -> list[Any]:
    """Values in the order in which they stand along an axis: numbers by size, all else as they come."""
    found = list(values)
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in found)
    return sorted(found) if numbers else found


def panel_title(key: str, value: Any) -> str:
    """What stands above a panel."""
    return _said(key, shown(value))


def shown(value: Any) -> str:
    """A value as text."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _said(key: str, value: str) -> str:
    """A value with the name of its key, where it would not be understood without."""
    bare = key in ("system", "trace", "video", "model", "sweep")
    return value if bare else f"{axis_of(key).name} {value}"


def _styles(runs: Runs, key: str, values: Sequence[Any]) -> dict[Any, tuple[str, LineStyle]]:
    if key == "system":
        displays = [_display(runs, str(value)) for value in values]
        return {
            value: (display.label, style)
            for value, display, style in zip(values, displays, run_styles(displays), strict=True)
        }
    names = short([shown(value) for value in values])
    dashes, markers = [matplotlib_dashes(name) for name in DASHES], list(MARKERS.values())
    return {
        value: (
            _said(key, names[shown(value)]),
            LineStyle(CYCLE[place % len(CYCLE)], dashes[place % len(dashes)], markers[place % len(markers)]),
        )
        for place, value in enumerate(values)
    }


def _display(runs: Runs, name: str) -> Display:
    """A system's display; an experiment's variant of one has a name of its own, and its own look."""
    row = runs.table[runs.table["system"] == name].iloc[0]
    display = system_display(Path(str(row["folder"])), str(row["yaml"]))
    return display if name == row["yaml"] else Display(name)
