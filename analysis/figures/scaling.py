"""The picture of scaling: latency and worth against the number of cameras.

A system has its colour and marker; what else was swept has dashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.comparison.scaling import QUANTITIES, Line
from analysis.figures.display import system_display
from analysis.figures.styles import DASHES, matplotlib_dashes, run_styles
from analysis.results import write_whole


def draw_scaling(lines: Sequence[Line], target: Path) -> None:
    """Draw latency and worth against the number of cameras.

    Args:
        lines: with folders.
        target: the picture to write, in the format that its suffix says.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    systems = list(dict.fromkeys(line.system for line in lines))
    places = [next(line.folder for line in lines if line.system == name) for name in systems]
    displays = [system_display(place or Path(), name) for place, name in zip(places, systems, strict=True)]
    styles = dict(zip(systems, run_styles(displays), strict=True))
    labels = {name: display.label for name, display in zip(systems, displays, strict=True)}
    settings_of = list(dict.fromkeys(line.setting for line in lines))
    figure = Figure(figsize=(11.0, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    for axis, (column, title, scale, _) in zip(axes, QUANTITIES[:2], strict=True):
        for line in lines:
            found = [(count, line.at(count, column)) for count in line.runs]
            points = [(count, one) for count, one in found if one is not None]
            dash = list(DASHES)[settings_of.index(line.setting) % len(DASHES)]
            label = f"{labels[line.system]}, {line.setting}" if line.setting else labels[line.system]
            axis.plot(
                [count for count, _ in points],
                [scale * one.mean for _, one in points],
                marker=styles[line.system].marker,
                markersize=3,
                color=styles[line.system].colour,
                linestyle=matplotlib_dashes(dash),
                label=label,
            )
        counts = sorted({count for line in lines for count in line.runs})
        axis.set_xscale("log", base=2)
        axis.set_xticks(counts, [str(count) for count in counts])
        axis.set_xlabel("cameras")
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=7, loc="outside right upper")
    write_whole(target, lambda part: figure.savefig(part, format=target.suffix[1:].lower(), dpi=120))
