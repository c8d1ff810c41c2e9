"""How systems bear more cameras: latency, worth and fairness against their number, as a table and a picture.

A line is a system with what else was swept (codec, sharing of the link); a point is the mean over its
replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.display import run_styles, system_display
from analysis.frontier import AVERAGED, Estimate
from analysis.results import run_rows, write_whole
from analysis.settings import REALISATION, settings, split_overrides, swept_keys
from analysis.tables import ShownColumn, aligned, system_name
from traces.errors import InputError

KEY = "cameras"
DASHES = ("-", "--", ":", "-.")


QUANTITIES = (
    ShownColumn("latency_mean_s", "latency ms", 1e3, 0),
    ShownColumn("ea_per_captured", "EA/captured", 1.0, 3),
    ShownColumn("ea_fairness", "EA fairness", 1.0, 2),
    ShownColumn("uplink_fairness", "uplink fairness", 1.0, 2),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One system in one setting.

    Args:
        system: as the command line chose it.
        setting: what tells it from the system's other lines; may be empty.
        folder: of its first run; None where it is not known.
        runs: by number of cameras, the rows of its replicates.
    """

    system: str
    setting: str
    folder: Path | None
    runs: Mapping[int, Sequence[Mapping[str, Any]]]

    def at(self, cameras: int, column: str) -> Estimate | None:
        """A quantity with so many cameras; None where it was not run, or is not known."""
        rows = [row for row in self.runs.get(cameras, ()) if _known(row.get(column))]
        return Estimate.over(rows, column) if rows else None


def lines_of(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """The lines of all completed runs, in the order they come.

    Args:
        rows: one a run, as :func:`analysis.results.run_rows` makes them.

    Raises:
        InputError: there are no completed runs of several numbers of cameras.
    """
    done = [row for row in rows if row["status"] == "completed"]
    if len({row.get(KEY) for row in done}) < 2:
        raise InputError("scaling: expected completed runs of at least two numbers of cameras, found fewer")
    jobs = [settings(split_overrides(row["overrides"])) for row in done]
    keys = [key for key in swept_keys(jobs) if key not in ("system", KEY, *AVERAGED, "experiment")]
    grouped: dict[tuple[str, str], dict[int, list[Mapping[str, Any]]]] = {}
    for row, job in zip(done, jobs, strict=True):
        name = str(system_name(row, split_overrides(row["overrides"])))
        setting = ", ".join(f"{key}={job[key]}" for key in keys if key in job)
        realisation = tuple(job.get(key) for key in REALISATION)
        runs = grouped.setdefault((name, setting), {})
        runs.setdefault(int(row[KEY]), []).append({**row, "realisation": realisation})
    return [
        Line(name, setting, _folder(runs), dict(sorted(runs.items())))
        for (name, setting), runs in grouped.items()
    ]


def scaling_table(lines: Sequence[Line]) -> str:
    """A table a quantity: lines as rows, numbers of cameras as columns."""
    counts = sorted({count for line in lines for count in line.runs})
    text: list[str] = []
    for column, title, scale, digits in QUANTITIES:
        rows: list[list[str]] = [
            [title, "setting", *(f"{count} {'camera' if count == 1 else 'cameras'}" for count in counts)]
        ]
        for line in lines:
            found = [line.at(count, column) for count in counts]
            if any(found):
                cells = ["–" if one is None else one.text(scale, digits) for one in found]
                rows.append([line.system, line.setting or "–", *cells])
        if len(rows) > 1:
            text += [*aligned(rows, left=(0, 1)), ""]
    return "\n".join(
        [*text, "± 95 %, over replicates; fairness is Jain's index: 1 where all cameras got the same"]
    )


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
            dash = DASHES[settings_of.index(line.setting) % len(DASHES)]
            label = f"{labels[line.system]}, {line.setting}" if line.setting else labels[line.system]
            axis.plot(
                [count for count, _ in points],
                [scale * one.mean for _, one in points],
                marker="o",
                markersize=3,
                color=styles[line.system].colour,
                linestyle=dash,
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


def scaling_lines(folder: Path) -> list[Line]:
    """The lines of a sweep; raises as :func:`lines_of`."""
    return lines_of([{**row, "folder": folder / row["folder"]} for row in run_rows(folder)])


def _folder(runs: Mapping[int, Sequence[Mapping[str, Any]]]) -> Path | None:
    first = next(iter(runs.values()))[0].get("folder")
    return None if first is None else Path(first)


def _known(value: Any) -> bool:
    return value is not None and value == value
