"""The picture of the frontier: accuracy against latency and against bytes.

A system's points are joined in the order of its settings. The grey steps are the frontier: what no other
point beats in accuracy at that latency, or at those bytes, or less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.comparison.frontier import ANSWERED, Point, frontier, intervals_over, points
from analysis.figures.axes import plain_axis
from analysis.figures.display import system_display
from analysis.figures.styles import LineStyle, run_styles
from analysis.results import rows_in, run_rows, write_whole


def draw_frontier(folders: Sequence[Path], target: Path) -> list[Point]:
    """Draw the frontier of the runs in some folders; gives its points.

    Args:
        folders: runs and sweeps.
        target: the picture to write, in the format that its suffix says.

    Raises:
        InputError: as :func:`points`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = points(folders)
    systems = list(dict.fromkeys(point.system for point in found))
    firsts = [next(point for point in found if point.system == name) for name in systems]
    first_rows = [run_rows(point.folder)[0] for point in firsts]
    displays = [
        system_display(point.folder, str(row["system"]))
        for point, row in zip(firsts, first_rows, strict=True)
    ]
    styles = run_styles(displays)
    figure = Figure(figsize=(11.0, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    panels = (("latency_s", 1e3, "capture to result (ms)"), ("frame_bytes", 1e-3, "uplink a frame (kB)"))
    for axis, (quantity, scale, label) in zip(axes, panels, strict=True):
        for name, display, style in zip(systems, displays, styles, strict=True):
            own = [point for point in found if point.system == name]
            _draw_system(axis, own, quantity, scale, display.label, style)
        shown = [point for point in found if getattr(point, quantity).mean > 0.0]
        costs = [scale * getattr(point, quantity).mean for point in shown]
        values = [point.accuracy.mean for point in shown]
        best = frontier(costs, values)
        axis.step(
            [costs[place] for place in best],
            [values[place] for place in best],
            where="post",
            color="#999999",
            linewidth=5,
            alpha=0.35,
            zorder=0,
            label="frontier",
        )
        plain_axis(axis, costs)
        axis.set_xlabel(label)
        axis.grid(alpha=0.3, which="both")
        if len(shown) < len(found):
            without = ", ".join(dict.fromkeys(p.system for p in found if p not in shown))
            axis.set_title(f"not shown, sends nothing: {without}", fontsize=8)
    axes[0].set_ylabel(f"accuracy of results ({first_rows[0].get('accuracy_ruler')})")
    axes[1].legend(fontsize=8, loc="lower right")
    everything = [row for row in rows_in(folders) if row["status"] == "completed"]
    figure.suptitle(_title(found, everything), fontsize=9)
    write_whole(target, lambda part: figure.savefig(part, format=target.suffix[1:].lower(), dpi=120))
    return found


def _draw_system(
    axis: Any, own: Sequence[Point], quantity: str, scale: float, label: str, style: LineStyle
) -> None:
    """One system's points: joined, with intervals, hollow where many frames had no answer."""
    own = [point for point in own if getattr(point, quantity).mean > 0.0]
    for group in _families(own):
        at = [scale * getattr(point, quantity).mean for point in group]
        values = [point.accuracy.mean for point in group]
        axis.plot(at, values, color=style.colour, linestyle=style.dashes, linewidth=1.0, alpha=0.7)
    for place, point in enumerate(own):
        cost = getattr(point, quantity)
        axis.errorbar(
            scale * cost.mean,
            point.accuracy.mean,
            xerr=cost.bars(scale),
            yerr=point.accuracy.bars(1.0),
            fmt=style.marker,
            color=style.colour,
            markerfacecolor=style.colour if point.answered >= ANSWERED else "white",
            markersize=5,
            elinewidth=1,
            capsize=2,
            label=label if place == 0 else None,
        )
        short = point.setting.rpartition("=")[2]
        axis.annotate(
            short,
            (scale * cost.mean, point.accuracy.mean),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=6,
            color=style.colour,
        )


def _families(own: Sequence[Point]) -> list[list[Point]]:
    """Points that differ in one key's value, in the order of the runs: each is a line of its own."""
    families: dict[tuple[str, ...], list[Point]] = {}
    for point in own:
        keys = tuple(part.partition("=")[0] for part in point.setting.split(", "))
        families.setdefault(keys, []).append(point)
    return list(families.values())


def _title(found: Sequence[Point], rows: Sequence[Mapping[str, Any]]) -> str:
    """What all runs share, in how many they differ, and what is drawn; on two lines."""
    shared = []
    for key in ("model", "network", "trace", "video"):
        values = {str(row[key]) for row in rows if row.get(key) is not None}
        if values:
            shared.append(values.pop() if len(values) == 1 else f"{len(values)} {key}s")
    runs = sorted({point.runs for point in found})
    count = str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    return (
        f"{'; '.join(shared)}\n{count} run{'s' * (count != '1')} a point; "
        f"95 % intervals {intervals_over(found)}; hollow: under {100 * ANSWERED:.0f} % of the frames answered"
    )
