"""A run's timeline in Chrome's trace format: what each device and link did when. Opens in Perfetto.

What the cameras share is one process in the viewer, with one track for the uplink, one for the server, one
for the downlink, and counters. Each camera is another: its frames from capture to result, those without a
result, and its edge device. Only where things really happen at once (several frames of a camera under way, a
link that is shared fairly) does a track have further lanes.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

SHARED = 1  # the process of what the cameras share; camera c is process c + 2
# Where each recorded track is shown; those in the background fill what the critical ones leave.
_SHOWN = {
    "edge": "edge",
    "edge background": "edge",
    "uplink": "uplink",
    "uplink opportunistic": "uplink",
    "cloud": "server",
    "cloud background": "server",
    "downlink": "downlink",
    "edge codec": "edge codec",
    "cloud codec": "server codecs",
}
_BACKGROUND = ("edge background", "uplink opportunistic", "cloud background")
_EPS_S = 1e-9


class Span(NamedTuple):
    """Something that lasts, on a track of a process."""

    process: int
    track: str
    name: str
    began_s: float
    ended_s: float
    args: dict[str, Any]


@dataclass(slots=True, eq=False)
class Timeline:
    """Spans of work: (camera, frame, track, what, began, ended).

    A background span lasts from a refresh's first operator to its last, an opportunistic one from the
    message's queueing to its last byte: critical work in between holds them up, and cuts them in the file.
    """

    spans: list[tuple[int, int, str, str, float, float]] = field(default_factory=list)

    def recorder(self, camera: int) -> Callable[[int, str, str, float, float], None]:
        """What a camera's world calls for each span: frame, track, what, began, ended."""
        spans = self.spans
        return lambda *span: spans.append((camera, *span))

    def write(self, path: Path, frames: pd.DataFrame, link_rates_bps: Sequence[tuple[float, float]]) -> None:
        """Write the trace; times are microseconds, as the format wants them.

        Args:
            path: the JSON file.
            frames: the table of all frames, as in frames.parquet.
            link_rates_bps: (time, rate) of the uplink.
        """
        cameras = sorted(frames["camera"].unique().tolist())
        events = _names(SHARED, "uplink and server", 0)
        for camera in cameras:
            events += _names(camera + 2, f"camera {camera}", camera + 1)
        rows = [{str(key): value for key, value in row.items()} for row in frames.to_dict("records")]
        spans = [*self._work(several=len(cameras) > 1), *_frames(rows)]
        events += _on_tracks(spans)
        events += _counter(SHARED, "link rate (Mbit/s)", [(time, bps / 1e6) for time, bps in link_rates_bps])
        sent = [row for row in rows if row["uplink_enqueued_s"] == row["uplink_enqueued_s"]]
        events += _level(
            SHARED,
            "uplink queue (kB)",
            (
                (row["uplink_enqueued_s"], row["uplink_delivered_s"], row["uplink_bytes"] / 1e3)
                for row in sent
            ),
        )
        for camera in cameras:
            own = [row for row in rows if row["camera"] == camera]
            begun = [row for row in own if row["started_s"] == row["started_s"]]
            waits = ((row["captured_s"], row["started_s"], 1) for row in begun)
            events += _level(camera + 2, "frames waiting", waits)
            busy = ((span.began_s, span.ended_s, 1) for span in _frames(own) if span.track == "frames")
            events += _level(camera + 2, "frames without result yet", busy)
        path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")

    def _work(self, several: bool) -> list[Span]:
        """What devices and links did, each on its one track."""
        critical: dict[tuple[int, str], list[Span]] = defaultdict(list)
        background: dict[tuple[int, str], list[Span]] = defaultdict(list)
        for camera, frame, track, what, began_s, ended_s in self.spans:
            shown = _SHOWN[track]
            process = camera + 2 if shown.startswith("edge") else SHARED
            name = f"{what}, frame {frame}" + (
                f" of camera {camera}" if several and process == SHARED else ""
            )
            kind = background if track in _BACKGROUND else critical
            args = {"camera": camera, "frame": frame, "track": track}
            kind[process, shown].append(Span(process, shown, name, began_s, ended_s, args))
        pieces = [span for spans in critical.values() for span in spans]
        for place, spans in background.items():
            pieces += _between(spans, critical[place])
        return pieces


