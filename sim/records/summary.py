"""What a run leaves behind: frames.parquet and summary.json, or nothing that looks whole."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from profiler.latency import Profile
from sim.assembly import Assembly
from sim.config import RunConfig
from sim.world.simulation import RunResult

if TYPE_CHECKING:
    import pandas as pd

# Every key of summary.json, in order; what is not known is null.
SUMMARY_KEYS = (
    "status",
    "system",
    "model",
    "trace",
    "video",
    "edge",
    "cloud",
    "cameras",
    "seed",
    "frames_captured",
    "frames_completed",
    "frames_replaced",
    "frames_dropped",
    "frames_in_flight",
    "in_flight",
    "accuracy_mean",
    "streaming_accuracy_mean",
    "ea_mean",
    "latency_mean_s",
    "latency_p50_s",
    "latency_p95_s",
    "latency_p99_s",
    "latency_p99_low_s",
    "latency_p99_high_s",
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
    "extrapolated_frames",
    "simulated_s",
    "wall_s",
    "version",
    "git_sha",
    "config_sha256",
)
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Written:
    """A finished run: its summary and its frames."""

    summary: Mapping[str, Any]
    frames: pd.DataFrame


def describe(config: RunConfig, content: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a summary that is known before a run: what it is, and from which sources."""
    summary: dict[str, Any] = dict.fromkeys(SUMMARY_KEYS)
    summary.update(
        system=config.system.get("name"),
        model=config.model,
        trace=config.trace.name,
        video=config.video.name,
        edge=config.edge,
        cloud=config.cloud,
        cameras=config.cameras,
        seed=config.seed,
        version=package_version(),
        git_sha=git_sha(),
        config_sha256=config_sha256(content),
    )
    return summary


def summarise(
    config: RunConfig, content: Mapping[str, Any], assembly: Assembly, result: RunResult, wall_s: float
) -> Written:
    """Derive the frames' table and the summary of a run.

    Means are over completed frames, every camera's alike. `uplink_bytes` are critical bytes (the sum of the
    frames', what still waits in the link included), `uplink_bps_mean` is what the link has carried of both
    classes over the simulated time. `edge_compute_fraction` is the
    edge's share of the critical path's compute time; busy ratios include background work. `edge_energy_j` is
    busy power times busy time, plus idle power times idle time where the profile knows it. Where accuracy is
    measured, streaming means are over all captured frames, the others over completed ones.
    """
    judging_began_s = time.perf_counter()
    measured = None
    if assembly.judge is not None:
        rows, metric = result.table.columns(), assembly.metric
        worth = metric.decay(rows["completed_s"] - rows["captured_s"])
        measured = assembly.judge.columns(rows, metric.dense_accuracy, worth)
    frames = result.table.to_frame(assembly.metric, config.regret, measured)
    if assembly.judge is not None:
        wall_s += time.perf_counter() - judging_began_s
    completed = frames[frames["outcome"] == "completed"]
    counts = frames["outcome"].value_counts()
    latency_s = completed["latency_s"].to_numpy()
    low_s, high_s = quantile_interval(latency_s, 0.99)
    edge_s, cloud_s = completed["edge_compute_s"].sum(), completed["cloud_compute_s"].sum()
    simulated_s = result.simulated_s
    opportunistic = result.uplink.opportunistic_delivered_bytes
    uplink_bytes = int(frames["uplink_bytes"].sum())
    edge_busy_s = sum(result.edge_busy_s) + sum(result.edge_background_s)
    edge_time_s = simulated_s * config.cameras
    summary = describe(config, content)
    summary.update(
        status="completed",
        trace=assembly.trace_name,
        video=assembly.video_name,
        frames_captured=len(frames),
        frames_completed=len(completed),
        frames_replaced=int(counts.get("replaced", 0)),
        frames_dropped=int(counts.get("dropped", 0)),
        frames_in_flight=int(counts.get("in_flight", 0)),
        in_flight=assembly.simulation.in_flight,
        accuracy_mean=_mean(completed["accuracy"]),
        ea_mean=_mean(completed["ea"]),
        latency_mean_s=_mean(completed["latency_s"]),
        latency_p50_s=_quantile(latency_s, 0.50),
        latency_p95_s=_quantile(latency_s, 0.95),
        latency_p99_s=_quantile(latency_s, 0.99),
        latency_p99_low_s=low_s,
        latency_p99_high_s=high_s,
        uplink_bytes=uplink_bytes,
        uplink_opportunistic_bytes=int(opportunistic),
        downlink_bytes=int(result.downlink.offered_bytes),
        uplink_bps_mean=(
            8.0 * (result.uplink.delivered_bytes + opportunistic) / simulated_s if simulated_s > 0 else None
        ),
        reuse_ratio_mean=_mean(completed["reuse_ratio"]),
        active_blocks_mean=_mean((1.0 - completed["reuse_ratio"]) * assembly.metric.blocks_total),
        offload_ratio=_mean(completed["path"].isin(["cloud", "split"])),
        edge_compute_fraction=float(edge_s / (edge_s + cloud_s)) if edge_s + cloud_s > 0 else None,
        edge_busy_ratio=edge_busy_s / edge_time_s if edge_time_s > 0 else None,
        cloud_busy_ratio=(
            (result.cloud_busy_s + result.cloud_background_s) / simulated_s if simulated_s > 0 else None
        ),
        edge_energy_j=_energy_j(assembly.edge, edge_busy_s, edge_time_s),
        extrapolated_frames=int(completed["extrapolated"].sum()),
        simulated_s=simulated_s,
        wall_s=wall_s,
    )
    if config.regret:
        summary["ea_regret_mean"] = _mean(completed["ea_regret"].dropna())
    if assembly.judge is not None:
        for name in assembly.judge.names:
            summary[f"{name}_mean"] = _mean(frames[name].dropna())
    return Written(summary, frames)


