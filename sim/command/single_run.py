"""One run, from the plain mappings that describe it to its record; nothing is written but the overlay."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.version import package_version
from sim.assembly import Assembly, assemble
from sim.command.camera_accounts import camera_accounts, energy_columns
from sim.configuration import RunConfig, read_config
from sim.records.calibration import latency_prediction_errors_s
from sim.records.outcome import OFFLOADED
from sim.records.run_statistics import (
    ea_per_captured,
    interval_columns,
    latency_quantiles,
    mean,
    warmup_end_s,
)
from sim.records.summary import SUMMARY_KEYS, RunRecord, config_sha256, git_sha
from sim.world.simulation import RunResult


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What a run gave, and the world that it ran in."""

    record: RunRecord
    assembly: Assembly


def run_once(
    content: Mapping[str, Any],
    overlay_path: Path | None = None,
    on_begin: Callable[[int], None] | None = None,
    on_frame: Callable[[int, int], None] | None = None,
) -> FinishedRun:
    """Run what a configuration describes.

    Args:
        content: the configuration as plain mappings.
        overlay_path: where the video with its blocks drawn goes, if the configuration asks for it.
        on_begin: told how many frames all cameras will see, when the world is ready.
        on_frame: told (camera, frame) after each frame that ended.

    Raises:
        InputError: a key is unknown or holds a wrong value, or something that it names does not exist.
    """
    config = read_config(content)
    began_s = time.perf_counter()
    assembly = assemble(config, on_frame, overlay_path)
    if on_begin is not None:
        on_begin(config.cameras * assembly.frames_per_camera)
    result = assembly.simulation.run()
    record = summarise(config, content, assembly, result, time.perf_counter() - began_s)
    result.table.release()
    if assembly.overlay is not None:
        assembly.overlay.close()
    return FinishedRun(record, assembly)


# Columns of frames that no key of a summary is made from.
NOT_SUMMED = frozenset(
    [
        "frame",
        "started_s",
        "completed_s",
        "blocks_active_edge",
        "blocks_active_cloud",
        "blocks_processed",
        "blocks_stale",
        "blocks_computed",
        "blocks_sent",
        "downlink_bytes",
        "extract_s",
        "encode_s",
        "decode_s",
        "queue_s",
        "transmit_s",
        "bandwidth_estimate_bps",
        "decided_active_blocks",
        "decided_blocks",
        "predicted_ea",
        "predicted_other_latency_s",
        "predicted_other_ea",
        "extrapolated",
        "uplink_enqueued_s",
        "uplink_delivered_s",
    ]
)


