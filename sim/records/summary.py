"""What a run leaves behind: frames.parquet, cameras.csv and summary.json, or nothing that looks whole."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conf.search_path import checkout_folder
from sim.records.intervals import QUANTILE_LEVELS, interval_keys

if TYPE_CHECKING:
    import pandas as pd

# Those among the keys that have an interval: two more keys each (`intervals.interval_keys`).
WITH_INTERVAL = (
    "accuracy_mean",
    "streaming_accuracy_mean",
    "ea_mean",
    "ea_per_captured",
    "latency_mean_s",
    *QUANTILE_LEVELS,
    "uplink_bps_mean",
    "reuse_ratio_mean",
    "active_blocks_mean",
    "offload_ratio",
)
# Every key of summary.json, in order; what is not known is null.
_KEYS = (
    "status",
    "system",
    "model",
    "network",
    "codec",
    "quality",
    "trace",
    "video",
    "edge",
    "cloud",
    "cameras",
    "seed",
    "replicate",
    "warmup_s",
    "link_correlation_s",
    "frames_captured",
    "frames_completed",
    "frames_replaced",
    "frames_dropped",
    "frames_in_flight",
    "in_flight",
    "accuracy_ruler",
    "accuracy_mean",
    "streaming_accuracy_mean",
    "ea_mean",
    "ea_per_captured",
    "latency_mean_s",
    *QUANTILE_LEVELS,
    "uplink_bytes",
    "uplink_opportunistic_bytes",
    "downlink_bytes",
    "uplink_bps_mean",
    "reuse_ratio_mean",
    "active_blocks_mean",
    "offload_ratio",
    "edge_compute_fraction",
    "edge_busy_ratio",
    "cloud_busy_ratio",
    "edge_energy_j",
    "edge_compute_energy_j",
    "edge_idle_energy_j",
    "radio_energy_j",
    "edge_energy_per_frame_j",
    "radio",
    "radio_extrapolated",
    "ea_fairness",
    "uplink_fairness",
    "latency_prediction_error_mean_s",
    "latency_prediction_error_abs_mean_s",
    "extrapolated_frames",
    "simulated_s",
    "wall_s",
    "version",
    "git_sha",
    "config_sha256",
)
SUMMARY_KEYS = tuple(
    name for key in _KEYS for name in ((key, *interval_keys(key)) if key in WITH_INTERVAL else (key,))
)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A finished run: its summary, its frames, its cameras."""

    summary: Mapping[str, Any]
    frames: pd.DataFrame
    cameras: pd.DataFrame


def write_run(folder: Path, record: RunRecord) -> None:
    """Write all files; the summary, which says that the run is complete, comes last and at once."""
    folder.mkdir(parents=True, exist_ok=True)
    _replace_whole(folder / "frames.parquet", lambda part: record.frames.to_parquet(part, index=False))
    _replace_whole(folder / "cameras.csv", lambda part: record.cameras.to_csv(part, index=False))
    write_summary(folder, record.summary)


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write summary.json."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    _replace_whole(folder / "summary.json", lambda part: part.write_text(text, encoding="utf-8"))


def _replace_whole(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def git_sha() -> str | None:
    """The commit of the checkout the code runs from; None outside one."""
    root = checkout_folder()
    if root is None or not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def config_sha256(content: Mapping[str, Any]) -> str:
    """A hash of the whole configuration, whatever the order of its keys and the folders it came from."""
    beside = ("config_folders", "replicates")  # how many others there are is no part of a run
    values = {key: value for key, value in content.items() if key not in beside}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
