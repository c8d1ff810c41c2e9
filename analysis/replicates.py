"""Replicates as one row: means over them with their intervals, quantiles of all their frames together.

Replicates are runs in one folder that were given the same, but for `replicate`. Each is one observation: the
mean over replicates of a run's value has an interval, whatever the correlation within a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.settings import join_overrides, split_overrides, without_replicate
from sim.records.intervals import (
    QUANTILE_LEVELS,
    UNKNOWN,
    Interval,
    interval_keys,
    replicate_interval,
    replicate_quantile_interval,
)

# Added up over replicates; all other numbers are averaged.
_ADDED = ("uplink_bytes", "uplink_opportunistic_bytes", "downlink_bytes", "simulated_s", "wall_s")
MIXED = "mixed"  # of texts: replicates do not say the same
# Of what a run was, not what came of it: no interval.
_GIVEN = ("cameras", "seed", "in_flight", "warmup_s", "link_correlation_s", "quality")


def pooled_rows(rows: Sequence[Mapping[str, Any]], root: Path = Path()) -> list[dict[str, Any]]:
    """The rows with all completed replicates of a configuration as one, in the place of the first.

    Such a row has `replicates`, their number; counts and bytes of all of them; means over them, and for each
    the two keys of its interval; latency quantiles of all their frames; of yes and no whether it was so in
    any of them, and of texts what all say, or :data:`MIXED`. Runs that have no siblings, have failed or have
    not finished stay as they are.

    Args:
        rows: as :func:`analysis.results.run_rows` makes them.
        root: what their `folder` is relative to.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(_siblings(row), []).append(row)
    return [_pooled(members, root) if len(members) > 1 else dict(members[0]) for members in groups.values()]


def _siblings(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What replicates of one configuration share, and nothing else does."""
    given = split_overrides(row.get("overrides"))
    rest = without_replicate(given)
    place = str(row.get("folder", ""))
    if len(rest) == len(given) or row.get("status") != "completed":
        return (place, "alone")
    return (place.rpartition("/")[0], *rest)


def _pooled(members: Sequence[Mapping[str, Any]], root: Path) -> dict[str, Any]:
    first = members[0]
    row: dict[str, Any] = dict(first)
    row["overrides"] = join_overrides(without_replicate(split_overrides(first["overrides"])))
    row.update(replicate=None, replicates=len(members))
    ends = {end for key in first for end in interval_keys(key)}
    for key in first:
        if key in ends or key in ("replicate", "replicates"):
            continue
        values = [member.get(key) for member in members]
        if all(value is None or _is_number(value) for value in values):
            row.update(_averaged(key, values, has_interval=interval_keys(key)[0] in first))
        elif key not in ("folder", "overrides"):  # which say where the first is, and what all were given
            row[key] = _of_all(values)
    row.update(pooled_quantiles([root / str(member["folder"]) for member in members]))
    return row


def _of_all(values: Sequence[Any]) -> Any:
    """What all replicates say; where they do not agree, whether any does, or :data:`MIXED`."""
    if any(isinstance(value, (bool, np.bool_)) for value in values):
        return True if any(values) else None if None in values else False
    return values[0] if all(value == values[0] for value in values) else MIXED


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _averaged(key: str, values: Sequence[Any], has_interval: bool) -> dict[str, Any]:
    """A value of all replicates, and its interval where it has one."""
    known = [value for value in values if value is not None and not np.isnan(value)]
    if not known:
        return {key: None}
    if key.startswith("frames_") or key.endswith("_frames") or key in _ADDED:
        return {key: sum(known)}
    if len(set(known)) == 1 and not has_interval:
        return {key: known[0]}
    mean = float(np.mean(known))
    if key in _GIVEN:
        return {key: mean}
    ends = replicate_interval(known) if len(known) == len(values) else UNKNOWN
    return {key: mean, **dict(zip(interval_keys(key), ends, strict=True))}


def pooled_quantiles(folders: Iterable[Path]) -> dict[str, float | None]:
    """The latency quantiles of all replicates' frames together, and their intervals, by their keys."""
    runs = [latencies(folder) for folder in folders]
    pooled = np.concatenate([run.values_s for run in runs])
    found: dict[str, float | None] = {}
    for key, level in QUANTILE_LEVELS.items():
        found[key] = float(np.quantile(pooled, level)) if pooled.size else None
        found.update(zip(interval_keys(key), latency_interval(runs, level), strict=True))
    return found


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 percent interval, whose ends are None where nothing is known of them."""

    mean: float
    interval: Interval

    @classmethod
    def over(cls, runs: Sequence[Mapping[str, Any]], key: str) -> Estimate:
        """Of a quantity over runs, whose `realisation` says which are of one replicate.

        The interval is over replicates, each the mean over its runs; of one replicate of several runs it is
        between these, and of a single run the one from within it.
        """
        by_replicate: dict[Any, list[float]] = {}
        for run in runs:
            by_replicate.setdefault(run.get("realisation"), []).append(float(run[key]))
        values = [value for group in by_replicate.values() for value in group]
        mean = sum(values) / len(values)
        if len(by_replicate) > 1:
            return cls(mean, replicate_interval([sum(group) / len(group) for group in by_replicate.values()]))
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


class Latencies(NamedTuple):
    """The latencies of a run's results that count, how long they were captured, and the network's memory."""

    values_s: np.ndarray[Any, np.dtype[np.float64]]
    span_s: float
    correlation_s: float


def latency_interval(runs: Sequence[Latencies], level: float) -> Interval:
    """The interval of a quantile of independent runs' latencies together."""
    return replicate_quantile_interval(
        [run.values_s for run in runs],
        level,
        sum(run.span_s for run in runs),
        max(run.correlation_s for run in runs),
    )


def counted_frames(folder: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The frames of a run that count: those captured after its start-up."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    frames = pd.read_parquet(folder / "frames.parquet", columns=list(columns))
    return frames[frames["captured_s"] >= (summary.get("warmup_s") or 0.0)]


def latencies(folder: Path) -> Latencies:
    """The latencies of a run's results that count."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    frames = counted_frames(folder, ["captured_s", "outcome", "latency_s"])
    span_s = float(np.ptp(frames["captured_s"])) if len(frames) else 0.0
    return Latencies(
        frames.loc[frames["outcome"] == "completed", "latency_s"].to_numpy(),
        span_s,
        (summary.get("link_correlation_s") or 0.0) if _meets_network(summary) else 0.0,
    )


def _meets_network(summary: Mapping[str, Any]) -> bool:
    """Whether a run sent anything, or decided by what it believed of the link that nothing was to be sent."""
    sent = any(summary.get(key) for key in ("uplink_bytes", "uplink_opportunistic_bytes"))
    return sent or summary.get("latency_prediction_error_abs_mean_s") is not None
