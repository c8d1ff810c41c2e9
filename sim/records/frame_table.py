"""The table of all frames: what each cost, where it went, what came of it.

When a frame ends, one row of numbers goes into the :class:`FrameTable`. Everything that can be derived from a
row is derived once, at the end, for all rows together.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.records.account import UNKNOWN, FrameAccount
from sim.records.outcome import PATHS, Outcome

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = ("completed", "replaced", "dropped", "in_flight")
_PATH_CODES = {path: code for code, path in enumerate(PATHS)}

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
    "decode_s",
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
# What an account holds beside the frame's number and beginning.
_BOOKED = (
    "uplink_bytes",
    "downlink_bytes",
    "extract_s",
    "encode_s",
    "decode_s",
    "queue_s",
    "transmit_s",
    "edge_compute_s",
    "cloud_compute_s",
    "bandwidth_estimate_bps",
    "uplink_enqueued_s",
    "uplink_delivered_s",
)
_WHOLE = (
    "blocks_active_edge",
    "blocks_active_cloud",
    "blocks_processed",
    "blocks_stale",
    "uplink_bytes",
    "downlink_bytes",
)


def _labels(codes: NDArray[np.float64], names: tuple[str, ...]) -> Any:
    """Positions in `names` as a pandas Categorical; -1 is unknown."""
    import pandas as pd

    return pd.Categorical.from_codes(codes.astype(np.int64).tolist(), categories=pd.Index(names))


@dataclass(frozen=True, slots=True)
class EffectiveAccuracyMetric:
    """How coverage becomes accuracy, and accuracy with latency becomes EA.

    accuracy = dense_accuracy · (1 − stale / blocks),  EA = accuracy · exp(−λ·latency), frame by frame.

    Args:
        dense_accuracy: accuracy of dense inference, in (0, 1].
        decay_per_s: λ.
        blocks_total: blocks of a frame.
    """

    dense_accuracy: float
    decay_per_s: float
    blocks_total: int

    def decay(self, latency_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """What latency leaves of accuracy: exp(−λ·latency), elementwise; NaN where there is no latency."""
        remaining: NDArray[np.float64] = np.exp(-self.decay_per_s * latency_s)
        return remaining


class FrameTable:
    """One row a frame, as numbers in one flat array: 200 bytes a frame, whatever the run's length."""

    def __init__(self) -> None:
        self._values = array("d")
        self._beside = array("d")  # camera, frame, bytes up and down of each message sent beside a frame
        self._book = self._values.extend

    def __len__(self) -> int:
        return len(self._values) // len(ROW)

    def complete(self, camera: int, account: FrameAccount, completed_s: float, outcome: Outcome) -> None:
        """Book a frame whose result is out."""
        path, active, processed, stale, active_edge, active_cloud, extrapolated, ea_regret, _, _ = outcome
        self._book(
            (
                camera,
                account.frame,
                account.captured_s,
                account.started_s,
                completed_s,
                0,
                _PATH_CODES[path],
                UNKNOWN if active is None else active,
                UNKNOWN if active_edge is None else active_edge,
                UNKNOWN if active_cloud is None else active_cloud,
                processed,
                stale,
                account.uplink_bytes,
                account.downlink_bytes,
                account.extract_s,
                account.encode_s,
                account.decode_s,
                account.queue_s,
                account.transmit_s,
                account.edge_compute_s,
                account.cloud_compute_s,
                account.bandwidth_estimate_bps,
                extrapolated,
                account.uplink_enqueued_s,
                account.uplink_delivered_s,
                UNKNOWN if ea_regret is None else ea_regret,
            )
        )

    def supersede(self, camera: int, account: FrameAccount, completed_s: float) -> None:
        """Book a frame whose result came after a newer one's and is not shown: "replaced"."""
        row = [UNKNOWN] * len(ROW)
        row[0:6] = [camera, account.frame, account.captured_s, account.started_s, completed_s, 1]
        for name in _BOOKED:
            row[ROW.index(name)] = getattr(account, name)
        self._values.extend(row)

    def abandon(self, camera: int, account: FrameAccount, outcome: str) -> None:
        """Book a frame that was begun and gave no result: "dropped" (unreachable) or "in_flight"."""
        row = [UNKNOWN] * len(ROW)
        row[0:4] = [camera, account.frame, account.captured_s, account.started_s]
        row[ROW.index("outcome")] = OUTCOMES.index(outcome)
        row[ROW.index("uplink_bytes")] = account.uplink_bytes
        row[ROW.index("downlink_bytes")] = account.downlink_bytes
        row[ROW.index("uplink_enqueued_s")] = account.uplink_enqueued_s
        row[ROW.index("uplink_delivered_s")] = account.uplink_delivered_s
        row[ROW.index("bandwidth_estimate_bps")] = account.bandwidth_estimate_bps
        self._values.extend(row)

    def skip(self, camera: int, frame: int, captured_s: float, outcome: str) -> None:
        """Book a frame that was never begun: "replaced", "dropped", or still waiting: "in_flight"."""
        row = [UNKNOWN] * len(ROW)
        row[0:3] = [camera, frame, captured_s]
        row[ROW.index("outcome")] = OUTCOMES.index(outcome)
        row[ROW.index("uplink_bytes")] = row[ROW.index("downlink_bytes")] = 0
        self._values.extend(row)

    def add_bytes(self, camera: int, frame: int, uplink_bytes: int, downlink_bytes: int) -> None:
        """Book a message that was sent beside a frame, before or after the frame's row."""
        self._beside.extend((camera, frame, uplink_bytes, downlink_bytes))

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """The raw rows as columns, in order of camera and frame."""
        rows = np.frombuffer(self._values, dtype=np.float64).reshape(-1, len(ROW))
        order = np.lexsort((rows[:, 1], rows[:, 0]))
        columns = {name: rows[order, place] for place, name in enumerate(ROW)}
        if self._beside:
            place = {key: at for at, key in enumerate(zip(columns["camera"], columns["frame"], strict=True))}
            beside = np.array(self._beside).reshape(-1, 4)
            at = [place[camera, frame] for camera, frame in beside[:, :2].tolist()]
            np.add.at(columns["uplink_bytes"], at, beside[:, 2])
            np.add.at(columns["downlink_bytes"], at, beside[:, 3])
        return columns

    def to_frame(
        self,
        metric: EffectiveAccuracyMetric,
        with_regret: bool = False,
        extra: Mapping[str, NDArray[np.float64]] | None = None,
        measured: NDArray[np.float64] | None = None,
    ) -> pd.DataFrame:
        """The table of frames.parquet, one row a frame; unknown values are null, never 0.

        Args:
            metric: makes accuracy and EA of stale blocks and latency.
            with_regret: whether `ea_regret` is a column.
            extra: further columns, (frames,) each, in the order of :meth:`columns`: what was measured.
            measured: (frames,), what `accuracy` is where it was measured; coverage then is a column of its
                own, `coverage_accuracy`.
        """
        import pandas as pd

        raw = self.columns()
        completed = raw["outcome"] == 0
        latency_s = raw["completed_s"] - raw["captured_s"]
        coverage = metric.dense_accuracy * (1.0 - raw["blocks_stale"] / metric.blocks_total)
        accuracy = coverage if measured is None else measured
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
                "reuse_ratio": 1.0 - raw["blocks_active"] / metric.blocks_total,
                **{name: pd.Series(raw[name]).astype("Int64") for name in _WHOLE[4:]},
                **{
                    name: raw[name]
                    for name in (
                        "extract_s",
                        "encode_s",
                        "decode_s",
                        "decode_s",
                        "queue_s",
                        "transmit_s",
                        "edge_compute_s",
                        "cloud_compute_s",
                    )
                },
                "latency_s": latency_s,
                "accuracy": accuracy,
                "ea": accuracy * metric.decay(latency_s),
                "bandwidth_estimate_bps": raw["bandwidth_estimate_bps"],
                "extrapolated": pd.Series(raw["extrapolated"]).astype("boolean"),
                "uplink_enqueued_s": raw["uplink_enqueued_s"],
                "uplink_delivered_s": raw["uplink_delivered_s"],
            }
        )
        if with_regret:
            table["ea_regret"] = raw["ea_regret"]
        if measured is not None:
            table["coverage_accuracy"] = coverage
        for name, values in (extra or {}).items():
            table[name] = values
        return table
