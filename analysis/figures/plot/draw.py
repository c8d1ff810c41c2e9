"""Drawing of points: lines, bars, Pareto fronts, heat maps; all from the table left beside the figure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.figures.axes import plain_axis
from analysis.figures.plot.canvas import add_legend, new_figure
from analysis.figures.plot.looks import Looks, ordered, panel_title, shown
from analysis.figures.plot.points import FRONT, RULER
from analysis.figures.plot.quantities import ShownAs, axis_of, is_rated
from analysis.figures.plot.request import PlotRequest
from analysis.figures.plot.runs import plain
from analysis.figures.styles import LineStyle
from analysis.settings import short
from sim.records.intervals import interval_keys

ASPECT = {"column": 0.68, "text": 0.42, "slide": 0.48}  # of a single panel
ROOM = {"column": 45, "text": 95, "slide": 80}  # letters along an axis
MOST_BESIDE = {"column": 2, "text": 4, "slide": 4}  # panels


def panels(request: PlotRequest, table: pd.DataFrame, looks: Looks, labels: list[str]) -> Any:
    """A figure with a panel for each value of the facet, and the part of the table that each shows."""
    if request.facet is None:
        figure, grid = new_figure(request.width, 1, 1, ASPECT[request.width], labels)
        return figure, [(grid[0, 0], table)], grid
    values = ordered(dict.fromkeys(plain(value) for value in table[request.facet]))
    columns = min(len(values), MOST_BESIDE[request.width])
    rows = -(-len(values) // columns)
    aspect = 0.8 if columns > 1 else ASPECT[request.width]
    figure, grid = new_figure(request.width, rows, columns, aspect, labels)
    found = []
    for axes, value in zip(grid.flat, values, strict=False):
        label = looks[(value,)][0] if request.by == (request.facet,) else panel_title(request.facet, value)
        axes.set_title(label)
        found.append((axes, table[same(table[request.facet], value)]))
    for axes in list(grid.flat)[len(values) :]:
        axes.set_visible(False)
    for axes, _ in found[1:]:
        axes.sharex(found[0][0])
        axes.sharey(found[0][0])
    return figure, found, grid


def label_of(key: str, table: pd.DataFrame) -> str:
    """What stands at an axis; of accuracies also the ruler they are by."""
    ruler = f" ({table[RULER].iloc[0]})" if is_rated(key) and RULER in table and len(table) else ""
    axis = axis_of(key)
    return ShownAs(axis.name + ruler, axis.scale, axis.unit).label


def outer_labels(grid: Any, x: str, y: str) -> None:
    """Labels at the left and lower panels only."""
    for axes in grid[:, 0]:
        axes.set_ylabel(y)
    rows = grid.shape[0]
    for place, column in enumerate(grid.T):
        lowest = [axes for axes in column if axes.get_visible()]
        if lowest:
            lowest[-1].set_xlabel(x)
        for axes in lowest[:-1]:
            axes.tick_params(labelbottom=False)
        if place:
            for axes in column:
                axes.tick_params(labelleft=False)
    assert rows == len(grid)


def legend_of(request: PlotRequest, looks: Looks) -> list[str]:
    """The labels of a legend; a single series needs none, nor do those that have a panel each."""
    labels = [label for label, _ in looks.values()]
    return labels if len(labels) > 1 and request.by != (request.facet,) else []


def series_rows(table: pd.DataFrame, by: Sequence[str], series: Sequence[Any]) -> pd.DataFrame:
    """The rows of a series."""
    kept = pd.Series(True, index=table.index)
    for key, value in zip(by, series, strict=True):
        kept &= same(table[key], value)
    return table[kept]


def same(column: pd.Series, value: Any) -> pd.Series:
    """Which of a column's values are this one; None is one, too."""
    return pd.Series([plain(one) == value for one in column], index=column.index, dtype=bool)


