"""A run's timeline in Chrome's trace format: what each device and link did when. Opens in Perfetto."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

TRACKS = ("edge", "uplink", "cloud", "downlink")


@dataclass(slots=True, eq=False)
class Timeline:
    """Spans of work as they are booked: (camera, what, began, ended)."""

    spans: list[tuple[int, str, float, float]] = field(default_factory=list)

    def recorder(self, camera: int) -> Callable[[str, float, float], None]:
        """What a camera's world calls for each span."""
        spans = self.spans
        return lambda what, began_s, ended_s: spans.append((camera, what, began_s, ended_s))

    def write(self, path: Path) -> None:
        """Write the trace; times are microseconds, as the format wants them."""
        events: list[dict[str, object]] = []
        for camera in sorted({span[0] for span in self.spans}):
            events.append(
                {"ph": "M", "name": "process_name", "pid": camera, "args": {"name": f"camera {camera}"}}
            )
            for track, name in enumerate(TRACKS):
                events.append(
                    {
                        "ph": "M",
                        "name": "thread_name",
                        "pid": camera,
                        "tid": track,
                        "args": {"name": name},
                    }
                )
        for camera, what, began_s, ended_s in self.spans:
            events.append(
                {
                    "ph": "X",
                    "name": what,
                    "pid": camera,
                    "tid": TRACKS.index(what.split()[0]),
                    "ts": round(began_s * 1e6, 3),
                    "dur": round((ended_s - began_s) * 1e6, 3),
                }
            )
        path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")
