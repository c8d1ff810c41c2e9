"""The paper under a figure: widths, sizes and fonts of the usual templates, and files always the same.

Fonts are embedded: as TrueType in a PDF (type 42, which publishers accept; type 3 they do not), as outlines
in an SVG. No file holds the time at which it was made, so the same results give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis.figures.plot.request import WIDTHS
from analysis.results import write_whole

_POINTS = {"column": 7.5, "text": 8.0, "slide": 16.0}
_LINES = {"column": 1.1, "text": 1.1, "slide": 2.4}
_MARKERS = {"column": 3.5, "text": 4.0, "slide": 8.0}
_METADATA: dict[str, dict[str, Any]] = {
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
}
PNG_DPI = 200
TALLEST = 1.6  # times the width


@contextmanager
def template(width: str) -> Iterator[None]:
    """Sizes and fonts while a figure of this width is made and written."""
    import matplotlib

    size, line = _POINTS[width], _LINES[width]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own settings are
        matplotlib.rcParams.update(
            {
                "pdf.fonttype": 42,
                "svg.fonttype": "path",
                "svg.hashsalt": "fluxshard",
                "font.family": "DejaVu Sans",
                "font.size": size,
                "axes.labelsize": size,
                "axes.titlesize": size,
                "xtick.labelsize": size - 0.5,
                "ytick.labelsize": size - 0.5,
                "legend.fontsize": size - 0.5,
                "axes.linewidth": 0.5 * line,
                "xtick.major.width": 0.5 * line,
                "ytick.major.width": 0.5 * line,
                "xtick.minor.width": 0.4 * line,
                "ytick.minor.width": 0.4 * line,
                "lines.linewidth": line,
                "lines.markersize": _MARKERS[width],
                "errorbar.capsize": 1.5 * line,
                "hatch.linewidth": 0.4 * line,
                "grid.alpha": 0.3,
                "grid.linewidth": 0.4 * line,
                "axes.grid": True,
                "axes.axisbelow": True,
                "legend.frameon": False,
            }
        )
        yield


def new_figure(
    width: str, rows: int, columns: int, panel_aspect: float, legend: list[str]
) -> tuple[Any, Any]:
    """A figure with panels that share axes, and room for its legend above them.

    Args:
        width: one of the templates'.
        rows, columns: of panels.
        panel_aspect: height of a panel over its width.
        legend: the labels that the legend will have.

    Returns:
        The figure, and its axes as a (rows, columns)-shaped array.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    inches = WIDTHS[width]
    lines = -(-len(legend) // legend_columns(width, legend)) if legend else 0
    beside = 0.45 * _POINTS[width] / 8.0
    height = rows * (panel_aspect * (inches - beside) / columns + 0.16) + (0.35 + 0.19 * lines) * (
        _POINTS[width] / 8.0
    )
    figure = Figure(figsize=(inches, min(height, TALLEST * inches)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)  # type: ignore[union-attr,call-arg]
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def legend_columns(width: str, labels: list[str]) -> int:
    """How many labels stand beside each other in a legend above the panels."""
    size = _POINTS[width]
    longest = max(map(len, labels)) * 0.58 * size + 4.6 * size
    return max(1, min(len(labels), int(72.0 * WIDTHS[width] / longest)))


def add_legend(figure: Any, width: str, handles: list[Any], labels: list[str]) -> None:
    """A legend above the panels."""
    if labels:
        figure.legend(
            handles,
            labels,
            loc="outside upper center",
            ncols=legend_columns(width, labels),
            handlelength=3.0,
            columnspacing=1.2,
            borderaxespad=0.2,
        )


def save(figure: Any, target: Path) -> None:
    """Write a figure in the format that its suffix says, without the time or the program that made it."""
    suffix = target.suffix.lower()
    write_whole(
        target,
        lambda part: figure.savefig(part, format=suffix[1:], dpi=PNG_DPI, metadata=_METADATA[suffix]),
    )
