"""Where SPINN cuts and how sure an exit must be: the pair that is expected to be best, before each frame.

What is expected of a pair follows from the tables of exits (which exit a frame of the profiled scenes would
have left by, and how well that agrees with the final output) and from times: the profiles', the uplink's
estimate, and by how much what was measured on earlier frames exceeded them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from kernels.models.exit_tables import ExitTables
from profiler.latency import Cut

LEARNT = 0.2  # weight of the newest frame in running means
FORGOTTEN = 0.02  # of what a remote path took beyond expectation, with each frame that takes none
QUANTILES = np.linspace(0.1, 0.9, 9)  # of profiled confidences: the thresholds that are tried, with 1


class Choice(NamedTuple):
    """A cut, a threshold, and what is expected of them: seconds from the start, and agreement."""

    after: str
    threshold: float
    latency_s: float
    accuracy: float


class Rates(NamedTuple):
    """What is believed as a frame starts.

    Args:
        edge_s, cloud_s: dense latencies.
        wait_s: until the edge is free.
        uplink_bps: the estimate.
        around_s: propagation both ways.
        encode_s, decode_s: by cut, of a message of the expected size.
    """

    edge_s: float
    cloud_s: float
    wait_s: float
    uplink_bps: float
    around_s: float
    encode_s: Mapping[str, float]
    decode_s: Mapping[str, float]


@dataclass(slots=True, eq=False)
class Planner:
    """Chooses pairs, and learns from frames.

    Hard: an expected accuracy of at least `accuracy_floor`. Among the pairs that keep it the fastest, of
    equals the most accurate. Where none keeps it, the most accurate.

    Args:
        cuts: of the network, all of them.
        edge_shares, cloud_shares: of dense latency up to each cut.
        heads: exits, and their heads' share on top.
        tables: what is known beforehand.
        candidates: cuts that may be chosen.
        thresholds: that may be chosen; None: quantiles of the profiled confidences, and 1.
        bits: of a feature value.
        accuracy_floor: see above.
        frame_bytes: expected of a whole frame, sent where the cut is at the input.
    """

    cuts: Sequence[Cut]
    edge_shares: Mapping[str, float]
    cloud_shares: Mapping[str, float]
    heads: Mapping[str, float]
    tables: ExitTables
    candidates: Sequence[str]
    thresholds: Sequence[float] | None
    bits: int
    accuracy_floor: float
    frame_bytes: float
    size_bytes: dict[str, float] = field(init=False)
    edge_ratio: float = 1.0  # of the time that the edge took over what its profile says
    beyond_s: float = 0.0  # that remote paths took beyond expectation
    _places: dict[str, int] = field(init=False)
    _left: list[tuple[float, list[float], list[float]]] = field(init=False)

    def __post_init__(self) -> None:
        names = [cut.after for cut in self.cuts]
        self._places = {name: place for place, name in enumerate(names)}
        self.size_bytes = {
            cut.after: cut.elements * self.tables.precision[cut.after][self.bits].bytes_per_value
            for cut in self.cuts[1:-1]
        }
        self.size_bytes[names[0]] = self.frame_bytes
        self.size_bytes[names[-1]] = 0.0
        thresholds = self.thresholds
        if thresholds is None:
            tried = np.unique(np.quantile(self.tables.confidence, QUANTILES).round(4))
            thresholds = [*tried.tolist(), 1.0]
        self._left = [(threshold, *self._leaving(threshold)) for threshold in thresholds]

    def _leaving(self, threshold: float) -> tuple[list[float], list[float]]:
        """The share of frames that leaves by each exit, the end last, and their mean agreement (0: none)."""
        sure = self.tables.confidence > threshold
        first = np.where(sure.any(axis=1), sure.argmax(axis=1), sure.shape[1])
        shares, agreed = [], []
        for exit_ in range(sure.shape[1]):
            here = first == exit_
            shares.append(float(here.mean()))
            agreed.append(float(self.tables.agreement[here, exit_].mean()) if here.any() else 0.0)
        shares.append(float((first == sure.shape[1]).mean()))
        return shares, agreed

    def choose(self, rates: Rates) -> Choice:
        """The pair for the next frame."""
        pairs = [self.expect(after, left, rates) for after in self.candidates for left in self._left]
        kept = [pair for pair in pairs if pair.accuracy >= self.accuracy_floor]
        if not kept:
            return max(pairs, key=lambda pair: (pair.accuracy, -pair.latency_s))
        return min(kept, key=lambda pair: (pair.latency_s, -pair.accuracy))

    def expect(self, after: str, left: tuple[float, list[float], list[float]], rates: Rates) -> Choice:
        """What to expect of a cut and a threshold."""
        threshold, shares, agreed = left
        place, last = self._places[after], len(self.cuts) - 1
        on_edge_s = self.edge_ratio * rates.edge_s
        remote = place < last
        edge_s = rates.wait_s if place else 0.0
        latency_s = accuracy = 0.0
        for number, (name, head) in enumerate(self.heads.items()):
            if self._places[name] > place:
                break
            edge_s += head * on_edge_s
            here_s = edge_s + self.edge_shares[name] * on_edge_s
            latency_s += shares[number] * here_s
            accuracy += shares[number] * agreed[number]
        sent_s = edge_s + self.edge_shares[after] * on_edge_s
        if remote:
            sent_s += rates.encode_s[after] + 8.0 * self.size_bytes[after] / rates.uplink_bps
            sent_s += rates.around_s + rates.decode_s[after] + self.beyond_s
        cloud_s = 0.0
        for number, (name, head) in enumerate(self.heads.items()):
            if self._places[name] <= place:
                continue
            cloud_s += head * rates.cloud_s
            here_s = sent_s + cloud_s + (self.cloud_shares[name] - self.cloud_shares[after]) * rates.cloud_s
            latency_s += shares[number] * here_s
            accuracy += shares[number] * agreed[number]
        end_s = sent_s + cloud_s + remote * (1.0 - self.cloud_shares[after]) * rates.cloud_s
        final = 1.0
        if after in self.tables.precision:
            final = self.tables.precision[after][self.bits].agreement
        return Choice(after, threshold, latency_s + shares[-1] * end_s, accuracy + shares[-1] * final)

    # -- learning -----------------------------------------------------------------------------------

    def sent(self, after: str, size_bytes: int) -> None:
        """A message was made."""
        self.size_bytes[after] += LEARNT * (size_bytes - self.size_bytes[after])

    def computed(self, took_s: float, profiled_s: float) -> None:
        """The edge has worked, waiting excluded."""
        if profiled_s > 0.0:
            self.edge_ratio += LEARNT * (took_s / profiled_s - self.edge_ratio)

    def answered(self, took_s: float, expected_s: float) -> None:
        """A remote path has ended, with an answer or without."""
        self.beyond_s += LEARNT * (took_s - (expected_s + self.beyond_s))

    def stayed(self) -> None:
        """A frame took no remote path: what is known of those grows old."""
        self.beyond_s *= 1.0 - FORGOTTEN
