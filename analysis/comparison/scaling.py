"""How systems bear more cameras: latency, worth and fairness against their number, as a table.

A line is a system with what else was swept (codec, sharing of the link); a point is the mean over its
replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.comparison.frontier import AVERAGED
from analysis.replicates import Estimate
from analysis.results import is_known, rows_in
from analysis.settings import REALISATION, settings, split_overrides, swept_keys
from analysis.tables import ShownColumn, aligned, system_name
from traces.errors import InputError

KEY = "cameras"


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
        rows = [row for row in self.runs.get(cameras, ()) if is_known(row.get(column))]
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


def scaling_lines(folder: Path) -> list[Line]:
    """The lines of a sweep; raises as :func:`lines_of`."""
    return lines_of(rows_in([folder]))


def _folder(runs: Mapping[int, Sequence[Mapping[str, Any]]]) -> Path | None:
    first = next(iter(runs.values()))[0].get("folder")
    return None if first is None else Path(first)
