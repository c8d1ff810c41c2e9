"""The account of every frame: what it cost, where it went, what came of it.

While a frame is under way the world books time and bytes on its :class:`Ledger`; when it ends, one row of
numbers goes into the :class:`FrameTable`. Everything that can be derived from a row is derived once, at the
end, for all rows together.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from sim.accuracy.evaluator import Judge

OUTCOMES = ("completed", "replaced", "dropped", "in_flight")
PATHS = ("edge", "cloud", "split", "reused")
_PATH_CODES = {path: code for code, path in enumerate(PATHS)}
UNKNOWN = math.nan


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


# The order of a row in the table; strings are stored as positions in OUTCOMES and PATHS.
ROW = (
    "camera",
    "frame",
    "captured_s",
    "started_s",
    "completed_s",
    "outcome",
    "path",
    "blocks_active",
    "blocks_active_edge",
    "blocks_active_cloud",
    "blocks_processed",
    "blocks_stale",
    "uplink_bytes",
    "downlink_bytes",
    "extract_s",
    "encode_s",
    "queue_s",
    "transmit_s",
    "edge_compute_s",
    "cloud_compute_s",
    "bandwidth_estimate_bps",
    "extrapolated",
    "uplink_enqueued_s",
    "uplink_delivered_s",
    "ea_regret",
)
_WHOLE = (
    "blocks_active_edge",
    "blocks_active_cloud",
    "blocks_processed",
    "blocks_stale",
    "uplink_bytes",
    "downlink_bytes",
)


class Ledger:
    """Time and bytes of the frame under way, by where they went. One a camera, cleared for each frame.

    For a frame whose steps follow one another, latency = extract + encode + queue + transmit + edge
    compute + cloud compute; `queue_s` counts every wait: for the camera, for a processor, for the link.
    """

    __slots__ = (
        "bandwidth_estimate_bps",
        "captured_s",
        "cloud_compute_s",
        "downlink_bytes",
        "edge_compute_s",
        "encode_s",
        "extract_s",
        "frame",
        "queue_s",
        "started_s",
        "transmit_s",
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
        self.extract_s = self.encode_s = self.transmit_s = 0.0
        self.edge_compute_s = self.cloud_compute_s = 0.0
        self.uplink_bytes = self.downlink_bytes = 0
        self.uplink_enqueued_s = self.uplink_delivered_s = UNKNOWN
        self.bandwidth_estimate_bps = UNKNOWN


def _labels(codes: NDArray[np.float64], names: tuple[str, ...]) -> Any:
    """Positions in `names` as a pandas Categorical; -1 is unknown."""
    import pandas as pd

    return pd.Categorical.from_codes(codes.astype(np.int64).tolist(), categories=pd.Index(names))


@dataclass(frozen=True, slots=True)
class Valuation:
    """How coverage becomes accuracy, and accuracy with latency becomes EA.

    accuracy = dense_accuracy · (1 − stale / blocks),  EA = accuracy · exp(−λ·latency), frame by frame.
    """

    dense_accuracy: float
    decay_per_s: float
    blocks_total: int


class FrameTable:
    """One row a frame, as numbers in one flat array: 200 bytes a frame, whatever the run's length."""

    def __init__(self) -> None:
        self._values = array("d")
        self._book = self._values.extend

    def __len__(self) -> int:
        return len(self._values) // len(ROW)

    def complete(self, camera: int, ledger: Ledger, completed_s: float, outcome: Outcome) -> None:
        """Book a frame whose result is out."""
        path, active, processed, stale, active_edge, active_cloud, extrapolated, ea_regret, _ = outcome
        self._book(
            (
                camera,
                ledger.frame,
                ledger.captured_s,
                ledger.started_s,
                completed_s,
                0,
                _PATH_CODES[path],
                UNKNOWN if active is None else active,
                UNKNOWN if active_edge is None else active_edge,
                UNKNOWN if active_cloud is None else active_cloud,
                processed,
                stale,
                ledger.uplink_bytes,
                ledger.downlink_bytes,
                ledger.extract_s,
                ledger.encode_s,
                ledger.queue_s,
                ledger.transmit_s,
                ledger.edge_compute_s,
                ledger.cloud_compute_s,
                ledger.bandwidth_estimate_bps,
                extrapolated,
                ledger.uplink_enqueued_s,
                ledger.uplink_delivered_s,
                UNKNOWN if ea_regret is None else ea_regret,
            )
        )

    def abandon(self, camera: int, ledger: Ledger, outcome: str) -> None:
        """Book a frame that was begun and gave no result: "dropped" (unreachable) or "in_flight"."""
        row = [UNKNOWN] * len(ROW)
        row[0:4] = [camera, ledger.frame, ledger.captured_s, ledger.started_s]
        row[ROW.index("outcome")] = OUTCOMES.index(outcome)
        row[ROW.index("uplink_bytes")] = ledger.uplink_bytes
        row[ROW.index("downlink_bytes")] = ledger.downlink_bytes
        row[ROW.index("uplink_enqueued_s")] = ledger.uplink_enqueued_s
        row[ROW.index("uplink_delivered_s")] = ledger.uplink_delivered_s
        row[ROW.index("bandwidth_estimate_bps")] = ledger.bandwidth_estimate_bps
        self._values.extend(row)

    def lose(self, camera: int, frame: int, captured_s: float, outcome: str) -> None:
        """Book a frame that was never begun: "replaced", "dropped", or still waiting: "in_flight"."""
        row = [UNKNOWN] * len(ROW)
        row[0:3] = [camera, frame, captured_s]
        row[ROW.index("outcome")] = OUTCOMES.index(outcome)
        row[ROW.index("uplink_bytes")] = row[ROW.index("downlink_bytes")] = 0
        self._values.extend(row)

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """The raw rows as columns, in order of camera and frame."""
        rows = np.frombuffer(self._values, dtype=np.float64).reshape(-1, len(ROW))
        order = np.lexsort((rows[:, 1], rows[:, 0]))
        return {name: rows[order, place] for place, name in enumerate(ROW)}

    def to_frame(
        self, valuation: Valuation, with_regret: bool = False, judge: Judge | None = None
    ) -> pd.DataFrame:
        """The table of frames.parquet, one row a frame; unknown values are null, never 0.

        A judge adds what it has measured.
        """
        import pandas as pd

        raw = self.columns()
        completed = raw["outcome"] == 0
        latency_s = raw["completed_s"] - raw["captured_s"]
        accuracy = valuation.dense_accuracy * (1.0 - raw["blocks_stale"] / valuation.blocks_total)
        table = pd.DataFrame(
            {
                "camera": raw["camera"].astype(np.int32),
                "frame": raw["frame"].astype(np.int64),
                "captured_s": raw["captured_s"],
                "started_s": raw["started_s"],
                "completed_s": raw["completed_s"],
                "outcome": _labels(raw["outcome"], OUTCOMES),
                "path": _labels(np.where(completed, raw["path"], -1), PATHS),
                **{name: pd.Series(raw[name]).astype("Int64") for name in _WHOLE[:4]},
                "reuse_ratio": 1.0 - raw["blocks_active"] / valuation.blocks_total,
                **{name: pd.Series(raw[name]).astype("Int64") for name in _WHOLE[4:]},
                **{
                    name: raw[name]
                    for name in (
                        "extract_s",
                        "encode_s",
                        "queue_s",
                        "transmit_s",
                        "edge_compute_s",
                        "cloud_compute_s",
                    )
                },
                "latency_s": latency_s,
                "accuracy": accuracy,
                "ea": accuracy * np.exp(-valuation.decay_per_s * latency_s),
                "bandwidth_estimate_bps": raw["bandwidth_estimate_bps"],
                "extrapolated": pd.Series(raw["extrapolated"]).astype("boolean"),
                "uplink_enqueued_s": raw["uplink_enqueued_s"],
                "uplink_delivered_s": raw["uplink_delivered_s"],
            }
        )
        if with_regret:
            table["ea_regret"] = raw["ea_regret"]
        if judge is not None:
            worth = np.exp(-valuation.decay_per_s * latency_s)
            for name, values in judge.columns(raw, valuation.dense_accuracy, worth).items():
                table[name] = values
        return table
