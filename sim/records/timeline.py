"""A run's timeline in Chrome's trace format: what each device and link did when. Opens in Perfetto."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

TRACKS = (
    "edge",
    "edge background",
    "uplink",
    "uplink opportunistic",
    "cloud",
    "cloud background",
    "downlink",
)


@dataclass(slots=True, eq=False)
class Timeline:
    """Spans of work: (camera, frame, track, what, began, ended).

    A background span lasts from a refresh's first operator to its last, an opportunistic one from the
    message's queueing to its last byte: critical work in between holds them up.
    """

    spans: list[tuple[int, int, str, str, float, float]] = field(default_factory=list)

    def recorder(self, camera: int) -> Callable[[int, str, str, float, float], None]:
        """What a camera's world calls for each span: frame, track, what, began, ended."""
        spans = self.spans
        return lambda *span: spans.append((camera, *span))

    def write(self, path: Path) -> None:
        """Write the trace; times are microseconds, as the format wants them."""
        events: list[dict[str, object]] = []
        for camera in sorted({span[0] for span in self.spans}):
            events.append(
                {"ph": "M", "name": "process_name", "pid": camera, "args": {"name": f"camera {camera}"}}
            )
            for place, name in enumerate(TRACKS):
                events.append(
                    {
                        "ph": "M",
                        "name": "thread_name",
                        "pid": camera,
                        "tid": place,
                        "args": {"name": name},
                    }
                )
        for camera, frame, track, what, began_s, ended_s in self.spans:
            events.append(
                {
                    "ph": "X",
                    "name": what,
                    "pid": camera,
                    "tid": TRACKS.index(track),
                    "ts": round(began_s * 1e6, 3),
                    "dur": round((ended_s - began_s) * 1e6, 3),
                    "args": {"frame": frame},
                }
            )
        path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")
