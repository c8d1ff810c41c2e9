"""The frames of runs as a page carries them, and what of all of them a page says in a few numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.report.packing import Column, pack_columns, rounded

STAGES = ("queue_s", "extract_s", "edge_compute_s", "encode_s", "transmit_s", "decode_s", "cloud_compute_s")
OUTCOMES = ("completed", "replaced", "dropped", "in_flight")
PATHS = ("edge", "cloud", "split", "reused")
TIME_STEP_S = 1e-5
COLUMNS = (
    Column("camera", 1),
    Column("frame", 1),
    Column("captured_s", 1e-4),
    Column("outcome", 1),
    Column("path", 1),
    Column("latency_s", TIME_STEP_S),
    *(Column(name, TIME_STEP_S) for name in STAGES),
    Column("accuracy", 1e-4),
    Column("ea", 1e-4),
    Column("streaming_accuracy", 1e-4),
    Column("uplink_bytes", 1),
    Column("uplink_opportunistic_bytes", 1),
    Column("bandwidth_estimate_bps", 1e4),
    Column("predicted_latency_s", TIME_STEP_S),
    Column("uplink_enqueued_s", 1e-4),
    Column("uplink_delivered_s", 1e-4),
    Column("blocks_active_edge", 1),
    Column("blocks_active_cloud", 1),
    Column("blocks_processed", 1),
    Column("blocks_stale", 1),
    Column("blocks_computed", 1),
    Column("blocks_sent", 1),
)
FRAMES_IN_ALL = 60_000  # a page carries at most so many: about 35 bytes each
FEWEST = 100  # of a run, however many runs there are
LEVELS = np.concatenate((np.linspace(0.0, 0.9, 46), np.linspace(0.905, 1.0, 20)))  # of the distribution


def frames_a_run(counts: Sequence[int]) -> int:
    """How many of its first frames a page carries of each run, of whose frames there are `counts`."""
    most = max(counts, default=0)
    if sum(counts) <= FRAMES_IN_ALL:
        return most
    low, high = FEWEST, most
    while low < high:  # the largest limit that all runs together can have
        middle = (low + high + 1) // 2
        fits = sum(min(count, middle) for count in counts) <= FRAMES_IN_ALL
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def read_frames(folder: Path) -> pd.DataFrame:
    """A run's frames by the time of their capture, with the columns that a page carries."""
    import pyarrow.parquet

    path = folder / "frames.parquet"
    known = pyarrow.parquet.read_schema(path).names
    frames = pd.read_parquet(path, columns=[column.name for column in COLUMNS if column.name in known])
    return frames.sort_values(["captured_s", "camera"], kind="stable", ignore_index=True)


def packed_frames(frames: pd.DataFrame, limit: int) -> dict[str, Any]:
    """The first frames of a run, packed; `captured` says how many it has in all."""
    first = frames.iloc[:limit]
    values: dict[str, Any] = {}
    for column in first:
        name = str(column)
        if name in ("outcome", "path"):
            codes = {label: code for code, label in enumerate(OUTCOMES if name == "outcome" else PATHS)}
            values[name] = first[name].astype(object).map(codes).astype("float64").to_numpy()
        else:
            values[name] = first[name].astype("float64").to_numpy(na_value=np.nan)
    kept = {name: found for name, found in values.items() if not np.isnan(found).all()}
    return {**pack_columns(COLUMNS, kept), "captured": len(frames)}


def latency_curve(runs: Sequence[pd.DataFrame]) -> list[Any]:
    """Latency of all results of some runs together, at each of :data:`LEVELS`; empty where there is none."""
    found = [run.loc[run["outcome"] == "completed", "latency_s"].to_numpy() for run in runs]
    together = np.concatenate(found) if found else np.zeros(0)
    return [rounded(value, 5) for value in np.quantile(together, LEVELS)] if together.size else []


def mean_stages(runs: Sequence[pd.DataFrame]) -> dict[str, float]:
    """Where the time of a result goes: the mean of each stage over all results of some runs."""
    done = pd.concat([run[run["outcome"] == "completed"] for run in runs])
    return {name: rounded(float(done[name].mean()), 5) for name in STAGES if len(done)}


def shares(runs: Sequence[pd.DataFrame]) -> dict[str, int]:
    """What became of all captured frames: how many results from each path, and of each other outcome."""
    frames = pd.concat(list(runs))
    done = frames[frames["outcome"] == "completed"]
    counts = {f"{path}": int((done["path"] == path).sum()) for path in PATHS}
    counts |= {name: int((frames["outcome"] == name).sum()) for name in OUTCOMES[1:]}
    return {name: count for name, count in counts.items() if count}


def link_rates(folder: Path, until_s: float) -> list[list[float]] | None:
    """The uplink's rate over time, (second, bit/s), where the run has left it; None where it has not.

    A run leaves it in timeline.json (`timeline=true`).
    """
    path = folder / "timeline.json"
    if not path.is_file():
        return None
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    found = [
        [round(1e-6 * event["ts"], 4), rounded(1e6 * event["args"]["value"], 4)]
        for event in events
        if event["ph"] == "C" and event["name"] == "link rate (Mbit/s)" and 1e-6 * event["ts"] <= until_s
    ]
    return found or None
