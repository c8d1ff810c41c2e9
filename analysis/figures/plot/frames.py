"""What figures show of frames: distributions of a column, and where the time of a result went."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.figures.plot.request import PlotRequest
from analysis.figures.plot.runs import Run, Runs, frame_columns, unknown_column
from analysis.replicates import Estimate, counted_frames
from traces.errors import InputError

SHARE = "share"
STAGE = "stage"
#: Where the time between capture and result goes, in the order in which a frame meets it.
STAGES = ("queue", "extract", "edge_compute", "encode", "transmit", "decode", "cloud_compute")
MOST_STEPS = 1000  # of a curve; more cannot be seen


def cdf_table(runs: Runs, request: PlotRequest) -> pd.DataFrame:
    """Empirical distributions of a column of frames, all frames with a value that count, replicates pooled.

    A row says which share of the values is at or below this one. Of a curve with more than
    :data:`MOST_STEPS` values so many are kept, at even shares, the least and the largest among them.

    Raises:
        InputError: as :meth:`Runs.cells`; no frame has such a number.
    """
    column = request.y[0] if request.y else "latency_s"
    keys = [*([request.facet] if request.facet else []), *request.by]
    parts = []
    for values, members in runs.cells(keys, request.over):
        pooled = np.sort(np.concatenate([_numbers(run, column) for run in members]))
        if not pooled.size:
            continue
        places = np.unique(np.linspace(0, pooled.size - 1, min(pooled.size, MOST_STEPS)).round().astype(int))
        part = pd.DataFrame({column: pooled[places], SHARE: (places + 1) / pooled.size})
        for place, (key, value) in enumerate(zip(keys, values, strict=True)):
            part.insert(place, key, value)
        parts.append(part.assign(values=pooled.size, replicates=len({run.realisation for run in members})))
    if not parts:
        raise InputError(f"{column}: expected frames with a value, found none")
    return pd.concat(parts, ignore_index=True)


def _numbers(run: Run, column: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    names = frame_columns(run.folder)
    if column not in names:
        raise unknown_column(column, "frames", names)
    frames = counted_frames(run.folder, list(dict.fromkeys(["captured_s", column])))
    return frames[column].dropna().to_numpy(dtype=np.float64)


def composition_table(runs: Runs, request: PlotRequest) -> pd.DataFrame:
    """Mean time of a result in each stage, over replicates with intervals; their sum is the mean latency.

    Raises:
        InputError: as :meth:`Runs.cells`; no frame has a result.
    """
    facet = [request.facet] if request.facet else []
    keys = list(dict.fromkeys([*facet, *request.by, *([request.x] if request.x else [])]))
    columns = [f"{stage}_s" for stage in STAGES]
    rows = []
    for values, members in runs.cells(keys, request.over):
        means: list[dict[str, Any]] = []
        for run in members:
            frames = counted_frames(run.folder, ["captured_s", "outcome", *columns])
            done = frames.loc[frames["outcome"] == "completed", columns]
            if len(done):
                found_s = {str(key): value for key, value in done.mean().items()}
                means.append({"realisation": run.realisation, **found_s})
        if not means:
            continue
        for stage, column in zip(STAGES, columns, strict=True):
            found = Estimate.over(means, column)
            row = {**dict(zip(keys, values, strict=True)), STAGE: stage, "mean_s": found.mean}
            rows.append(
                {**row, "low_s": found.interval.low, "high_s": found.interval.high, "runs": len(means)}
            )
    if not rows:
        raise InputError("composition: expected frames with results, found none")
    return pd.DataFrame(rows)
