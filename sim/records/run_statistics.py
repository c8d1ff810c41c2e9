"""What of a run counts, and the intervals of its means and quantiles.

Start-up is left out of means and quantiles: a system begins with a dense inference, an estimator without
knowledge, and a client with nothing to show. A frame counts if it was captured at or after the summary's
`warmup_s`. Frames, bytes and busy times are counted over the whole run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.records.intervals import (
    QUANTILE_LEVELS,
    UNKNOWN,
    CameraGrid,
    influence,
    interval_keys,
    run_mean_interval,
    run_quantile_interval,
)
from sim.records.outcome import OFFLOADED

if TYPE_CHECKING:
    import pandas as pd

MOST_LEFT_OUT = 4  # at most one frame in so many is start-up
# Means over results, and the columns they are of.
_OF_RESULTS = {
    "accuracy_mean": "accuracy",
    "coverage_accuracy_mean": "coverage_accuracy",
    "ea_mean": "ea",
    "ea_regret_mean": "ea_regret",
    "latency_mean_s": "latency_s",
    "reuse_ratio_mean": "reuse_ratio",
}


def mean(values: pd.Series | NDArray[np.float64]) -> float | None:
    """The mean; None of nothing, or where it is not finite."""
    return float(values.mean()) if len(values) and math.isfinite(values.mean()) else None


def latency_quantiles(latency_s: NDArray[np.float64]) -> dict[str, float | None]:
    """The reported quantiles of latencies, (frames,), by their keys; None of nothing."""
    return {
        key: float(np.quantile(latency_s, level)) if len(latency_s) else None
        for key, level in QUANTILE_LEVELS.items()
    }


def warmup_end_s(frames: pd.DataFrame, warmup_s: float) -> float:
    """When start-up ends: after `warmup_s`, or with a quarter of the frames of a camera if that is sooner."""
    ends_s = [float(warmup_s)]
    for _, captured_s in frames.groupby("camera")["captured_s"]:
        ends_s.append(float(np.sort(captured_s.to_numpy())[len(captured_s) // MOST_LEFT_OUT]))
    return min(ends_s)


def ea_per_captured(counted: pd.DataFrame) -> float | None:
    """EA with every frame that gave no result as 0."""
    if not len(counted):
        return None
    return float(counted["ea"].where(counted["outcome"] == "completed", 0.0).fillna(0.0).mean())


def interval_columns(
    counted: pd.DataFrame, summary: Mapping[str, Any], correlation_s: float, measured: Sequence[str] = ()
) -> dict[str, float | None]:
    """The intervals of a run's means and quantiles, by their keys.

    Args:
        counted: the frames that count, in order of camera and frame.
        summary: with the means.
        correlation_s: of the network (:func:`sim.records.intervals.long_enough`).
        measured: further columns whose means are over all frames that have a value.
    """
    grid = CameraGrid(counted["camera"].to_numpy(), counted["captured_s"].to_numpy())
    completed = (counted["outcome"] == "completed").to_numpy()
    if not _depends_on_network(counted):
        correlation_s = 0.0
    series: dict[str, NDArray[np.float64]] = {}
    for key, column in _OF_RESULTS.items():
        if column in counted:  # regret and coverage are only where they were asked for
            series[key] = np.where(completed, _floats(counted[column]), np.nan)
    if "reuse_ratio_mean" in series:
        series["active_blocks_mean"] = series["reuse_ratio_mean"]
    ea = series["ea_mean"]
    series["ea_per_captured"] = np.where(np.isfinite(ea), ea, 0.0)
    series["offload_ratio"] = np.where(completed, counted["path"].isin(OFFLOADED), np.nan)
    for column in measured:
        series[f"{column}_mean"] = _floats(counted[column])
    columns: dict[str, float | None] = {}
    for key, values in series.items():
        mean, rows = summary.get(key), grid.rows(values)
        found = UNKNOWN
        if mean is not None:
            deviations = influence(rows)
            if key == "active_blocks_mean":  # blocks · (1 − reuse)
                reuse = summary["reuse_ratio_mean"]
                deviations = deviations * (mean / (1.0 - reuse) if reuse < 1.0 else 0.0)
            found = run_mean_interval(mean, deviations, grid.interval_s, correlation_s)
        columns.update(zip(interval_keys(key), found, strict=True))
    rate = _rate(counted, summary, grid, correlation_s)
    columns.update(zip(interval_keys("uplink_bps_mean"), rate, strict=True))
    latency_s = grid.rows(series["latency_mean_s"])
    for key, level in QUANTILE_LEVELS.items():
        found = run_quantile_interval(latency_s, level, grid.interval_s, correlation_s)
        columns.update(zip(interval_keys(key), found, strict=True))
    return columns


def _depends_on_network(counted: pd.DataFrame) -> bool:
    """Whether something was sent, or somebody decided that nothing was: both depend on the network."""
    sent = any(
        counted[key].sum() > 0 for key in ("uplink_bytes", "uplink_opportunistic_bytes") if key in counted
    )
    return sent or ("decided_path" in counted and bool(counted["decided_path"].notna().any()))


def _floats(column: pd.Series) -> NDArray[np.float64]:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _rate(
    counted: pd.DataFrame, summary: Mapping[str, Any], grid: CameraGrid, correlation_s: float
) -> tuple[float | None, float | None]:
    """The uplink's interval, from what the frames sent; unknown where they do not say all of it."""
    rate_bps = summary.get("uplink_bps_mean")
    sent = np.nan_to_num(_floats(counted["uplink_bytes"]))
    if "uplink_opportunistic_bytes" in counted:
        sent = sent + np.nan_to_num(_floats(counted["uplink_opportunistic_bytes"]))
    elif summary.get("uplink_opportunistic_bytes"):
        return UNKNOWN
    if rate_bps is None or not len(sent):
        return UNKNOWN
    if not sent.any():
        return 0.0, 0.0
    deviations = influence(grid.rows(sent)) * (rate_bps / sent.mean())
    return run_mean_interval(rate_bps, deviations, grid.interval_s, correlation_s)
