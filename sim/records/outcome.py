"""What a system says about a frame that it has finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

PATHS = ("edge", "cloud", "split", "reused")
OFFLOADED = ("cloud", "split")  # paths that wait for the server
PATH_CODES = {path: code for code, path in enumerate(PATHS)}

RestsOn: TypeAlias = NDArray[np.uint8] | Callable[[], NDArray[np.uint8]]


class Outcome(NamedTuple):
    """What a system says about a finished frame.

    Args:
        path: where the critical path ran: "edge", "cloud", "split" (both), "reused" (an earlier result).
        active: active blocks on the path that was taken; None where the system knows no blocks.
        processed: active blocks that were processed on the critical path.
        stale: blocks whose part of the result is older than the frame though they changed; what a system
            says of itself counts only where it names nothing that can be looked at in `rests_on`.
        active_edge, active_cloud: active blocks against either state; None where there is no such state.
        extrapolated: whether a latency was asked for outside its profile's range.
        ea_regret: effective accuracy lost against the oracle's decision; None where nobody asked.
        result: what the client is shown, from the system's network; None where none runs.
        rests_on: the image that the result rests on, (H, W, 3) uint8, in the frame's coordinates, or what
            makes it when asked, at once: the frame as it was decoded, an earlier one that lent its result, a
            reference moved along the vectors. Stale blocks are counted in it, by one ruler for all systems
            (:mod:`sim.accuracy.coverage`). None: the frame itself, or a video without pixels.
        computed: blocks given to inference on the critical path, edge and cloud together: the active ones
            that were processed, those computed with them, all where it is dense; None: not known.
        sent: blocks whose pixels crossed the uplink before the result; None where something else did.
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
    rests_on: RestsOn | None = None
    computed: int | None = None
    sent: int | None = None
