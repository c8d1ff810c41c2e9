"""The ways that a camera's frames go through the stages, and how often each: learnt from their results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

Stop: TypeAlias = tuple[int, str]  # the how-manieth stage of a frame's way, and where it is
Places: TypeAlias = tuple[str, ...]  # of a frame's stops, in order
WINDOW = 32  # frames that anything is remembered of
WEIGHT = 1.0 / 8.0  # of the newest frame in running means (TCP's for round-trip times)
FORGOTTEN = 1.0 / 64.0  # share of frames below which a way is no longer expected


@dataclass(slots=True, eq=False)
class Way:
    """What one kind of frame does.

    Args:
        share: of results; all ways' together are 1.
        total_s: from entry to result, waiting excluded; a running mean.
        shortest_s, longest_s: the extremes of it, slowly forgotten.
    """

    share: float
    total_s: float
    shortest_s: float
    longest_s: float

    def learn(self, total_s: float) -> None:
        """Take in a result."""
        self.total_s += WEIGHT * (total_s - self.total_s)
        self.shortest_s = min(total_s, (1.0 + 1.0 / WINDOW) * self.shortest_s)
        self.longest_s = max(total_s, (1.0 - 1.0 / WINDOW) * self.longest_s)


@dataclass(slots=True, eq=False)
class Ways:
    """All that are expected."""

    _ways: dict[Places, Way] = field(default_factory=dict)
    _results: int = 0

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return len(self._ways) > 1

    def remember(self, places: Places, total_s: float) -> bool:
        """Count a result with the way that its frame has gone, and the time without waiting.

        Returns whether that has changed any share.
        """
        self._results += 1
        ways = self._ways
        way = ways.get(places)
        if way is None:
            way = ways[places] = Way(0.0, total_s, total_s, total_s)
        way.learn(total_s)
        if way.share == 1.0:
            return False
        weight = max(WEIGHT, 1.0 / self._results)
        for other in ways.values():
            other.share *= 1.0 - weight
        way.share += weight
        kept = {known: other for known, other in ways.items() if other.share >= FORGOTTEN}
        total = sum(other.share for other in kept.values())
        for other in kept.values():
            other.share /= total
        self._ways = kept
        return True

    def share(self, stop: Stop, after: Stop | None = None) -> float:
        """The share of frames that come to a stop, of all or of those that come to an earlier one."""
        ways = self._ways
        if len(ways) == 1:
            return float(all(_passes(places, stop) for places in ways))
        of = both = 0.0
        for places, way in ways.items():
            if after is None or _passes(places, after):
                of += way.share
                both += way.share * _passes(places, stop)
        return both / of if of > 0.0 else 0.0

    def shown(self, period_s: float) -> float:
        """The share of results that no later frame would overtake if one entered every period > 0."""
        shown = 0.0
        for way in self._ways.values():
            unovertaken = way.share
            for other in self._ways.values():
                if other.total_s < way.total_s:
                    unovertaken *= (1.0 - other.share) ** ((way.total_s - other.total_s) / period_s)
            shown += unovertaken
        return shown

    def lead_s(self, stop: Stop) -> float:
        """How much later than a frame that has come to a stop another must enter to be surely behind it."""
        first_s = min(way.shortest_s for way in self._ways.values())
        of_it = [way.longest_s for places, way in self._ways.items() if stop[0] < 0 or _passes(places, stop)]
        return max(of_it, default=first_s) - first_s


def _passes(places: Places, stop: Stop) -> bool:
    return len(places) > stop[0] and places[stop[0]] == stop[1]
