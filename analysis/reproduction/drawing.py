"""Pictures of a paper's experiments: its figures anew, and each item's published beside simulated numbers.

``mapping.yaml`` says what a figure shows of which experiment, in the words of ``python -m analysis plot``. An
item of the paper (a table, a figure, the text of a section) with numbers that something stands against is
a picture of its own: hollow what was printed, filled what came out, with its interval; grey what is held out.
What stands in for the paper's data is written into every picture.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures.axes import plain_axis
from analysis.figures.plot.canvas import save, template
from analysis.figures.plot.plot import plot
from analysis.figures.plot.request import parse
from analysis.reproduction.mapping import PaperMapping
from analysis.reproduction.table import Reproduced
from analysis.results import write_whole

WIDTH = "text"
LINE_IN = 0.17  # of a number's line
LETTERS = 150  # of a line of notes


def draw_figures(mapping: PaperMapping, folders: Mapping[str, Path], target: Path) -> list[Path]:
    """The paper's figures, of those experiments that have been run.

    Args:
        mapping: of the paper.
        folders: of the experiments' runs, by name.
        target: the folder to draw into.

    Returns:
        The pictures, each with the table beside it that it was drawn from.
    """
    target.mkdir(parents=True, exist_ok=True)
    drawn = []
    for figure in mapping.figures.values():
        if figure.experiment not in folders:
            continue
        out = target / f"{figure.name}.pdf"
        given = [str(folders[figure.experiment]), *figure.plot, f"out={out}", "overwrite=true"]
        drawn += plot(parse(given, "plot"))[0][:1]
    return drawn


def draw_compared(rows: Sequence[Reproduced], target: Path) -> list[Path]:
    """A picture an item: published beside simulated, a panel for each unit of each kind."""
    items: dict[str, list[Reproduced]] = {}
    for row in rows:
        if row.simulated is not None and row.kind != "profile":
            items.setdefault(row.number.place, []).append(row)
    target.mkdir(parents=True, exist_ok=True)
    drawn = []
    for place, members in items.items():
        name = re.sub(r"[^a-z0-9]+", "_", place.lower()).strip("_")
        table = pd.DataFrame([_drawn(row) for row in members])
        out = target / f"published_{name}.pdf"
        write_whole(out.with_suffix(".csv"), partial(table.to_csv, index=False))
        with template(WIDTH):
            save(_picture(place, table), out)
        drawn.append(out)
    return drawn


def _drawn(row: Reproduced) -> dict[str, Any]:
    simulated, number = row.simulated, row.number
    assert simulated is not None
    return {
        "panel": f"{row.kind} ({number.unit})",
        "quantity": number.quantity,
        "published": number.value,
        "simulated": simulated.value,
        "low": simulated.low,
        "high": simulated.high,
        "held_out": number.held_out,
        "reason": row.reason,
    }


def _picture(place: str, table: pd.DataFrame) -> Any:
    from matplotlib.figure import Figure

    panels = list(table.groupby("panel", sort=False))
    lines = [len(part) + 2.5 for _, part in panels]
    reasons = list(dict.fromkeys(part for reason in table["reason"] for part in reason.split("; ") if part))
    notes = [line for reason in reasons for line in textwrap.wrap(reason, LETTERS, subsequent_indent="   ")]
    height = LINE_IN * (sum(lines) + len(notes) + 3)
    figure = Figure(figsize=(7.0, height), layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": lines})[:, 0]
    for axes, (name, part) in zip(grid, panels, strict=True):
        _panel(axes, str(name), part)
    figure.suptitle(f"{place}: hollow published, filled simulated (95 %); grey held out", fontsize="medium")
    figure.supxlabel("\n".join(notes), x=0.01, ha="left", fontsize="x-small")
    return figure


def _panel(axes: Any, name: str, part: pd.DataFrame) -> None:
    places = range(len(part))
    for place, row in zip(places, part.to_dict("records"), strict=True):
        colour = "#8c8c8c" if row["held_out"] else "#0b2f6b"
        axes.plot([row["published"], row["simulated"]], [place, place], color=colour, linewidth=0.5)
        if pd.notna(row["low"]):
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.0, alpha=0.5)
        axes.plot(row["published"], place, marker="o", color=colour, markerfacecolor="white", linestyle="")
        axes.plot(row["simulated"], place, marker="o", color=colour, linestyle="")
    axes.set_yticks(places, part["quantity"].tolist())
    axes.set_ylim(len(part) - 0.5, -0.5)
    axes.set_title(name, loc="left")
    axes.grid(visible=False, axis="y")
    plain_axis(axes, part[["published", "simulated"]].to_numpy("float64").ravel().tolist())
