"""All that a report says, as plain mappings: what of it stands in the page at once, and what packed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.comparison.frontier import ANSWERED, Estimate, Point, frontier, points
from analysis.report import frames as of_frames
from analysis.report.inspections import inspected, link_rates, packed_inspections
from analysis.report.measures import known_measures, measured
from analysis.report.packing import rounded
from analysis.report.provenance import MADE, provenance
from analysis.report.runs import ReportedRuns, run_label, system_cards
from analysis.report.verdicts import comparisons
from traces.errors import InputError

_SAID = ("trace", "video", "network", "model", "edge", "cloud", "accuracy_ruler", "cameras")


def report_content(
    runs: ReportedRuns, folders: Sequence[Path], frames_of: Sequence[Path] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a page holds.

    Args:
        runs: all of them.
        folders: where they are, as they were named.
        frames_of: folders of the runs whose frames can be looked at; none: of each system one that has been
            run with `inspect=true`.

    Returns:
        what is needed at once, and what is packed: by name, ``frames-RUN`` for each completed run, and what
        :func:`analysis.report.inspections.packed_inspections` says.

    Raises:
        InputError: a run of `frames_of` cannot be looked at.
    """
    looked_at = inspected(runs, frames_of)
    read = {place: of_frames.read_frames(Path(runs.rows[place]["folder"])) for place in runs.completed}
    limit = of_frames.frames_a_run([len(frames) for frames in read.values()])
    cards = system_cards(runs)
    order = {card["name"]: number for number, card in enumerate(cards)}
    content = {
        "folders": [str(folder) for folder in folders],
        "systems": cards,
        "measures": known_measures(runs.configurations),
        "shared": _shared(runs),
        "configurations": [_configuration(runs, row, order, read) for row in runs.configurations],
        "runs": [_run(runs, row, order, read.get(place)) for place, row in enumerate(runs.rows)],
        "levels": [rounded(float(level), 4) for level in of_frames.LEVELS],
        "stages": list(of_frames.STAGES),
        "outcomes": list(of_frames.OUTCOMES),
        "paths": list(of_frames.PATHS),
        "comparison": comparisons(runs, folders),
        "frontier": _frontier(folders, order),
        "inspected": looked_at,
        "provenance": {**provenance(runs), "made": list(MADE)},
    }
    packed = {f"frames-{place}": of_frames.packed_frames(frames, limit) for place, frames in read.items()}
    return content, {**packed, **packed_inspections(runs, looked_at)}


def _shared(runs: ReportedRuns) -> dict[str, Any]:
    """What all completed runs have in common, of what a reader must know to read a number."""
    done = [runs.rows[place] for place in runs.completed]
    values = {key: {row.get(key) for row in done} for key in _SAID}
    return {key: rounded(found.pop()) if len(found) == 1 else len(found) for key, found in values.items()} | {
        "differing": [key for key, found in values.items() if len({row.get(key) for row in done}) > 1]
    }


def _configuration(
    runs: ReportedRuns, row: dict[str, Any], order: dict[str, int], read: dict[int, pd.DataFrame]
) -> dict[str, Any]:
    members = [read[place] for place in row["members"] if place in read]
    return {
        "system": order[runs.system_of(row)],
        "setting": row["setting"],
        "trace": row.get("trace"),
        "video": row.get("video"),
        "network": row.get("network"),
        "coded": row["coded"],
        "status": row["status"],
        "error": row.get("error"),
        "captured": rounded(row.get("frames_captured")),
        "completed": rounded(row.get("frames_completed")),
        "replicates": len(row["members"]),
        "runs": row["members"],
        "values": measured(row),
        "latency": of_frames.latency_curve(members),
        "stages": of_frames.mean_stages(members) if members else {},
        "shares": of_frames.shares(members) if members else {},
    }


def _run(
    runs: ReportedRuns, row: dict[str, Any], order: dict[str, int], frames: pd.DataFrame | None
) -> dict[str, Any]:
    folder = Path(row["folder"])
    until_s = float(frames["captured_s"].max()) + 1.0 if frames is not None and len(frames) else 0.0
    return {
        "system": order[runs.system_of(row)],
        "folder": str(folder),
        "label": run_label(row),
        "status": row["status"],
        "error": row.get("error"),
        "overrides": row["overrides"],
        "captured": rounded(row.get("frames_captured")),
        "completed": rounded(row.get("frames_completed")),
        "made": {key: rounded(row.get(key)) for key in MADE},
        "values": measured(row),
        "link": link_rates(folder, until_s) or of_frames.link_rates(folder, until_s)
        if frames is not None
        else None,
    }


def _frontier(folders: Sequence[Path], order: dict[str, int]) -> dict[str, Any]:
    """The points of accuracy against latency and bytes, and which of them no other beats."""
    try:
        found = points(folders)
    except InputError as error:
        return {"points": [], "best": {}, "why": str(error)}
    best = {}
    for cost in ("latency_s", "frame_bytes"):
        kept = [number for number, point in enumerate(found) if getattr(point, cost).mean > 0.0]
        costs = [getattr(found[number], cost).mean for number in kept]
        best[cost] = [kept[place] for place in frontier(costs, [found[n].accuracy.mean for n in kept])]
    return {"points": [_point(point, order) for point in found], "best": best, "answered": ANSWERED}


def _point(point: Point, order: dict[str, int]) -> dict[str, Any]:
    return {
        "system": order[point.system],
        "setting": point.setting,
        "runs": point.runs,
        "answered": rounded(point.answered, 4),
        "accuracy": _estimate(point.accuracy),
        "streaming": None if point.streaming is None else _estimate(point.streaming),
        "latency_s": _estimate(point.latency_s),
        "frame_bytes": _estimate(point.frame_bytes),
    }


def _estimate(found: Estimate) -> list[Any]:
    """Mean and ends of the interval."""
    return [rounded(found.mean), rounded(found.interval.low), rounded(found.interval.high)]
