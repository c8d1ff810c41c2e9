"""One row a camera: what its frames came to. The table of cameras.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sim.records.frame_table import OUTCOMES
from sim.records.outcome import OFFLOADED
from sim.records.run_statistics import ea_per_captured, latency_quantiles, mean

if TYPE_CHECKING:
    import pandas as pd


def camera_table(
    frames: pd.DataFrame, further: Sequence[Mapping[str, Any]], warmup_s: float = 0.0
) -> pd.DataFrame:
    """The table of cameras.csv, in order of cameras; unknown values are null, never 0.

    Means and quantiles are over completed frames that count, those captured after start-up, counts and bytes
    over all; `ea_per_captured` counts a frame without a result as 0.

    Args:
        frames: the table of frames.parquet.
        further: further columns of each camera.
        warmup_s: when start-up is over.
    """
    import pandas as pd

    # The table is in order of cameras: slices of it, no copies.
    bounds = frames["camera"].searchsorted(range(len(further) + 1))
    rows = [
        {**_row(camera, frames.iloc[bounds[camera] : bounds[camera + 1]], warmup_s), **further[camera]}
        for camera in range(len(further))
    ]
    return pd.DataFrame(rows)


def _row(camera: int, frames: pd.DataFrame, warmup_s: float) -> dict[str, Any]:
    counted = frames[frames["captured_s"] >= warmup_s]
    completed = counted[counted["outcome"] == "completed"]
    counts = frames["outcome"].value_counts()
    latency_s = completed["latency_s"].to_numpy()
    return {
        "camera": camera,
        "frames_captured": len(frames),
        **{f"frames_{outcome}": int(counts.get(outcome, 0)) for outcome in OUTCOMES},
        "accuracy_mean": mean(completed["accuracy"]),
        "ea_mean": mean(completed["ea"]),
        # One without any result has got nothing, even where it captured only during start-up.
        "ea_per_captured": ea_per_captured(counted) if counts.get("completed", 0) or not len(frames) else 0.0,
        "latency_mean_s": mean(latency_s),
        **latency_quantiles(latency_s),
        "queue_mean_s": mean(completed["queue_s"]),
        "offload_ratio": mean(completed["path"].isin(OFFLOADED)),
        "uplink_bytes": int(frames["uplink_bytes"].sum()),
        "uplink_opportunistic_bytes": int(frames["uplink_opportunistic_bytes"].sum()),
        "downlink_bytes": int(frames["downlink_bytes"].sum()),
    }
