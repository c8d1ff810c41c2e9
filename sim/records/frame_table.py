"""The table of all frames: what each cost, where it went, what came of it.

When a frame ends, one row of numbers goes into the :class:`FrameTable`. Everything that can be derived from a
row is derived once, at the end, for all rows together.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.records.account import UNKNOWN, FrameAccount
from sim.records.frame_notes import FrameNotes
from sim.records.outcome import PATH_CODES, PATHS, Outcome

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = ("completed", "replaced", "dropped", "in_flight")

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
    "blocks_computed",
    "blocks_sent",
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
    "uplink_began_s",
    "uplink_delivered_s",
    "downlink_began_s",
    "downlink_delivered_s",
    "ea_regret",
)
_packed = Struct(f"{len(ROW)}d").pack  # three times as fast as array.extend
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
    "uplink_began_s",
    "uplink_delivered_s",
    "downlink_began_s",
    "downlink_delivered_s",
)
# Of those, what is known of a frame that has no result.
_CARRIED = ("uplink_bytes", "downlink_bytes", *_BOOKED[-6:])
# What was believed of a frame when its path was chosen, as `FrameWorld.decided` leaves it on the account.
BELIEF = (
    "decided_path",
    "decided_active_blocks",
    "decided_blocks",
    "predicted_latency_s",
    "predicted_ea",
    "predicted_other_latency_s",
    "predicted_other_ea",
)
_BLOCKS = (
    "blocks_active_edge",
    "blocks_active_cloud",
    "blocks_processed",
    "blocks_stale",
    "blocks_computed",
    "blocks_sent",
)
_BYTES = ("uplink_bytes", "uplink_opportunistic_bytes", "downlink_bytes")


def _labels(codes: NDArray[np.float64], names: tuple[str, ...]) -> Any:
    """Positions in `names` as a pandas Categorical; -1 is unknown."""
    import pandas as pd

    return pd.Categorical.from_codes(codes.astype(np.int64).tolist(), categories=pd.Index(names))


def _whole(values: NDArray[np.float64]) -> Any:
    """Floats as whole numbers, in a pandas array that can hold unknown ones: NaN becomes null."""
    import pandas as pd

    unknown = np.isnan(values)
    return pd.arrays.IntegerArray(np.where(unknown, 0.0, values).astype(np.int64), unknown)


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
    """One row a frame, as numbers in one flat array: 248 bytes a frame, whatever the run's length."""

    def __init__(self) -> None:
        self._values = array("d")
        self._beside = FrameNotes(2)  # bytes up and down of each message sent beside a frame
        self._opportunistic: dict[int, array[float]] = {}  # by camera: begin, end, bytes, frame of each piece
        self._counted: dict[int, int] | None = None  # numbers of each that count; None: all
        self._beliefs = FrameNotes(len(BELIEF))

    def __len__(self) -> int:
        return len(self._values) // len(ROW)

    def complete(self, camera: int, account: FrameAccount, completed_s: float, outcome: Outcome) -> None:
        """Book a frame whose result is out."""
        path, active, processed, stale, edge, cloud, extrapolated, ea_regret, _, _, computed, sent = outcome
        if account.belief is not None:
            self._beliefs.add(camera, account.frame, *account.belief)
        self._values.frombytes(
            _packed(
                camera,
                account.frame,
                account.captured_s,
                account.started_s,
                completed_s,
                0,
                PATH_CODES[path],
                UNKNOWN if active is None else active,
                UNKNOWN if edge is None else edge,
                UNKNOWN if cloud is None else cloud,
                processed,
                stale,
                UNKNOWN if computed is None else computed,
                UNKNOWN if sent is None else sent,
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
                account.uplink_began_s,
                account.uplink_delivered_s,
                account.downlink_began_s,
                account.downlink_delivered_s,
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
        self._note_belief(camera, account)

    def abandon(self, camera: int, account: FrameAccount, outcome: str) -> None:
        """Book a frame that was begun and gave no result: "dropped" (unreachable) or "in_flight"."""
        row = [UNKNOWN] * len(ROW)
        row[0:4] = [camera, account.frame, account.captured_s, account.started_s]
        row[ROW.index("outcome")] = OUTCOMES.index(outcome)
        for name in _CARRIED:
            row[ROW.index(name)] = getattr(account, name)
        self._values.extend(row)
        self._note_belief(camera, account)

    def _note_belief(self, camera: int, account: FrameAccount) -> None:
        if account.belief is not None:
            self._beliefs.add(camera, account.frame, *account.belief)

    def skip(self, camera: int, frame: int, captured_s: float, outcome: str) -> None:
        """Book a frame that was never begun: "replaced", "dropped", or still waiting: "in_flight"."""
        row = [UNKNOWN] * len(ROW)
        row[0:3] = [camera, frame, captured_s]
        row[ROW.index("outcome")] = OUTCOMES.index(outcome)
        row[ROW.index("uplink_bytes")] = row[ROW.index("downlink_bytes")] = 0
        self._values.extend(row)

    def add_bytes(self, camera: int, frame: int, uplink_bytes: int, downlink_bytes: int) -> None:
        """Book a message that was sent beside a frame, before or after the frame's row."""
        self._beside.add(camera, frame, uplink_bytes, downlink_bytes)

    def add_opportunistic(self, camera: int, pieces: array[float]) -> None:
        """Where begin, end, bytes and frame are written of all that leaves of messages that give way."""
        self._opportunistic[camera] = pieces

    def seal(self) -> None:
        """The run is over: opportunistic bytes that leave from now on are in no row."""
        self._counted = {camera: len(pieces) for camera, pieces in self._opportunistic.items()}

    def release(self) -> None:
        """Let go of all rows, once they are in a data frame: a long run's are large."""
        self._values = array("d")
        self._beside, self._beliefs = FrameNotes(2), FrameNotes(len(BELIEF))
        self._opportunistic = {}

    def messages(self, direction: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The last message of each frame that sent any: its camera, (messages,), and begin, end, bytes.

        The bytes are those of all the frame's messages of that direction, without what was sent beside it.

        Args:
            direction: "uplink" or "downlink".
        """
        rows = np.frombuffer(self._values, dtype=np.float64).reshape(-1, len(ROW))
        names = ("camera", f"{direction}_began_s", f"{direction}_delivered_s", f"{direction}_bytes")
        found = rows[:, [ROW.index(name) for name in names]]
        found = found[~np.isnan(found[:, 1])]
        return found[:, 0], found[:, 1:]

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """The raw rows as columns, in order of camera and frame."""
        rows = np.frombuffer(self._values, dtype=np.float64).reshape(-1, len(ROW))
        order = np.lexsort((rows[:, 1], rows[:, 0]))
        columns = {name: rows[order, place] for place, name in enumerate(ROW)}
        captured = columns["camera"], columns["frame"]
        at, beside = self._beside.placed(*captured)
        np.add.at(columns["uplink_bytes"], at, beside[:, 0])
        np.add.at(columns["downlink_bytes"], at, beside[:, 1])
        at, opportunistic = self._opportunistic_notes().placed(*captured)
        columns["uplink_opportunistic_bytes"] = np.bincount(at, opportunistic[:, 0], minlength=len(rows))
        at, beliefs = self._beliefs.placed(*captured)
        for place, name in enumerate(BELIEF):
            columns[name] = np.full(len(rows), UNKNOWN)
            columns[name][at] = beliefs[:, place]
        return columns

    def _opportunistic_notes(self) -> FrameNotes:
        """Bytes by camera and frame."""
        notes = FrameNotes(1)
        for camera, numbers in self._opportunistic.items():
            pieces = np.array(numbers[: self._counted[camera] if self._counted else None]).reshape(-1, 4)
            of_frames = np.bincount(pieces[:, 3].astype(np.int64), pieces[:, 2])
            for frame in np.flatnonzero(of_frames).tolist():
                notes.add(camera, frame, of_frames[frame])
        return notes

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
                **{name: _whole(raw.pop(name)) for name in _BLOCKS},
                "reuse_ratio": 1.0 - raw["blocks_active"] / metric.blocks_total,
                **{name: _whole(raw.pop(name)) for name in _BYTES},
                **{
                    name: raw[name]
                    for name in (
                        "extract_s",
                        "encode_s",
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
                "decided_path": _labels(np.nan_to_num(raw["decided_path"], nan=-1.0), PATHS),
                **{name: _whole(raw.pop(name)) for name in BELIEF[1:3]},
                # What is believed never to come has no latency, and an EA of 0.
                **{name: np.where(np.isinf(raw[name]), UNKNOWN, raw[name]) for name in BELIEF[3:]},
                "extrapolated": pd.Series(raw["extrapolated"]).astype("boolean"),
                "uplink_enqueued_s": raw["uplink_enqueued_s"],
                "uplink_delivered_s": raw["uplink_delivered_s"],
            },
            copy=False,  # the columns are nobody else's; one copy less of the largest table there is
        )
        if with_regret:
            table["ea_regret"] = raw["ea_regret"]
        if measured is not None:
            table["coverage_accuracy"] = coverage
        for name, values in (extra or {}).items():
            table[name] = values
        return table
