"""What a system says about a frame that it has finished."""

from __future__ import annotations

from typing import Any, NamedTuple

PATHS = ("edge", "cloud", "split", "reused")


class Outcome(NamedTuple):
    """What a system says about a finished frame.

    Args:
        path: where the critical path ran: "edge", "cloud", "split" (both), "reused" (an earlier result).
        active: active blocks on the path that was taken; None where the system knows no blocks.
        processed: active blocks that were processed on the critical path.
        stale: blocks whose part of the result is older than the frame though they changed.
        active_edge, active_cloud: active blocks against either state; None where there is no such state.
        extrapolated: whether a latency was asked for outside its profile's range.
        ea_regret: effective accuracy lost against the oracle's decision; None where nobody asked.
        result: what the client is shown, from the system's network; None where none runs.
    """

    path: str
    active: int | None
    processed: int
    stale: int
    active_edge: int | None = None
    active_cloud: int | None = None
    extrapolated: bool = False
    ea_regret: float | None = None
    result: Any = None
