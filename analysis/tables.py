"""Summaries as text tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# heading, key of the summary, how to print its value
_COLUMNS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("system", "system", str),
    ("trace", "trace", str),
    ("video", "video", str),
    ("network", "network", str),
    ("swept", "swept", str),
    ("frames", "frames_completed", lambda value: f"{int(value)}"),
    ("of", "frames_captured", lambda value: f"{int(value)}"),
    ("EA", "ea_mean", lambda value: f"{value:.3f}"),
    ("EA/captured", "ea_per_captured", lambda value: f"{value:.3f}"),
    ("EA regret", "ea_regret_mean", lambda value: f"{value:.4f}"),
    ("accuracy", "accuracy_mean", lambda value: f"{value:.3f}"),
    ("measured EA", "measured_ea_mean", lambda value: f"{value:.3f}"),
    ("measured accuracy", "measured_accuracy_mean", lambda value: f"{value:.3f}"),
    ("foreground IoU", "foreground_iou_mean", lambda value: f"{value:.3f}"),
    ("streaming accuracy", "streaming_accuracy_mean", lambda value: f"{value:.3f}"),
    ("J", "region_similarity_mean", lambda value: f"{value:.3f}"),
    ("J of dense", "dense_region_similarity_mean", lambda value: f"{value:.3f}"),
    ("EA of J", "region_similarity_ea_mean", lambda value: f"{value:.3f}"),
    ("streaming J", "streaming_region_similarity_mean", lambda value: f"{value:.3f}"),
    ("latency ms", "latency_mean_s", lambda value: f"{1e3 * value:.1f}"),
    ("p99 ms", "latency_p99_s", lambda value: f"{1e3 * value:.1f}"),
    ("uplink Mbit/s", "uplink_bps_mean", lambda value: f"{1e-6 * value:.2f}"),
    ("reuse %", "reuse_ratio_mean", lambda value: f"{100 * value:.1f}"),
    ("offload %", "offload_ratio", lambda value: f"{100 * value:.1f}"),
    ("edge busy %", "edge_busy_ratio", lambda value: f"{100 * value:.1f}"),
)


_NAMES = 5  # the first columns are names, the rest numbers
# Columns that most tables do without.
_WHERE_KNOWN = (
    "network",
    "swept",
    "ea_regret_mean",
    "measured_ea_mean",
    "measured_accuracy_mean",
    "foreground_iou_mean",
    "streaming_accuracy_mean",
    "region_similarity_mean",
    "dense_region_similarity_mean",
    "region_similarity_ea_mean",
    "streaming_region_similarity_mean",
)
_COUNTS = ("frames_captured", "frames_completed", "frames_replaced", "frames_dropped")


def summary_table(summaries: Sequence[Mapping[str, Any]], headings: Sequence[str] = ()) -> str:
    """Runs as rows; unknown values print as a dash, failed runs with their error.

    Jobs of a multirun, which have `overrides`, also say what else was swept. Where `headings` are given, only
    those columns are shown.
    """
    overrides = [str(summary.get("overrides") or "").split() for summary in summaries]
    derived = [
        {
            **summary,
            "system": system_name(summary, job),
            "ea_per_captured": _ea_per_captured(summary),
            "swept": setting or None,
        }
        for summary, job, setting in zip(summaries, overrides, swept_settings(overrides), strict=True)
    ]
    columns = [
        (place, column)
        for place, column in enumerate(_COLUMNS)
        if (column[0] in headings if headings else _worth_showing(column[1], derived))
    ]
    rows = [[heading for _, (heading, _, _) in columns]]
    rows += [
        [show(row[key]) if _known(row.get(key)) else "–" for _, (_, key, show) in columns] for row in derived
    ]
    notes = [
        f"failed: {row.get('overrides') or row.get('system')}: {row.get('error')}"
        for row in derived
        if row.get("status") != "completed"
    ]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < _NAMES else cell.rjust(width)
            for (place, _), cell, width in zip(columns, cells, widths, strict=True)
        ).rstrip()
        for cells in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], *notes])


def _worth_showing(key: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    return key not in _WHERE_KNOWN or any(_known(row.get(key)) for row in rows)


def system_name(summary: Mapping[str, Any], overrides: Sequence[str]) -> Any:
    """What a run's system is called: as the command line chose it, else by its name.

    An experiment's own variants of systems have the names that it gives them.
    """
    chosen = [part.partition("=")[2] for part in overrides if part.startswith(("system=", "experiment/"))]
    return chosen[-1] if chosen else summary.get("system")


def mean_over_videos(jobs: pd.DataFrame) -> pd.DataFrame:
    """One row a system, in the order they come: its frames added up, the mean of all else, a video one vote.

    Args:
        jobs: with `overrides`, `system` and `video`, as :func:`analysis.results.merge_results` makes them.
    """
    names = [system_name(job, str(job["overrides"]).split()) for job in jobs.to_dict("records")]
    pooled = jobs.assign(system=names).groupby("system", sort=False)
    means = pooled.mean(numeric_only=True)
    for count in _COUNTS:
        means[count] = pooled[count].sum()
    videos = pooled["video"].nunique().map("mean of {}".format)
    status = pooled["status"].agg(lambda column: "completed" if (column == "completed").all() else "failed")
    network = pooled["network"].first() if "network" in jobs else None
    return means.assign(video=videos, status=status, network=network).reset_index()


def swept_settings(overrides: Sequence[Sequence[str]]) -> list[str]:
    """What tells jobs apart beside system, trace and video: "seed=1, cameras=4"; empty where nothing does."""
    settings = [dict(part.split("=", 1) for part in job if "=" in part) for job in overrides]
    keys = dict.fromkeys(key for job in settings for key in job)
    differing = [
        key
        for key in keys
        if key not in ("system", "trace", "video")
        and not key.startswith("experiment")  # its system and video have columns
        and len({job.get(key) for job in settings}) > 1
    ]
    return [", ".join(f"{key}={job[key]}" for key in differing if key in job) for job in settings]


def _ea_per_captured(summary: Mapping[str, Any]) -> float | None:
    """EA with every frame that gave no result counted as 0: what a system that skips frames really gives."""
    ea, completed, captured = (summary.get(key) for key in ("ea_mean", "frames_completed", "frames_captured"))
    return None if ea is None or not captured else ea * completed / captured


def _known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))