def write_run(folder: Path, written: Written) -> None:
    """Write both files; the summary, which says that the run is complete, comes last and at once."""
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "frames.parquet", lambda part: written.frames.to_parquet(part, index=False))
    write_summary(folder, written.summary)


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write summary.json."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    _replace(folder / "summary.json", lambda part: part.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Any) -> None:
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def quantile_interval(values: NDArray[np.float64], level: float) -> tuple[float | None, float | None]:
    """A 95 % confidence interval of a quantile from order statistics, free of any distribution.

    The interval's ends are the order statistics at the binomial's 2.5 and 97.5 percent points (Conover,
    Practical Nonparametric Statistics, §3.2). It takes frames as independent; runs of slow frames make the
    true interval wider. An end that falls outside the sample is unknown.
    """
    from scipy.stats import binom

    n = len(values)
    if n == 0:
        return None, None
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = int(binom.ppf(tail, n, level)), int(binom.ppf(1.0 - tail, n, level)) + 1
    ordered = np.sort(values)
    return (
        float(ordered[low - 1]) if low >= 1 else None,
        float(ordered[high - 1]) if high <= n else None,
    )


def _mean(values: Any) -> float | None:
    return float(values.mean()) if len(values) and math.isfinite(values.mean()) else None


def _quantile(values: NDArray[np.float64], level: float) -> float | None:
    return float(np.quantile(values, level)) if len(values) else None


def _energy_j(profile: Profile, busy_s: float, total_s: float) -> float | None:
    power = profile.power_w
    if power is None or power.busy_w is None:
        return None
    idle_w = power.idle_w or 0.0
    return power.busy_w * busy_s + idle_w * max(0.0, total_s - busy_s)


def package_version() -> str | None:
    """The installed version; None where the code runs without installation."""
    try:
        return version("fluxshard")
    except PackageNotFoundError:
        return None


def git_sha() -> str | None:
    """The commit of the checkout the code runs from; None outside one."""
    root = Path(__file__).resolve().parent.parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def config_sha256(content: Mapping[str, Any]) -> str:
    """A hash of the whole configuration, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
