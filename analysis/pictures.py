"""One picture of one or several runs: how late results are, and where they came from over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.display import Display, run_colours, system_display
from analysis.results import read_overrides
from analysis.tables import swept_settings, system_name

# Paths and outcomes in colours that stay apart for colour-blind readers (Okabe and Ito's palette).
COLOURS = {
    "cloud": "#0072B2",
    "edge": "#E69F00",
    "split": "#009E73",
    "reused": "#56B4E9",
    "replaced": "#BBBBBB",
    "dropped": "#D55E00",
    "in_flight": "#000000",
}
STRIP_S = 10.0  # the strip shows at most this much of a run


def draw_runs(folders: Sequence[Path], target: Path) -> None:
    """Draw the latency distribution and a timeline strip of each run; reads the runs' files only.

    Args:
        folders: of runs, each with summary.json and frames.parquet.
        target: the PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.ticker import LogFormatter

    runs = [_read(folder) for folder in folders]
    summaries = [summary for summary, _ in runs]
    displays = [
        system_display(folder, str(summary["system"]))
        for folder, summary in zip(folders, summaries, strict=True)
    ]
    labels, colours = _labels(folders, summaries, displays), run_colours(displays)
    strip_inches = 0.34 * len(runs) + 0.5
    figure = Figure(figsize=(10.5, 4.2 + strip_inches), layout="constrained")
    FigureCanvasAgg(figure)
    curve, strip = figure.subplots(2, 1, height_ratios=[4.2, strip_inches])

    curves_ms = [
        1e3 * np.sort(frames.loc[frames["outcome"] == "completed", "latency_s"].to_numpy())
        for _, frames in runs
    ]
    for row, (label, (summary, _), latency_ms) in enumerate(zip(labels, runs, curves_ms, strict=True)):
        if len(latency_ms):
            share = np.arange(1, len(latency_ms) + 1) / len(latency_ms)
            named = f"{label}  (EA {summary['ea_mean']:.2f})"
            above = sum(np.array_equal(latency_ms, later) for later in curves_ms[row + 1 :])
            width_pt = 1.5 + 2.0 * above  # what a later run draws over the same latencies leaves a rim
            curve.step(latency_ms, share, where="post", label=named, linewidth=width_pt, color=colours[row])
    curve.set_xscale("log")
    for axis_format in (curve.xaxis.set_major_formatter, curve.xaxis.set_minor_formatter):
        axis_format(LogFormatter(minor_thresholds=(2, 1)))
    curve.tick_params(axis="x", which="both", pad=4.0, length=3.5)  # one line of numbers
    all_ms = np.concatenate(curves_ms)
    if len(all_ms) and all_ms.max() < 1.001 * all_ms.min():  # a logarithmic axis cannot have no width
        curve.set_xlim(0.9 * all_ms.min(), 1.1 * all_ms.max())
    curve.set_xlabel("capture to result (ms)")
    curve.set_ylabel("share of results")
    curve.set_ylim(0, 1.02)
    curve.grid(alpha=0.3, which="both")
    if curve.lines:
        curve.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    curve.set_title(_common(summaries), fontsize=9)
    shown = set()
    for row, (_, frames) in enumerate(runs):
        shown |= _draw_strip(strip, row, frames)
    strip.set_yticks(range(len(runs)), labels, fontsize=8)
    strip.set_ylim(len(runs) - 0.4, -0.6)
    strip.set_xlabel(f"capture time (s), camera 0, first {STRIP_S:g} s: where each result came from")
    handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items() if name in shown]
    if handles:
        strip.legend(
            handles=handles, ncols=len(handles), fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0)
        )
    part = target.with_name(target.name + ".part")
    figure.savefig(part, format="png", dpi=120)
    part.replace(target)


def _read(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    columns = ["camera", "captured_s", "outcome", "path", "latency_s"]
    return summary, pd.read_parquet(folder / "frames.parquet", columns=columns)


def _common(summaries: Sequence[dict[str, Any]]) -> str:
    """What all runs share."""
    keys = ("system", "model", "edge", "cloud", "trace", "video")
    shared = {key: str(summaries[0][key]) for key in keys if len({run[key] for run in summaries}) == 1}
    devices = " and ".join(shared[key] for key in ("edge", "cloud") if key in shared)
    model = " on ".join(filter(None, [shared.get("model"), devices]))
    return "; ".join(filter(None, [shared.get("system"), model, shared.get("trace"), shared.get("video")]))


def _labels(
    folders: Sequence[Path], summaries: Sequence[dict[str, Any]], displays: Sequence[Display]
) -> list[str]:
    """The system, and whatever else differs among the runs; without the system where only that else does."""
    overrides = [read_overrides(folder) for folder in folders]
    systems = []
    for summary, job, display in zip(summaries, overrides, displays, strict=True):
        name = str(system_name(summary, job))
        systems.append(display.label if name == summary["system"] else name)  # or an experiment's variant
    settings = swept_settings(overrides)
    differing = [key for key in ("trace", "video") if len({summary[key] for summary in summaries}) > 1]
    others = [
        ", ".join(filter(None, [*(str(summary[key]) for key in differing), setting]))
        for summary, setting in zip(summaries, settings, strict=True)
    ]
    if len(set(systems)) == 1 and all(others):
        return others
    return [", ".join(filter(None, both)) for both in zip(systems, others, strict=True)]


def _draw_strip(axes: Any, row: int, frames: pd.DataFrame) -> set[str]:
    """One run's frames as coloured ticks; returns the kinds that occur."""
    camera = frames[(frames["camera"] == 0) & (frames["captured_s"] <= STRIP_S)]
    kinds = camera["path"].astype(object).where(camera["outcome"] == "completed", camera["outcome"])
    captured_s = camera["captured_s"].to_numpy()
    width_s = float(np.median(np.diff(captured_s))) if len(captured_s) > 1 else 0.03
    for kind, colour in COLOURS.items():
        at_s = captured_s[(kinds == kind).to_numpy()]
        spans_s = [(time_s, width_s) for time_s in at_s]
        # No edges: at a pixel or two a frame, those of later kinds would cover the others.
        axes.broken_barh(spans_s, (row - 0.36, 0.72), facecolor=colour, linewidth=0, antialiased=False)
    return set(kinds)
