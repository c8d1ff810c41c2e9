"""What a report is about: runs, the configurations that they are replicates of, and their systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.figures.display import system_display
from analysis.figures.styles import run_styles
from analysis.replicates import pooled_rows
from analysis.results import ea_per_captured, rows_in
from analysis.settings import join_overrides, settings, split_overrides, swept_settings, without_replicate
from analysis.tables import coded, system_name
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class ReportedRuns:
    """Runs of any folders, each once.

    Args:
        rows: one a run (:func:`analysis.results.run_rows`), with whole folders, in the order they come.
        configurations: replicates as one (:func:`analysis.replicates.pooled_rows`), with `members`, the
            places of their runs in `rows`.
        systems: names, as the command line chose them, in the order they come.
    """

    rows: list[dict[str, Any]]
    configurations: list[dict[str, Any]]
    systems: list[str]

    @property
    def completed(self) -> list[int]:
        """Places of the runs that have results."""
        return [place for place, row in enumerate(self.rows) if row["status"] == "completed"]

    def system_of(self, row: Mapping[str, Any]) -> str:
        """What the system of a run, or configuration, is called."""
        return str(system_name(row, given(row)) or "unknown")


def given(row: Mapping[str, Any]) -> list[str]:
    """What a run was given on its command line."""
    return split_overrides(row.get("overrides"))


def read_runs(folders: Sequence[Path]) -> ReportedRuns:
    """The runs in some folders; one that is named twice counts once.

    Raises:
        InputError: a folder has neither a run nor the jobs of a sweep, or no run has completed.
    """
    runs = rows_in(folders)
    if not any(row["status"] == "completed" for row in runs):
        raise InputError(f"report: expected completed runs, found none of {len(runs)}")
    pooled = [dict(row) for row in pooled_rows(runs)]
    places = {_configuration(row): number for number, row in enumerate(pooled)}
    alone = {row["folder"]: number for number, row in enumerate(pooled)}
    for row in pooled:
        row["members"] = []
    for place, row in enumerate(runs):
        number = alone.get(row["folder"])
        pooled[places[_configuration(row)] if number is None else number]["members"].append(place)
    for row, setting in zip(pooled, swept_settings([given(row) for row in pooled], pooled), strict=True):
        row.update(setting=setting, coded=coded(row), ea_per_captured=ea_per_captured(row))
    names = dict.fromkeys(str(system_name(row, given(row)) or "unknown") for row in runs)
    return ReportedRuns(runs, pooled, list(names))


def _configuration(row: Mapping[str, Any]) -> tuple[str, str]:
    """What replicates of a configuration share."""
    return str(Path(str(row["folder"])).parent), join_overrides(without_replicate(given(row)))


def system_cards(runs: ReportedRuns) -> list[dict[str, Any]]:
    """How each system is shown: its name, its label, a colour, the dashes of its lines (px).

    Systems whose labels are the same are called by their names.
    """
    first = {}
    for row in runs.rows:
        first.setdefault(runs.system_of(row), row)
    displays = [
        system_display(Path(row["folder"]), str(row.get("system") or name)) for name, row in first.items()
    ]
    labels = [display.label for display in displays]
    return [
        {
            "name": name,
            "label": label if labels.count(label) == 1 else name,
            "colour": style.colour,
            "dash": [] if style.dashes == "solid" else [2 * length for length in style.dashes[1]],
        }
        for name, label, style in zip(first, labels, run_styles(displays), strict=True)
    ]


def run_label(row: Mapping[str, Any]) -> str:
    """What tells a run from the other runs of its configuration: its replicate, its seed; may be empty."""
    found = settings(given(row))
    if "replicate" in found:
        return f"replicate {found['replicate']}"
    return ", ".join(f"{key}={found[key]}" for key in ("seed", "trace.seed", "video.seed") if key in found)