def name_bars(axes: Any, at: Sequence[float], names: Sequence[str], width: str, beside: int = 1) -> None:
    """Names below bars, at a slant where they have no room beside each other.

    Args:
        axes: of the bars.
        at: where they stand.
        names: of them.
        width: of the figure.
        beside: panels in a row of it.
    """
    if max(map(len, names)) * len(names) * beside > ROOM[width]:
        axes.set_xticks(at, names, rotation=35, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(at, names)


def is_number(column: pd.Series) -> bool:
    """Whether a key's values lie on a scale."""
    return bool(pd.api.types.is_numeric_dtype(column)) and not bool(pd.api.types.is_bool_dtype(column))


def set_scales(request: PlotRequest, found: Sequence[Any], x_values: Sequence[float] | None) -> None:
    """Scales as they were asked for; x logarithmic by itself where its values span a factor of four."""
    for axes, _ in found:
        if x_values is not None:
            if request.xscale == "auto":
                plain_axis(axes, x_values)
            else:
                axes.set_xscale(request.xscale)
        if request.yscale == "log":
            axes.set_yscale("log")


def spans(rows: pd.DataFrame, key: str, scale: float) -> Any:
    """How far intervals reach below and above, (2, points); 0 where there is none."""
    low, high = (rows[end].astype("float64") for end in interval_keys(key))
    value = rows[key].astype("float64")
    return scale * np.nan_to_num(np.array([value - low, high - value]))


def draw_lines(request: PlotRequest, table: pd.DataFrame, looks: Looks) -> Any:
    """A line a series over the values of a key, with intervals."""
    key, x = request.only_y(), str(request.x)
    labels = legend_of(request, looks)
    figure, found, grid = panels(request, table, looks, labels)
    scale, x_scale, number = axis_of(key).scale, axis_of(x).scale, is_number(table[x])
    places = ordered(dict.fromkeys(plain(value) for value in table[x]))
    handles: list[Any] = []
    for axes, part in found:
        handles = []
        for series, (label, style) in looks.items():
            rows = series_rows(part, request.by, series).dropna(subset=[key])
            at = rows[x].astype("float64") * x_scale if number else rows[x].map(plain).map(places.index)
            order = np.argsort(at.to_numpy(), kind="stable")
            bars = spans(rows, key, scale)[:, order]
            drawn = axes.errorbar(
                at.to_numpy()[order],
                scale * rows[key].to_numpy("float64")[order],
                yerr=bars if bars.any() else None,
                elinewidth=0.7,
                label=label,
                **_line(style),
            )
            handles.append(drawn)
        if not number:
            axes.set_xticks(range(len(places)), list(short([shown(value) for value in places]).values()))
    values = [x_scale * float(value) for value in places] if number else None
    set_scales(request, found, values)
    if number and values is not None and len(values) <= 8 and request.xscale == "auto":
        for axes, _ in found:
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.minorticks_off()
    outer_labels(grid, label_of(x, table), label_of(key, table))
    add_legend(figure, request.width, handles if labels else [], labels)
    return figure


def _line(style: LineStyle) -> dict[str, Any]:
    return {"color": style.colour, "linestyle": style.dashes, "marker": style.marker, "markeredgewidth": 0.0}


def draw_bars(request: PlotRequest, table: pd.DataFrame, looks: Looks) -> Any:
    """Bars side by side, a group for each value of a key, hatched so that they stay apart in grey."""
    key = request.only_y()
    labels = legend_of(request, looks) if request.x is not None else []
    figure, found, grid = panels(request, table, looks, labels)
    scale = axis_of(key).scale
    x = request.x
    groups = ordered(dict.fromkeys(plain(value) for value in table[x])) if x else [None]
    width = 0.8 / len(looks) if x else 0.7
    handles: list[Any] = []
    for axes, part in found:
        handles = []
        for place, (series, (label, style)) in enumerate(looks.items()):
            rows = series_rows(part, request.by, series).dropna(subset=[key])
            if x:
                group = rows[x].map(plain).map(groups.index).to_numpy("float64")
                at = group + (place - (len(looks) - 1) / 2.0) * width
            else:
                at = np.full(len(rows), float(place))
            bars = spans(rows, key, scale)
            drawn = axes.bar(
                at,
                scale * rows[key].to_numpy("float64"),
                width * 0.92,
                yerr=bars if bars.any() else None,
                color=style.colour,
                edgecolor="white",
                hatch=style.hatch,
                linewidth=0.0,
                error_kw={"elinewidth": 0.7},
                label=label,
            )
            handles.append(drawn)
        if x:
            axes.set_xticks(range(len(groups)), list(short([shown(value) for value in groups]).values()))
        else:
            names = [label for label, _ in looks.values()]
            name_bars(axes, range(len(names)), names, request.width, grid.shape[1])
        axes.grid(visible=False, axis="x")
    set_scales(request, found, None)
    if request.yscale != "log" and (table[key].dropna() >= 0.0).all():
        for axes, _ in found:
            axes.set_ylim(bottom=0.0)  # an interval may reach below what the quantity can be
    outer_labels(grid, label_of(x, table) if x else "", label_of(key, table))
    add_legend(figure, request.width, handles if labels else [], labels)
    return figure


def draw_pareto(request: PlotRequest, table: pd.DataFrame, looks: Looks) -> Any:
    """Settings as points, and in grey the steps of those that no other beats."""
    x, key = request.x or "latency_mean_s", (request.only_y() if request.y else "accuracy_mean")
    labels = [*legend_of(request, looks), "front"] if legend_of(request, looks) else []
    figure, found, grid = panels(request, table, looks, labels)
    x_scale, scale = axis_of(x).scale, axis_of(key).scale
    handles: list[Any] = []
    for axes, part in found:
        handles = []
        for series, (label, style) in looks.items():
            rows = series_rows(part, request.by, series).dropna(subset=[x, key])
            across, along = spans(rows, x, x_scale), spans(rows, key, scale)
            drawn = axes.errorbar(
                x_scale * rows[x].to_numpy("float64"),
                scale * rows[key].to_numpy("float64"),
                xerr=across if across.any() else None,
                yerr=along if along.any() else None,
                elinewidth=0.7,
                label=label,
                **{**_line(style), "linestyle": "none"},
            )
            handles.append(drawn)
        front = part[part[FRONT].astype(bool)].sort_values(x, kind="stable")
        rising = len(front) < 2 or front[key].iloc[-1] >= front[key].iloc[0]
        handles += axes.step(
            x_scale * front[x].to_numpy("float64"),
            scale * front[key].to_numpy("float64"),
            where="post" if rising else "pre",
            color="#999999",
            linewidth=4.0,
            alpha=0.4,
            zorder=0,
            label="front",
        )
    values = (x_scale * table[x].dropna().astype("float64")).tolist()
    set_scales(request, found, values)
    outer_labels(grid, label_of(x, table), label_of(key, table))
    add_legend(figure, request.width, handles if labels else [], labels)
    return figure


def draw_heat(request: PlotRequest, table: pd.DataFrame, looks: Looks) -> Any:
    """A quantity over two keys, its numbers in the cells; what was not run stays white.

    Args:
        request: what is asked for.
        table: its points.
        looks: of the systems.
    """
    names = {series[0]: label for series, (label, _) in looks.items()}
    x, y, z = str(request.x), request.only_y(), str(request.z)
    figure, found, grid = panels(request, table, looks, [])
    scale = axis_of(z).scale
    columns, rows = (ordered(dict.fromkeys(plain(value) for value in table[key])) for key in (x, y))
    low, high = scale * float(table[z].min()), scale * float(table[z].max())
    mesh = None
    for axes, part in found:
        cells = np.full((len(rows), len(columns)), np.nan)
        for column, row, value in zip(part[x].map(plain), part[y].map(plain), part[z], strict=True):
            cells[rows.index(row), columns.index(column)] = scale * float(value)
        mesh = axes.imshow(cells, cmap="cividis", vmin=low, vmax=high, origin="lower", aspect="auto")
        for row, column in itertools.product(range(len(rows)), range(len(columns))):
            value = cells[row, column]
            if np.isfinite(value):
                dark = value < (low + high) / 2.0
                axes.text(
                    column,
                    row,
                    f"{value:.3g}",
                    ha="center",
                    va="center",
                    color="white" if dark else "black",
                    fontsize="small",
                )
        name_bars(axes, range(len(columns)), _ticks(x, columns, names), request.width, grid.shape[1])
        axes.set_yticks(range(len(rows)), _ticks(y, rows, names))
        axes.grid(visible=False)
    outer_labels(grid, *("" if key == "system" else label_of(key, table) for key in (x, y)))
    figure.colorbar(mesh, ax=grid, label=label_of(z, table), fraction=0.05, pad=0.02)
    return figure


def _ticks(key: str, values: Sequence[Any], names: Mapping[Any, str]) -> list[str]:
    if key == "system":
        return [names.get(value, str(value)) for value in values]
    texts = [
        shown(float(value) * axis_of(key).scale)
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        else shown(value)
        for value in values
    ]
    return list(short(texts).values())
