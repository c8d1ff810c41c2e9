"""The account of a frame under way: where its time and bytes went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNKNOWN = math.nan


@dataclass(slots=True, eq=False)
class ShownBlocks:
    """Which blocks of a frame a system deals with, for who looks on (overlay, inspection); None: not known.

    Args:
        active: flat indices of the active blocks on the path that is taken, the processed ones first.
        vectors: (rows, columns, 2) motion vectors that features are moved along.
        sent: flat indices of the blocks whose pixels cross the uplink before the result.
        computed: flat indices of the blocks that inference is given; with a margin around them.
        margin_px: that margin.
    """

    active: Sequence[int] | NDArray[Any] | None = None
    vectors: NDArray[np.int16] | None = None
    sent: Sequence[int] | NDArray[Any] | None = None
    computed: Sequence[int] | NDArray[Any] | None = None
    margin_px: int = 0


class FrameAccount:
    """Time and bytes of one frame, by where they went; opened again for the next frame of its view.

    For a frame whose steps follow one another, latency = extract + encode + decode + queue + transmit
    + edge compute + cloud compute; `queue_s` counts every wait: for the camera, for a processor, for the
    link. `belief` is what was expected when a path was chosen, in the order of `frame_table.BELIEF`; None:
    nobody said. The times of messages are those of the last one of each direction, at the link. `shown` is
    which blocks the system deals with, where it says so.
    """

    __slots__ = (
        "bandwidth_estimate_bps",
        "belief",
        "captured_s",
        "cloud_compute_s",
        "decode_s",
        "downlink_began_s",
        "downlink_bytes",
        "downlink_delivered_s",
        "edge_compute_s",
        "encode_s",
        "extract_s",
        "frame",
        "queue_s",
        "shown",
        "started_s",
        "transmit_s",
        "uplink_began_s",
        "uplink_bytes",
        "uplink_delivered_s",
        "uplink_enqueued_s",
    )

    def __init__(self) -> None:
        self.open(0, 0.0, 0.0)

    def open(self, frame: int, captured_s: float, started_s: float) -> None:
        """Begin a frame's account."""
        self.frame = frame
        self.captured_s = captured_s
        self.started_s = started_s
        self.queue_s = started_s - captured_s
        self.extract_s = self.encode_s = self.decode_s = self.transmit_s = 0.0
        self.edge_compute_s = self.cloud_compute_s = 0.0
        self.uplink_bytes = self.downlink_bytes = 0
        self.uplink_enqueued_s = self.uplink_began_s = self.uplink_delivered_s = UNKNOWN
        self.downlink_began_s = self.downlink_delivered_s = UNKNOWN
        self.bandwidth_estimate_bps = UNKNOWN
        self.belief: Sequence[float] | None = None
        self.shown: ShownBlocks | None = None