def describe(config: RunConfig, content: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a summary that is known before a run: what it is, and from which sources."""
    summary: dict[str, Any] = dict.fromkeys(SUMMARY_KEYS)
    summary.update(
        system=config.system.get("name"),
        model=config.model.get("name"),
        trace=config.trace.name,
        video=config.video.name,
        edge=config.edge,
        cloud=config.cloud,
        cameras=config.cameras,
        seed=config.seed,
        replicate=config.replicate_number,
        version=package_version(),
        git_sha=git_sha(),
        config_sha256=config_sha256(content),
    )
    return summary


def summarise(
    config: RunConfig, content: Mapping[str, Any], assembly: Assembly, result: RunResult, wall_s: float
) -> RunRecord:
    """Derive the frames' table and the summary of a run.

    Means and quantiles are over the completed frames that count, those captured after start-up, every
    camera's alike; frames, bytes and busy times are of the whole run (:mod:`sim.records.run_statistics`).
    `uplink_bytes` are critical bytes (the sum of the frames', what still waits in the link included),
    `uplink_bps_mean` is what the link has carried of both classes by the end, byte by byte, over the
    simulated time: of the whole run, as bytes are (sim/records/README.md says why).
    `edge_compute_fraction` is the edge's share of the critical path's compute time; busy ratios include
    background work. Energy is that of all edges over the whole run (:mod:`sim.records.energy`). `accuracy`
    and `ea` are by `accuracy_ruler`, measured or coverage. Where accuracy is measured, streaming means are
    over all captured frames that count, the others over completed ones.
    """
    evaluation_began_s = time.perf_counter()
    columns = measured = None
    evaluator = None if assembly.evaluator is None or assembly.evaluator.silent else assembly.evaluator
    if evaluator is not None:
        rows, metric = result.table.columns(), assembly.metric
        worth = metric.decay(rows["completed_s"] - rows["captured_s"])
        columns = evaluator.columns(rows, metric.dense_accuracy, worth)
        measured = evaluator.ruled(columns)
    frames = result.table.to_frame(assembly.metric, config.regret, columns, measured)
    if evaluator is not None:
        wall_s += time.perf_counter() - evaluation_began_s
    warmup_s = warmup_end_s(frames, config.warmup_s)
    summed = [name for name in frames if name not in NOT_SUMMED]  # a copy of all would be large
    counted = frames.loc[frames["captured_s"] >= warmup_s, summed]
    completed = counted[counted["outcome"] == "completed"]
    counts = frames["outcome"].value_counts()
    edge_s, cloud_s = completed["edge_compute_s"].sum(), completed["cloud_compute_s"].sum()
    simulated_s = result.simulated_s
    opportunistic = result.uplink.opportunistic_delivered_bytes
    uplink_bytes = int(frames["uplink_bytes"].sum())
    accounts = camera_accounts(frames, assembly, result, warmup_s)
    error_s, absolute_error_s = latency_prediction_errors_s(completed)
    edge_busy_s = sum(result.edge_busy_s) + sum(result.edge_background_s)
    edge_time_s = simulated_s * config.cameras
    summary = describe(config, content)
    summary.update(
        status="completed",
        system=assembly.system_name,
        model=assembly.model.name,
        codec=assembly.payload_codec,
        quality=assembly.payload_quality,
        network=None if evaluator is None or assembly.network is None else assembly.network.label,
        trace=assembly.trace_name,
        video=assembly.video_name,
        frames_captured=len(frames),
        warmup_s=warmup_s,
        link_correlation_s=assembly.link_correlation_s,
        frames_completed=int(counts.get("completed", 0)),
        frames_replaced=int(counts.get("replaced", 0)),
        frames_dropped=int(counts.get("dropped", 0)),
        frames_in_flight=int(counts.get("in_flight", 0)),
        in_flight=assembly.simulation.in_flight,
        accuracy_ruler="coverage" if evaluator is None else "measured",
        accuracy_mean=mean(completed["accuracy"]),
        ea_mean=mean(completed["ea"]),
        ea_per_captured=ea_per_captured(counted),
        latency_mean_s=mean(completed["latency_s"]),
        **latency_quantiles(completed["latency_s"].to_numpy()),
        uplink_bytes=uplink_bytes,
        uplink_opportunistic_bytes=int(opportunistic),
        downlink_bytes=int(result.downlink.offered_bytes),
        uplink_bps_mean=(
            8.0 * (result.uplink.carried_bytes + opportunistic) / simulated_s if simulated_s > 0 else None
        ),
        reuse_ratio_mean=mean(completed["reuse_ratio"]),
        active_blocks_mean=mean((1.0 - completed["reuse_ratio"]) * assembly.metric.blocks_total),
        offload_ratio=mean(completed["path"].isin(OFFLOADED)),
        edge_compute_fraction=float(edge_s / (edge_s + cloud_s)) if edge_s + cloud_s > 0 else None,
        edge_busy_ratio=edge_busy_s / edge_time_s if edge_time_s > 0 else None,
        cloud_busy_ratio=(
            (result.cloud_busy_s + result.cloud_background_s) / simulated_s if simulated_s > 0 else None
        ),
        **energy_columns(accounts.energy, int(counts.get("completed", 0))),
        radio=config.trace.radio,
        radio_extrapolated=accounts.radio_extrapolated,
        ea_fairness=accounts.ea_fairness,
        uplink_fairness=accounts.uplink_fairness,
        latency_prediction_error_mean_s=error_s,
        latency_prediction_error_abs_mean_s=absolute_error_s,
        extrapolated_frames=int(frames["extrapolated"].sum()),
        simulated_s=simulated_s,
        wall_s=wall_s,
    )
    if config.regret:
        summary["ea_regret_mean"] = mean(completed["ea_regret"].dropna())
    names = () if evaluator is None else evaluator.names
    if evaluator is not None:
        summary["coverage_accuracy_mean"] = mean(completed["coverage_accuracy"])
        for name in names:
            summary[f"{name}_mean"] = mean(counted[name].dropna())
    summary.update(interval_columns(counted, summary, assembly.link_correlation_s, names))
    return RunRecord(summary, frames, accounts.table)
