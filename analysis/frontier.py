"""The frontier of systems: accuracy against latency and against bytes, over each system's own settings.

A point is one setting of one system: the mean over its runs (videos, replicates, networks), with 95 percent
intervals. A system's points are joined in the order of its settings. The grey steps are the frontier: what no
other point beats in accuracy at that latency, or at those bytes, or less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.axes import plain_axis
from analysis.display import run_styles, system_display
from analysis.results import run_rows, write_whole
from analysis.settings import REALISATION, settings, split_overrides, swept_keys
from analysis.tables import aligned, system_name
from sim.records.intervals import Interval, interval_keys, replicate_interval
from traces.errors import InputError

AVERAGED = (*REALISATION, "trace.path", "video.path")  # what tells the runs of one point apart
ANSWERED = 0.9  # a point whose system answers fewer of the captured frames is drawn hollow


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 percent interval, whose ends are None where nothing is known of them."""

    mean: float
    interval: Interval

    @classmethod
    def over(cls, runs: Sequence[Mapping[str, Any]], key: str) -> Estimate:
        """Of a quantity over runs; of a single run the interval is the one from within it."""
        values = [float(run[key]) for run in runs]
        mean = sum(values) / len(values)
        if len(values) > 1:
            return cls(mean, replicate_interval(values))
        low, high = (runs[0].get(end) for end in interval_keys(key))
        return cls(mean, Interval(low, high))

    def bars(self, scale: float) -> list[list[float]]:
        """How far the interval reaches below and above, as matplotlib wants it."""
        low, high = self.interval
        if low is None or high is None:
            return [[0.0], [0.0]]
        return [[scale * (self.mean - low)], [scale * (high - self.mean)]]

    def text(self, scale: float, digits: int) -> str:
        """Mean and half width."""
        low, high = self.interval
        shown = f"{scale * self.mean:.{digits}f}"
        return shown if low is None or high is None else f"{shown} ±{scale * (high - low) / 2:.{digits}f}"


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of one system.

    Args:
        system: as the command line chose it.
        setting: what else tells it from the system's other points: "payload.quality=50"; may be empty.
        folder: of its first run.
        runs: how many were averaged.
        answered: share of the captured frames that gave a result.
        accuracy: mean accuracy of results, by the ruler of the runs.
        latency_s: mean time from capture to result.
        frame_bytes: bytes on the uplink, opportunistic ones included, a captured frame.
    """

    system: str
    setting: str
    folder: Path
    runs: int
    answered: float
    accuracy: Estimate
    latency_s: Estimate
    frame_bytes: Estimate


def points(folders: Sequence[Path]) -> list[Point]:
    """The points of all completed runs in some folders; raises as :func:`points_of`."""
    return points_of(
        [{**row, "folder": folder / row["folder"]} for folder in folders for row in run_rows(folder)]
    )


def points_of(rows: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The points of all completed runs, in the order they come.

    Args:
        rows: one a run, as :func:`analysis.results.run_rows` makes them.

    Raises:
        InputError: there is no completed run with a result, or their accuracies are of different rulers.
    """
    done = [row for row in rows if row["status"] == "completed" and row.get("accuracy_mean") is not None]
    if not done:
        raise InputError("frontier: expected completed runs with results, found none")
    jobs = [settings(split_overrides(row["overrides"])) for row in done]
    rulers = sorted({str(row.get("accuracy_ruler")) for row in done})
    if len(rulers) > 1:
        raise InputError(
            f"frontier: expected accuracies by one ruler, to be compared, found {' and '.join(rulers)}"
        )
    names = [str(system_name(row, split_overrides(row["overrides"]))) for row in done]
    keys = [
        key
        for key in swept_keys(jobs)
        if key not in ("system", *AVERAGED) and not key.startswith("experiment")
    ]
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row, job, name in zip(done, jobs, names, strict=True):
        setting = ", ".join(f"{key}={job[key]}" for key in keys if key in job)
        grouped.setdefault((name, setting), []).append(row)
    return [_point(name, setting, runs) for (name, setting), runs in grouped.items()]


