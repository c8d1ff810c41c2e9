"""One run over time: the link's rate and what was believed of it, the queue, latencies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures.plot.request import PlotRequest
from analysis.figures.plot.runs import Runs
from traces.errors import InputError

# Counters of timeline.json (sim/records/timeline.py), and what is drawn of them.
_COUNTERS = {
    "link rate (Mbit/s)": ("rate", "link", 1e6),
    "uplink queue (kB)": ("queue", "uplink queue", 1e3),
}
_COLUMNS = ["captured_s", "outcome", "path", "latency_s", "queue_s"]
_BELIEVED = ["bandwidth_estimate_bps", "predicted_latency_s"]


def series_table(runs: Runs, request: PlotRequest) -> pd.DataFrame:
    """What is drawn of a camera of one run: panel, quantity, time, value in SI units.

    The link's rate and its queue are in timeline.json, which a run leaves with ``timeline=true``. Without it
    there is what the frames say: what the edge believed of the rate, and how long each frame waited.

    Raises:
        InputError: there are several runs, or the run has no such camera.
    """
    if len(runs.table) != 1:
        places = ", ".join(str(folder) for folder in runs.table["folder"][:3])
        keys = ", ".join(dict.fromkeys((*runs.swept, "replicate")))
        raise InputError(
            f"series: expected one run, found {len(runs.table)} ({places}, …): name its folder, or choose "
            f"with where=KEY=VALUE ({keys})"
        )
    folder = Path(str(runs.table["folder"].iloc[0]))
    frames = pd.read_parquet(folder / "frames.parquet", columns=["camera", *_COLUMNS, *_BELIEVED])
    frames = frames[frames["camera"] == request.camera]
    if frames.empty:
        raise InputError(f"camera={request.camera}: expected a camera of the run, found none of that number")
    parts = _counters(folder)
    known = {part["panel"].iloc[0] for part in parts}
    parts.append(_part("rate", "estimate", frames["captured_s"], frames["bandwidth_estimate_bps"]))
    if "queue" not in known:
        parts.append(_part("waiting", "waiting of frames", frames["captured_s"], frames["queue_s"]))
    done = frames[frames["outcome"] == "completed"]
    for path in sorted(done["path"].astype(str).unique()):
        own = done[done["path"].astype(str) == path]
        parts.append(_part("latency", path, own["captured_s"], own["latency_s"]))
    parts.append(_part("latency", "predicted", done["captured_s"], done["predicted_latency_s"]))
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _counters(folder: Path) -> list[pd.DataFrame]:
    path = folder / "timeline.json"
    if not path.is_file():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    events: list[dict[str, Any]] = content["traceEvents"] if isinstance(content, dict) else content
    found = []
    for name, (panel, quantity, scale) in _COUNTERS.items():
        own = [event for event in events if event.get("ph") == "C" and event["name"] == name]
        if own:
            times_s = pd.Series([1e-6 * float(event["ts"]) for event in own])
            values = pd.Series([scale * float(event["args"]["value"]) for event in own])
            found.append(_part(panel, quantity, times_s, values))
    return found


def _part(panel: str, quantity: str, times_s: Any, values: Any) -> pd.DataFrame:
    part = pd.DataFrame({"time_s": times_s.to_numpy("float64"), "value": values.to_numpy("float64")}).dropna()
    part.insert(0, "panel", panel)
    part.insert(1, "quantity", quantity)
    return part
