"""Drawing of what figures show of frames: distributions, time compositions, one run over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.figures.pictures import COLOURS
from analysis.figures.plot.canvas import add_legend, new_figure
from analysis.figures.plot.draw import (
    label_of,
    legend_of,
    name_bars,
    outer_labels,
    panels,
    same,
    series_rows,
    set_scales,
)
from analysis.figures.plot.frames import SHARE, STAGE, STAGES
from analysis.figures.plot.looks import Looks, ordered, shown
from analysis.figures.plot.quantities import axis_of
from analysis.figures.plot.request import PlotRequest
from analysis.figures.plot.runs import plain

# Alternately light and dark, so that neighbours in a stack stay apart in grey; Okabe and Ito's.
_STAGE_COLOURS = ("#DDDDDD", "#009E73", "#F0E442", "#CC79A7", "#56B4E9", "#000000", "#E69F00")
_STAGE_HATCHES = ("", "///", "", "...", "", "", "\\\\\\")
_QUANTITIES = {
    "link": ("#999999", "solid", "link"),
    "estimate": ("#D55E00", (0, (3, 1.5)), "believed"),
    "uplink queue": ("#0072B2", "solid", ""),
    "waiting of frames": ("#0072B2", "solid", ""),
    "predicted": ("#000000", "solid", "predicted"),
}
_PANELS = {
    "rate": ("uplink (Mbit/s)", 1e-6),
    "queue": ("queue (kB)", 1e-3),
    "waiting": ("waiting (ms)", 1e3),
    "latency": ("latency (ms)", 1e3),
}


def draw_cdf(request: PlotRequest, table: pd.DataFrame, looks: Looks) -> Any:
    """A distribution a series, as steps."""
    column = request.y[0] if request.y else "latency_s"
    labels = legend_of(request, looks)
    figure, found, grid = panels(request, table, looks, labels)
    scale = axis_of(column).scale
    handles: list[Any] = []
    for axes, part in found:
        handles = []
        for series, (label, style) in looks.items():
            rows = series_rows(part, request.by, series)
            values = scale * rows[column].to_numpy("float64")
            share = rows[SHARE].to_numpy("float64")
            first = values[:1]
            handles += axes.step(
                np.concatenate([first, values]),
                np.concatenate([[0.0] * len(first), share]),
                where="post",
                color=style.colour,
                linestyle=style.dashes,
                marker=style.marker,
                markevery=(0.05 + 0.02 * (len(handles) % 3), 0.25),
                markeredgewidth=0.0,
                label=label,
            )
        axes.set_ylim(0.0, 1.02)
    set_scales(request, found, (scale * table[column].astype("float64")).tolist())
    outer_labels(grid, label_of(column, table), "share of frames")
    add_legend(figure, request.width, handles, labels)
    return figure


def draw_composition(request: PlotRequest, table: pd.DataFrame, looks: Looks) -> Any:
    """A stack a series and value of a key: the mean time of a result, by where it went."""
    labels = [
        stage.replace("_", " ") for stage in STAGES if (table.loc[table[STAGE] == stage, "mean_s"] > 0).any()
    ]
    used = [stage for stage in STAGES if stage.replace("_", " ") in labels]
    figure, found, grid = panels(request, table, looks, labels)
    x = request.x
    groups = ordered(dict.fromkeys(plain(value) for value in table[x])) if x else [None]
    bars = [(series, group) for group in groups for series in looks]
    at = {bar: number + 0.6 * (number // len(looks)) * bool(x) for number, bar in enumerate(bars)}
    handles: list[Any] = []
    tallest = 0.0
    for axes, part in found:
        below = dict.fromkeys(bars, 0.0)  # what is on a bar so far
        handles = []
        for stage in used:
            own = part[part[STAGE] == stage]
            heights = []
            for series, group in bars:
                rows = series_rows(own, request.by, series)
                rows = rows[same(rows[x], group)] if x else rows
                heights.append(1e3 * float(rows["mean_s"].iloc[0]) if len(rows) else 0.0)
            place = STAGES.index(stage)
            handles.append(
                axes.bar(
                    [at[bar] for bar in bars],
                    heights,
                    0.8,
                    bottom=[below[bar] for bar in bars],
                    color=_STAGE_COLOURS[place],
                    hatch=_STAGE_HATCHES[place],
                    edgecolor="#444444",
                    linewidth=0.4,
                )
            )
            below = {bar: below[bar] + height for bar, height in zip(bars, heights, strict=True)}
        names = [looks[series][0] if len(looks) > 1 or not x else "" for series, _ in bars]
        if x and len(looks) == 1:
            names = [shown(group) for _, group in bars]
        name_bars(axes, [at[bar] for bar in bars], names, request.width, grid.shape[1])
        if x and len(looks) > 1:
            for group in groups:
                middle = float(np.mean([at[series, group] for series in looks]))
                axes.annotate(
                    f"{axis_of(x).name} {shown(group)}",
                    (middle, 1.0),
                    xycoords=("data", "axes fraction"),
                    xytext=(0, 2),
                    textcoords="offset points",
                    ha="center",
                    fontsize="small",
                )
        axes.grid(visible=False, axis="x")
        tallest = max(tallest, *below.values())
    found[0][0].set_ylim(0.0, 1.05 * tallest)
    set_scales(request, found, None)
    outer_labels(grid, label_of(x, table) if x and len(looks) == 1 else "", "mean time of a result (ms)")
    add_legend(figure, request.width, handles, labels)
    return figure


def draw_series(request: PlotRequest, table: pd.DataFrame) -> Any:
    """One run over time: rates above, then what waits, then latencies where their results came from."""
    shown_panels = [panel for panel in _PANELS if (table["panel"] == panel).any()]
    figure, grid = new_figure(request.width, len(shown_panels), 1, 0.34, [])
    for axes, panel in zip(grid[:, 0], shown_panels, strict=True):
        label, scale = _PANELS[panel]
        own = table[table["panel"] == panel]
        for quantity in dict.fromkeys(own["quantity"]):
            rows = own[own["quantity"] == quantity]
            at, values = rows["time_s"].to_numpy("float64"), scale * rows["value"].to_numpy("float64")
            if quantity in _QUANTITIES and quantity != "predicted":
                colour, dashes, name = _QUANTITIES[quantity]
                stepped = quantity in ("link", "uplink queue")
                axes.plot(
                    at,
                    values,
                    color=colour,
                    linestyle=dashes,
                    drawstyle="steps-post" if stepped else "default",
                    label=name or None,
                )
            elif quantity == "predicted":
                axes.plot(at, values, ".", color="#000000", markersize=1.5, label="predicted", zorder=3)
            else:
                colour = COLOURS.get(quantity, "#000000")
                marker = "osD^"[list(COLOURS).index(quantity) % 4] if quantity in COLOURS else "x"
                axes.plot(at, values, marker, color=colour, markeredgewidth=0, label=f"{quantity}")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0.0)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(
                loc="lower left",
                bbox_to_anchor=(0.0, 1.0),
                ncols=5,
                borderaxespad=0.1,
                handlelength=1.6,
                columnspacing=1.0,
                handletextpad=0.4,
            )
        if axes is not grid[0, 0]:
            axes.sharex(grid[0, 0])
        axes.tick_params(labelbottom=axes is grid[-1, 0])
    grid[-1, 0].set_xlabel("time (s)")
    return figure