def _point(name: str, setting: str, runs: Sequence[Mapping[str, Any]]) -> Point:
    captured = sum(int(run["frames_captured"]) for run in runs)
    return Point(
        name,
        setting,
        Path(runs[0].get("folder", "")),
        len(runs),
        sum(int(run["frames_completed"]) for run in runs) / captured,
        Estimate.over(runs, "accuracy_mean"),
        Estimate.over(runs, "latency_mean_s"),
        Estimate.over([{**run, "frame_bytes": _frame_bytes(run)} for run in runs], "frame_bytes"),
    )


def _frame_bytes(run: Mapping[str, Any]) -> float:
    return float((run["uplink_bytes"] + run["uplink_opportunistic_bytes"]) / run["frames_captured"])


def frontier(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Which points no other beats: in the order of rising cost, each of higher value than all before.

    Args:
        costs, values: (points,) each.
    """
    best: list[int] = []
    for place in sorted(range(len(costs)), key=lambda place: (costs[place], -values[place])):
        if not best or values[place] > values[best[-1]]:
            best.append(place)
    return best


def frontier_table(found: Sequence[Point]) -> str:
    """The points as text, one a row; F marks those on the frontier of latency (l) or of bytes (b)."""
    accuracy = [point.accuracy.mean for point in found]
    by_latency = set(frontier([point.latency_s.mean for point in found], accuracy))
    by_bytes = set(frontier([point.frame_bytes.mean for point in found], accuracy))
    heading = ("system", "setting", "runs", "answered %", "accuracy", "latency ms", "kB a frame", "frontier")
    rows = [heading] + [
        (
            point.system,
            point.setting or "–",
            str(point.runs),
            f"{100 * point.answered:.0f}",
            point.accuracy.text(1.0, 3),
            point.latency_s.text(1e3, 1),
            point.frame_bytes.text(1e-3, 1),
            " ".join(
                filter(None, ["latency" if place in by_latency else "", "bytes" if place in by_bytes else ""])
            ),
        )
        for place, point in enumerate(found)
    ]
    return "\n".join(aligned(rows, left=(0, 1, 7)))


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
            _draw_system(axis, own, quantity, scale, display.label, style.colour)
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
    figure.suptitle(_title(found, first_rows), fontsize=9)
    write_whole(target, lambda part: figure.savefig(part, format=target.suffix[1:].lower(), dpi=120))
    return found


def _draw_system(
    axis: Any, own: Sequence[Point], quantity: str, scale: float, label: str, colour: str
) -> None:
    """One system's points: joined, with intervals, hollow where many frames had no answer."""
    own = [point for point in own if getattr(point, quantity).mean > 0.0]
    for group in _families(own):
        at = [scale * getattr(point, quantity).mean for point in group]
        axis.plot(at, [point.accuracy.mean for point in group], color=colour, linewidth=1.0, alpha=0.7)
    for place, point in enumerate(own):
        cost = getattr(point, quantity)
        axis.errorbar(
            scale * cost.mean,
            point.accuracy.mean,
            xerr=cost.bars(scale),
            yerr=point.accuracy.bars(1.0),
            fmt="o",
            color=colour,
            markerfacecolor=colour if point.answered >= ANSWERED else "white",
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
            color=colour,
        )


def _families(own: Sequence[Point]) -> list[list[Point]]:
    """Points that differ in one key's value, in the order of the runs: each is a line of its own."""
    families: dict[tuple[str, ...], list[Point]] = {}
    for point in own:
        keys = tuple(part.partition("=")[0] for part in point.setting.split(", "))
        families.setdefault(keys, []).append(point)
    return list(families.values())


def _title(found: Sequence[Point], rows: Sequence[Mapping[str, Any]]) -> str:
    shared = [
        str(rows[0][key])
        for key in ("model", "network", "trace", "video")
        if len({str(row.get(key)) for row in rows}) == 1 and rows[0].get(key) is not None
    ]
    runs = sorted({point.runs for point in found})
    count = str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    return (
        f"{'; '.join(shared)}; {count} run{'s' * (count != '1')} a point, 95 % intervals; "
        f"hollow: under {100 * ANSWERED:.0f} % of the frames answered"
    )
