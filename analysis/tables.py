"""Summaries as text tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# heading, key of the summary, how to print its value
_COLUMNS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("system", "system", str),
    ("trace", "trace", str),
    ("video", "video", str),
    ("frames", "frames_completed", lambda value: f"{int(value)}"),
    ("of", "frames_captured", lambda value: f"{int(value)}"),
    ("EA", "ea_mean", lambda value: f"{value:.3f}"),
    ("EA/captured", "ea_per_captured", lambda value: f"{value:.3f}"),
    ("accuracy", "accuracy_mean", lambda value: f"{value:.3f}"),
    ("latency ms", "latency_mean_s", lambda value: f"{1e3 * value:.1f}"),
    ("p99 ms", "latency_p99_s", lambda value: f"{1e3 * value:.1f}"),
    ("uplink Mbit/s", "uplink_bps_mean", lambda value: f"{1e-6 * value:.2f}"),
    ("reuse %", "reuse_ratio_mean", lambda value: f"{100 * value:.1f}"),
    ("offload %", "offload_ratio", lambda value: f"{100 * value:.1f}"),
    ("edge busy %", "edge_busy_ratio", lambda value: f"{100 * value:.1f}"),
)


def summary_table(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Runs as rows; unknown values print as a dash, failed runs with their error."""
    rows = [[heading for heading, _, _ in _COLUMNS]]
    notes = []
    for summary in summaries:
        derived = {**summary, "ea_per_captured": _ea_per_captured(summary)}
        rows.append([_cell(derived.get(key), show) for _, key, show in _COLUMNS])
        if summary.get("status") != "completed":
            which = summary.get("overrides") or summary.get("system")
            notes.append(f"failed: {which}: {summary.get('error')}")
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    texts = 3  # the first columns are names, the rest numbers
    lines = [
        "  ".join(
            cell.ljust(width) if column < texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], *notes])


def _ea_per_captured(summary: Mapping[str, Any]) -> float | None:
    """EA with every frame that gave no result counted as 0: what a system that skips frames really gives."""
    ea, completed, captured = (summary.get(key) for key in ("ea_mean", "frames_completed", "frames_captured"))
    return None if ea is None or not captured else ea * completed / captured


def _cell(value: Any, show: Callable[[Any], str]) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return show(value)
