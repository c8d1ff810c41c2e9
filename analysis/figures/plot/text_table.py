"""The points of a figure as a table for a paper (LaTeX, booktabs) or a page (Markdown)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures.plot.draw import label_of, same, series_rows
from analysis.figures.plot.looks import looks, ordered, shown
from analysis.figures.plot.points import points
from analysis.figures.plot.quantities import ShownAs, axis_of
from analysis.figures.plot.request import PlotRequest, check_out
from analysis.figures.plot.runs import Runs, plain, read_runs
from analysis.results import check_unused, write_whole
from sim.records.intervals import QUANTILE_LEVELS, interval_keys

FORMATS = (".tex", ".md")
_DEFAULT = ("ea_mean", "accuracy_mean", "latency_mean_s", "latency_p99_s", "uplink_bps_mean")
UNKNOWN_CELL = "–"
_TEX = {"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}", "λ": r"$\lambda$"}
_TEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "–": "--"}


def write_table(request: PlotRequest) -> tuple[str, list[Path]]:
    """A table of what is asked for.

    Returns:
        Its text (Markdown where no file is asked for), and the files written: itself, and its numbers in SI
        units as a CSV beside it.

    Raises:
        InputError: in one line, what of the request cannot be, and what there is.
    """
    target = None if request.out is None else check_out(request, FORMATS, "table")
    if target is not None:
        for path in (target, target.with_suffix(".csv")):
            check_unused(path, request.overwrite, "overwrite=true")
    runs = read_runs(request)
    quantities = request.y or _DEFAULT
    keys = list(dict.fromkeys([*request.by, *([request.x] if request.x else [])]))
    table = points(runs, keys, quantities, request.over)
    rows = (
        _pivoted(runs, request, table) if request.x and len(quantities) == 1 else _rows(runs, request, table)
    )
    note = _note(table)
    is_tex = target is not None and target.suffix.lower() == ".tex"
    text = _tex(rows, note) if is_tex else _markdown(rows, note)
    if target is None:
        return text, []
    beside = target.with_suffix(".csv")
    write_whole(beside, partial(table.to_csv, index=False))
    write_whole(target, lambda part: part.write_text(text + "\n", encoding="utf-8"))
    return text, [target, beside]


def _rows(runs: Runs, request: PlotRequest, table: pd.DataFrame) -> list[list[str]]:
    """A row a cell, a column a quantity."""
    quantities = request.y or _DEFAULT
    x = request.x
    rows = [
        [
            _heading(request),
            *([label_of(x, table)] if x else []),
            *(label_of(one, table) for one in quantities),
        ]
    ]
    for series, (label, _) in looks(runs, request.by, table).items():
        own = series_rows(table, request.by, series)
        for value in ordered(dict.fromkeys(plain(one) for one in own[x])) if x else [None]:
            row = (own[same(own[x], value)] if x else own).iloc[0]
            told = [_value(x, value)] if x else []
            rows.append([label, *told, *(_cell(row, one) for one in quantities)])
    return rows


def _pivoted(runs: Runs, request: PlotRequest, table: pd.DataFrame) -> list[list[str]]:
    """A row a series, a column a value of x, of one quantity."""
    x, quantity = str(request.x), request.only_y()
    values = ordered(dict.fromkeys(plain(one) for one in table[x]))
    first = f"{label_of(quantity, table)} at {label_of(x, table)}"
    rows = [[first, *(_value(x, value) for value in values)]]
    for series, (label, _) in looks(runs, request.by, table).items():
        own = series_rows(table, request.by, series)
        cells = [own[same(own[x], value)] for value in values]
        rows.append(
            [label, *(_cell(cell.iloc[0], quantity) if len(cell) else UNKNOWN_CELL for cell in cells)]
        )
    return rows


def _value(key: str, value: Any) -> str:
    """A key's value, in the unit in which it is shown."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return shown(value * axis_of(key).scale) if is_number else shown(value)


def _heading(request: PlotRequest) -> str:
    return ", ".join(axis_of(key).name for key in request.by)


def _cell(row: pd.Series, quantity: str) -> str:
    """A value, half the width of its interval, or of a quantile its ends."""
    axis: ShownAs = axis_of(quantity)
    value, low, high = (row[name] for name in (quantity, *interval_keys(quantity)))
    if pd.isna(value):
        return UNKNOWN_CELL
    text, ends = _number(axis, value), (low, high)
    if any(pd.isna(end) for end in ends):
        return text
    if quantity in QUANTILE_LEVELS:
        return f"{text} [{_number(axis, low)}, {_number(axis, high)}]"
    return f"{text} ± {_number(axis, (high - low) / 2.0)}"


def _number(axis: ShownAs, value: float) -> str:
    return f"{axis.scale * float(value):.{axis.digits}f}"


def _note(table: pd.DataFrame) -> str:
    counts = sorted(set(table["replicates"]))
    of = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"± and [ ]: half the width and ends of 95 % intervals; {of} replicate{'s' * (of != '1')}"


def _markdown(rows: Sequence[Sequence[str]], note: str) -> str:
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    rule = ["---", *("---:" for _ in rows[0][1:])]
    lines = ["| " + " | ".join(row) + " |" for row in (escaped[0], rule, *escaped[1:])]
    return "\n".join([*lines, "", note])


def _tex(rows: Sequence[Sequence[str]], note: str) -> str:
    body = [" & ".join(_tex_cell(cell) for cell in row) + r" \\" for row in rows]
    return "\n".join(
        [
            f"% {note}; needs \\usepackage{{booktabs}}",
            rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _tex_cell(text: str) -> str:
    if re.fullmatch(r"-?[\d.]+( ± [\d.]+| \[.*\])?", text):
        return "$" + text.replace("±", r"\pm").replace(" [", r"\ [") + "$"
    return "".join(_TEX.get(letter, letter) for letter in text)
