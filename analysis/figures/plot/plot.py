"""From a request to a figure, and the table that it was drawn from beside it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from analysis.figures.plot.canvas import save, template
from analysis.figures.plot.draw import draw_bars, draw_heat, draw_lines, draw_pareto, is_number
from analysis.figures.plot.draw_frames import draw_cdf, draw_composition, draw_series
from analysis.figures.plot.frames import cdf_table, composition_table
from analysis.figures.plot.looks import Looks, looks
from analysis.figures.plot.points import pareto_table, point_table
from analysis.figures.plot.request import FORMATS, PlotRequest, check_out
from analysis.figures.plot.runs import Runs, read_runs
from analysis.figures.plot.series import series_table
from analysis.results import check_unused, write_whole
from traces.errors import InputError

_TABLES = {
    "lines": point_table,
    "bars": point_table,
    "heat": point_table,
    "pareto": pareto_table,
    "cdf": cdf_table,
    "composition": composition_table,
    "series": series_table,
}
_DRAWN = {
    "lines": draw_lines,
    "bars": draw_bars,
    "pareto": draw_pareto,
    "cdf": draw_cdf,
    "composition": draw_composition,
}


def plot(request: PlotRequest) -> tuple[list[Path], list[str]]:
    """Draw what is asked for.

    Returns:
        The files written, the figure and its table, and lines on what it shows.

    Raises:
        InputError: in one line, what of the request cannot be, and what there is.
    """
    target = check_out(request, FORMATS, "plot")
    beside = target.with_suffix(".csv")
    for path in (target, beside):
        check_unused(path, request.overwrite, "overwrite=true")
    runs = read_runs(request)
    table, apart = _with_x(request, _TABLES[request.kind](runs, request))
    # What is drawn is what was written: the figure can be drawn anew from the table alone.
    write_whole(beside, partial(table.to_csv, index=False))
    drawn = pd.read_csv(beside)
    by = ("system",) if request.kind == "heat" else request.by
    shown = {} if any(key not in drawn for key in by) else looks(runs, by, drawn)
    write_figure(request, drawn, shown, target)
    return [target, beside], [*apart, *_notes(request, runs, table)]


def write_figure(request: PlotRequest, table: pd.DataFrame, shown: Looks, target: Path) -> None:
    """Draw a table as the figure that was asked for."""
    with template(request.width):
        if request.kind == "heat":
            figure = draw_heat(request, table, shown)
        elif request.kind == "series":
            figure = draw_series(request, table)
        else:
            figure = _DRAWN[request.kind](request, table, shown)
        save(figure, target)


def _with_x(request: PlotRequest, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The points that have a value along x, and a line on the others: an option that a system does not have.

    Raises:
        InputError: none has; or a scale is asked for along which there are no numbers.
    """
    if request.x not in table or request.kind == "pareto":
        return table, []
    if request.xscale != "auto" and not is_number(table[request.x]):
        raise InputError(f"xscale={request.xscale}: expected numbers along x={request.x}, found names")
    missing = table[request.x].isna()
    if not missing.any():
        return table, []
    if missing.all():
        raise InputError(f"x={request.x}: expected runs with a value of it, found none")
    told = [key for key in request.by if key in table]
    names = [" ".join(map(str, row)) for row in table.loc[missing, told].itertuples(index=False)]
    said = ", ".join(dict.fromkeys(names))
    return table[~missing].reset_index(drop=True), [f"not drawn, has no {request.x}: {said}"]


def _notes(request: PlotRequest, runs: Runs, table: pd.DataFrame) -> list[str]:
    notes = []
    if runs.left_out:
        notes.append(f"{runs.left_out} runs without a result are left out")
    if "replicates" in table and request.kind not in ("cdf",):
        counts = sorted(set(table["replicates"]))
        of = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        notes.append(
            f"means over {of} replicates, 95 % intervals"
            if counts[-1] > 1
            else "single runs; an interval where a run is long enough for one"
        )
    if request.kind == "series" and not (table["quantity"] == "link").any():
        notes.append("the link's rate and queue are not recorded: timeline=true of python -m sim does that")
    if request.kind == "cdf":
        notes.append(
            f"frames captured after start-up, replicates pooled: {int(table['values'].max())} at most"
        )
    return notes
