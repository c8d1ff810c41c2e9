"""One picture of one or several runs: how late results are, and where they came from over time."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.figures.axes import plain_axis
from analysis.figures.display import system_display
from analysis.figures.styles import Display, run_styles
from analysis.results import read_overrides, write_whole
from analysis.settings import short, swept_settings, without_replicate
from analysis.tables import system_name
from traces.errors import InputError

# Paths and outcomes in colours that stay apart for colour-blind readers (Okabe and Ito's, but for dropped).
COLOURS = {
    "cloud": "#0072B2",
    "edge": "#E69F00",
    "split": "#009E73",
    "reused": "#56B4E9",
    "replaced": "#BBBBBB",
    "dropped": "#7A1F5C",
    "in_flight": "#000000",
}
STRIP_S = 10.0  # the strip shows at most this much of a run


MOST_RUNS = 40  # in one picture: more curves cannot be told apart
LONGEST = 64  # characters of a label


def check_format(target: Path) -> None:
    """Check that a picture can be written as what its suffix says.

    Raises:
        InputError: it cannot.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if target.suffix[1:].lower() not in known:
        raise InputError(
            f"--picture: expected a file that ends in one of .{', .'.join(known)}, found {str(target)!r}"
        )


def draw_runs(folders: Sequence[Path], target: Path) -> None:
    """Draw the latency distribution and a timeline strip of each run; reads the runs' files only.

    Replicates of a configuration are one curve, of all their frames; the strip is the first one's.

    Args:
        folders: of runs, each with summary.json and frames.parquet; the first :data:`MOST_RUNS` are drawn.
        target: the picture to write, in the format that its suffix says.

    Raises:
        InputError: nothing can be written in that format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    check_format(target)
    siblings = _siblings(folders)
    left_out, siblings = len(siblings[MOST_RUNS:]), siblings[:MOST_RUNS]
    folders = [replicates[0] for replicates in siblings]
    runs = [_read(folder) for folder in folders]
    everything = [_all_frames(replicates) for replicates in siblings]
    summaries = [summary for summary, _ in runs]
    displays = [
        system_display(folder, str(summary["system"]))
        for folder, summary in zip(folders, summaries, strict=True)
    ]
    labels, styles = _labels(folders, summaries, displays), run_styles(displays)
    lines = max(1 + label.count("\n") for label in labels)
    strip_inches = (0.17 + 0.13 * lines) * len(runs) + 0.5
    curve_inches = max(4.2, (0.05 + 0.135 * lines) * len(runs) + 0.6)  # the legend stands beside the curves
    longest = max(len(line) for label in labels for line in label.splitlines())
    figure = Figure(figsize=(8.2 + 0.062 * 2 * longest, curve_inches + strip_inches), layout="constrained")
    FigureCanvasAgg(figure)
    curve, strip = figure.subplots(2, 1, height_ratios=[curve_inches, strip_inches])

    curves_ms = [
        1e3 * np.sort(frames.loc[frames["outcome"] == "completed", "latency_s"].to_numpy())
        for _, frames in everything
    ]
    for row, (label, summary, latency_ms) in enumerate(zip(labels, summaries, curves_ms, strict=True)):
        if not len(latency_ms):
            curve.plot([], [], linestyle="none", label=f"{label}  (no results)")
            continue
        ruler = summary.get("accuracy_ruler")  # unknown of earlier results
        named = f"{label}  (EA {everything[row][0]:.2f}{f', {ruler}' if ruler else ''})"
        first = next(i for i, other in enumerate(curves_ms) if np.array_equal(latency_ms, other))
        style = {"color": styles[first].colour, "linestyle": styles[first].dashes, "linewidth": 1.5}
        if first < row:  # one line stands for both: of two over each other only the later would be seen
            curve.plot([], [], label=f"{named}: same curve", **style)
            continue
        share = np.arange(1, len(latency_ms) + 1) / len(latency_ms)
        curve.step(latency_ms, share, where="post", label=named, **style)
    values_ms = [value for each in curves_ms if len(each) for value in (each[0], each[-1])]
    plain_axis(curve, values_ms)
    curve.set_xlabel("capture to result (ms)")
    curve.set_ylabel("share of results")
    curve.set_ylim(0, 1.02)
    curve.grid(alpha=0.3, which="both")
    curve.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=3.0)
    more = f"the first {len(runs)} of {len(runs) + left_out} runs" if left_out else ""
    curve.set_title("; ".join(filter(None, [_common(summaries), more])), fontsize=9, wrap=True)
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
    write_whole(target, lambda part: figure.savefig(part, format=target.suffix[1:].lower(), dpi=120))


def _read(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    columns = ["camera", "captured_s", "outcome", "path", "latency_s"]
    return summary, pd.read_parquet(folder / "frames.parquet", columns=columns)


def _siblings(folders: Sequence[Path]) -> list[list[Path]]:
    """The folders, replicates of one configuration together."""
    found: dict[tuple[str, ...], list[Path]] = {}
    for folder in folders:
        given = read_overrides(folder)
        rest = without_replicate(given)
        alone = (str(folder),) if len(rest) == len(given) else (str(folder.parent), *rest)
        found.setdefault(alone, []).append(folder)
    return list(found.values())


def _all_frames(folders: Sequence[Path]) -> tuple[float, pd.DataFrame]:
    """The mean EA of replicates, NaN where none has any, and their frames together."""
    runs = [_read(folder) for folder in folders]
    known = [summary["ea_mean"] for summary, _ in runs if summary["ea_mean"] is not None]
    mean = float(np.mean(known)) if known else math.nan
    return mean, pd.concat([frames for _, frames in runs], ignore_index=True)


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
    if len(_siblings(folders)) == len({tuple(without_replicate(job)) for job in overrides}):
        overrides = [without_replicate(job) for job in overrides]  # it tells none of them apart
    systems = []
    for summary, job, display in zip(summaries, overrides, displays, strict=True):
        name = str(system_name(summary, job))
        systems.append(display.label if name == summary["system"] else name)  # or an experiment's variant
    settings = swept_settings(overrides, summaries)
    differing = [
        key
        for key in ("trace", "video")
        if len({summary[key] for summary in summaries}) > 1
        and not any(f"{key}.path=" in setting for setting in settings)  # which says more
    ]
    others = [
        ", ".join(filter(None, [*(str(summary[key]) for key in differing), setting]))
        for summary, setting in zip(summaries, settings, strict=True)
    ]
    if len(set(systems)) == 1 and all(others):
        labels = others
    else:
        labels = [", ".join(filter(None, both)) for both in zip(systems, others, strict=True)]
    if len(set(labels)) < len(labels):  # nothing that the runs were given tells them apart
        labels = [f"{label} [{place}]" for label, place in zip(labels, _places(folders), strict=True)]
    return [_two_lines(label) for label in labels]


def _places(folders: Sequence[Path]) -> list[str]:
    """The folders without what they share."""
    texts = [str(folder.resolve()) for folder in folders]
    names = short(texts)
    return [names[text] for text in texts]


def _two_lines(label: str) -> str:
    """A long label with as much on each line as fits."""
    return label if len(label) <= LONGEST // 2 else "\n".join(textwrap.wrap(label, LONGEST, max_lines=3))


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
