"""What the world gives a simulation: bandwidth traces and video sequences, and their file formats.

Names are imported when first used, so that `import traces` costs nothing and a run that replays a link
does not load a video decoder.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from conf.search_path import keep_numba_cache

if TYPE_CHECKING:
    from traces.bandwidth.loading import load_trace
    from traces.bandwidth.synthetic import synthetic_uplink
    from traces.bandwidth.trace import BandwidthTrace, OpportunityTrace, RateTrace
    from traces.bandwidth.trace_format import TraceFormat
    from traces.errors import InputError
    from traces.video.loading import load_video

keep_numba_cache()

_HOME = {
    "BandwidthTrace": "traces.bandwidth.trace",
    "InputError": "traces.errors",
    "OpportunityTrace": "traces.bandwidth.trace",
    "RateTrace": "traces.bandwidth.trace",
    "TraceFormat": "traces.bandwidth.trace_format",
    "load_trace": "traces.bandwidth.loading",
    "load_video": "traces.video.loading",
    "synthetic_uplink": "traces.bandwidth.synthetic",
}

__all__ = [
    "BandwidthTrace",
    "InputError",
    "OpportunityTrace",
    "RateTrace",
    "TraceFormat",
    "load_trace",
    "load_video",
    "synthetic_uplink",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'traces' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