def _between(background: Iterable[Span], critical: Iterable[Span]) -> list[Span]:
    """Background spans, one after the other, cut to what critical ones leave of the time."""
    busy = sorted((span.began_s, span.ended_s) for span in critical)
    starts = [began_s for began_s, _ in busy]
    pieces = []
    free_s = 0.0
    for span in sorted(background, key=lambda span: (span.began_s, span.ended_s)):
        at_s = max(span.began_s, free_s)
        free_s = max(free_s, span.ended_s)
        place = max(0, bisect_right(starts, at_s) - 1)
        while at_s < span.ended_s - _EPS_S:
            while place < len(busy) and busy[place][1] <= at_s:
                place += 1
            held = busy[place] if place < len(busy) else (span.ended_s, span.ended_s)
            until_s = min(held[0], span.ended_s)
            if until_s > at_s + _EPS_S:
                pieces.append(span._replace(began_s=at_s, ended_s=until_s))
            at_s = max(at_s, held[1]) if held[0] < span.ended_s else span.ended_s
    return pieces


def _frames(rows: Sequence[dict[str, Any]]) -> list[Span]:
    """Every frame: from capture to result; without one until the next frame, or the end, took its place."""
    captures: dict[int, list[float]] = defaultdict(list)
    last_s = 0.0
    for row in rows:
        captures[row["camera"]].append(row["captured_s"])
        known = (row[key] for key in ("captured_s", "completed_s", "uplink_delivered_s"))
        last_s = max([last_s, *(time_s for time_s in known if time_s == time_s)])
    for times_s in captures.values():
        times_s.sort()
    spans = []
    for row in rows:
        captured_s, outcome = row["captured_s"], row["outcome"]
        args = {key: row[key] for key in ("frame", "outcome", "path")}
        args["path"] = args["path"] if isinstance(args["path"], str) else None
        if outcome == "completed":
            args["latency_ms"] = round(1e3 * row["latency_s"], 3)
            name, track, ended_s = f"frame {row['frame']}: {row['path']}", "frames", row["completed_s"]
        else:
            name, track = f"frame {row['frame']}: {outcome}", "frames without a result"
            times_s = captures[row["camera"]]
            following = bisect_right(times_s, captured_s)
            ended_s = row["completed_s"]
            if ended_s != ended_s:
                waits = outcome == "in_flight" or following == len(times_s)
                ended_s = last_s if waits else times_s[following]
        spans.append(Span(row["camera"] + 2, track, name, captured_s, max(captured_s, ended_s), args))
    return spans


def _on_tracks(spans: Iterable[Span]) -> list[dict[str, Any]]:
    """Spans as events; where those of a track overlap it gets lanes, or a viewer would stack them wrongly."""
    lanes: dict[tuple[int, str], list[float]] = defaultdict(list)  # until when each is taken
    numbers: dict[tuple[int, str, int], int] = {}
    order = list(dict.fromkeys(["frames", "frames without a result", *_SHOWN.values()]))
    events: list[dict[str, Any]] = []
    for span in sorted(spans, key=lambda span: (span.began_s, span.ended_s)):
        taken = lanes[span.process, span.track]
        lane = next((i for i, until_s in enumerate(taken) if until_s <= span.began_s + _EPS_S), len(taken))
        taken[lane : lane + 1] = [span.ended_s]
        place = (span.process, span.track, lane)
        if place not in numbers:
            numbers[place] = number = 100 * order.index(span.track) + lane + 1
            label = span.track if lane == 0 else f"{span.track} ({lane + 1})"
            for name, args in (
                ("thread_name", {"name": label}),
                ("thread_sort_index", {"sort_index": number}),
            ):
                events.append({"ph": "M", "name": name, "pid": span.process, "tid": number, "args": args})
        events.append(
            {
                "ph": "X",
                "name": span.name,
                "pid": span.process,
                "tid": numbers[place],
                "ts": _us(span.began_s),
                "dur": round(_us(span.ended_s) - _us(span.began_s), 3),
                "args": span.args,
            }
        )
    return events


def _names(process: int, name: str, rank: int) -> list[dict[str, Any]]:
    return [
        {"ph": "M", "name": "process_name", "pid": process, "args": {"name": name}},
        {"ph": "M", "name": "process_sort_index", "pid": process, "args": {"sort_index": rank}},
    ]


def _level(process: int, name: str, stays: Iterable[tuple[float, float, float]]) -> list[dict[str, Any]]:
    """A counter of what is somewhere, from when each (from, until, amount) came and went; NaN: it stays."""
    changes: dict[float, float] = defaultdict(float)
    for from_s, until_s, amount in stays:
        changes[from_s] += amount
        if until_s == until_s:
            changes[until_s] -= amount
    level, points = 0.0, []
    for time_s in sorted(changes):
        level += changes[time_s]
        points.append((time_s, max(0.0, level)))
    return _counter(process, name, points)


def _counter(process: int, name: str, points: Iterable[tuple[float, float]]) -> list[dict[str, Any]]:
    return [
        {"ph": "C", "name": name, "pid": process, "ts": _us(time_s), "args": {"value": round(value, 6)}}
        for time_s, value in points
    ]


def _us(time_s: float) -> float:
    return round(time_s * 1e6, 3)
