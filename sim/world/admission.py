"""When the next frame of a camera may enter while others are under way: just in time.

Overlapping the stages of successive frames wins throughput, up to that of the slowest stage; a frame that
enters before its stages can serve it wins nothing and grows old in a queue. So a frame enters as late as
possible without leaving the slowest stage idle: at the first instant t at which every stage is expected to
be free by the time it would be asked for, t + lead. Until a first result has been seen nothing can be
expected, and frames go one at a time.

*What is expected* comes from the stages that earlier frames have left (the last 32 of each stage), and from
nothing else: its lead (time from entry to a stage, waiting excluded) and its service times. The edge sees
when its own processor and modem begin and end with a frame; how long the server worked, it is told with the
result; how much of the uplink's time went to others, it knows from the grants. No time that lies ahead is
used.

*How sure it must be.* Entering a second before a stage is free costs the frame a second of waiting, which
leaves exp(−λ) of its worth; entering a second late leaves a stage idle that serves a frame every P seconds,
1/P of a frame. As for a newsvendor, the best instant is therefore the one at which the stage is free with
probability λ / (λ + 1/P). The probability is read off the service times longer than what the frame in the
stage has had already; once there is none, the frame is overdue, and the next one waits until it has left.
(On a link, more traffic would only lengthen an outage. A frame that has been on the server for twice the
longest stay seen has probably been lost in a crash: it is no longer waited for.)

*Whether to overlap at all.* Where other cameras keep a shared stage busy, its queue grows by whatever time
overlapping saves: a camera that returns sooner waits longer for the same turn. Let T be a frame's time
without waiting, P the slowest stage's service and w the time spent waiting for others. Overlapped, a frame
comes every P + w and takes T + w. One at a time, it takes T + w', and w' is about w − (T − P), what
overlapping had saved, or 0. If w ≥ T − P, overlapping wins nothing. Otherwise it multiplies the rate by
T / (P + w) and each frame's worth by exp(−λ·w), and is worth having if ln(T / (P + w)) > λ·w; gains of less
than a tenth are not worth the risk. w is learnt from frames that overlapped; it is forgotten slowly while
none does, so that overlapping is tried again once the others have gone.

*Frames that go different ways*, some answered on the edge and some offloaded, are told apart by the stages
that they went through. A stage has the share of frames that come to it: its mean service counts with that
share, and a conflict over it, of a frame under way and the next one, is as probable as that both come to it.
A frame at a stage that no remembered way goes through is waited for to its end.

A frame on a short way may overtake one on a long way, whose result is then not shown. Of the frames that
enter every P seconds, those of the first T_w − T_v seconds overtake a frame of way w if they go way v, which
a share s_v does: it is shown with probability (1 − s_v)^((T_w − T_v)/P). Where that eats up what overlapping
wins, the next frame enters only when it is not expected to overtake anybody.

*An input of several frames* is waited for by its own frames. Only the frame that completes it will ask for
stages, and enters as above; the others enter as they come, and are in nobody's way while they wait. Which one
completes an input is told by the frames under way: of W that do not wait, each stands for a complete input.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sim.world.ways import WEIGHT, WINDOW, Places, Stop, Ways

EDGE, UPLINK, CLOUD, DOWNLINK = "edge", "uplink", "cloud", "downlink"
FELLOWS = "fellows"  # no stage: where a frame waits for others of its input
FORGETTING = 1.0 / 128.0  # the same for waits of frames that did not overlap
LEAST_GAIN = 0.1  # of overlapping, as a logarithm of the rate
LOST_AFTER = 2.0  # times the longest stay that was seen
TOLERANCE_S = 1e-9  # less is rounding of the clock


@dataclass(slots=True, eq=False)
class Passage:
    """How far a frame under way has come.

    `began_s` and `ended_s` of the current stop are the simulation's and may lie ahead: then they serve only
    to look again at that instant.

    Args:
        entered_s: when the frame entered.
        overlaps: whether another frame of its camera was under way then.
    """

    entered_s: float
    overlaps: bool
    stop: Stop = (-1, "")
    way: Places = ()  # its stops so far
    asked_s: float = 0.0
    began_s: float = 0.0
    ended_s: float = 0.0
    service_s: float = 0.0  # at the current stop, without what the link gave to others meanwhile
    served_s: float = 0.0  # before the current stop
    waited_s: float = 0.0  # the same, for whomever
    waited_for_others_s: float = 0.0
    gave_up: bool = False  # an answer has not come: how long it waits for that is no time of any stage

    def arrive(self, place: str, now_s: float) -> None:
        """The frame asks for a stage that it was not in."""
        self.stop = (self.stop[0] + 1, place)
        self.way += (place,)
        self.asked_s = self.began_s = now_s
        self.service_s = 0.0

    def book(self, began_s: float, ended_s: float, shared_s: float = 0.0) -> None:
        """The stage has a time for it; what it asks of the same stage right afterwards belongs together."""
        if self.service_s == 0.0:
            self.began_s = began_s
        self.ended_s = ended_s
        self.service_s += ended_s - began_s - shared_s

    def next_change_s(self, now_s: float) -> float:
        """When the uplink begins or ends with it; infinite elsewhere: its system is told at once."""
        if self.stop[1] != UPLINK:
            return math.inf
        if self.began_s > now_s:
            return self.began_s
        return self.ended_s if self.ended_s > now_s else math.inf


@dataclass(slots=True, eq=False)
class StageStatistics:
    """What a stage has taken for the frames that have left it.

    Args:
        lead_s: time from a frame's entry until it asks for the stage, waiting excluded; a running mean.
    """

    lead_s: float
    mean_s: float = 0.0
    longest_stay_s: float = 0.0  # waiting included; slowly forgotten
    _services_s: deque[float] = field(default_factory=deque)
    _ordered_s: list[float] = field(default_factory=list)

    def learn(self, lead_s: float, service_s: float, stay_s: float) -> None:
        """Take in a frame that has left."""
        self.longest_stay_s = max(stay_s, (1.0 - 1.0 / WINDOW) * self.longest_stay_s)
        self.lead_s += WEIGHT * (lead_s - self.lead_s)
        services_s, ordered_s = self._services_s, self._ordered_s
        if len(services_s) == WINDOW:
            del ordered_s[bisect_right(ordered_s, services_s.popleft()) - 1]
        services_s.append(service_s)
        insort(ordered_s, service_s)
        self.mean_s = sum(ordered_s) / len(ordered_s)

    def quantile_s(self, level: float) -> float:
        """The service time that a share `level` of frames does not exceed."""
        return self._ordered_s[min(int(level * len(self._ordered_s)), len(self._ordered_s) - 1)]

    def enter_after_s(self, served_s: float, level: float) -> float:
        """How long the frame in the stage must have been served before the next may enter.

        The smallest age a ≥ `served_s` with P(S ≤ a + lead | S > a) ≥ `level`; infinite where there is none:
        then the next frame enters when this one has left.
        """
        ordered_s, lead_s = self._ordered_s, self.lead_s
        if lead_s <= TOLERANCE_S:
            return math.inf
        for service_s in ordered_s[bisect_right(ordered_s, served_s) :]:
            age_s = max(served_s, service_s - lead_s)
            gone = bisect_right(ordered_s, age_s)
            in_time = bisect_right(ordered_s, age_s + lead_s + TOLERANCE_S)
            if in_time - gone >= level * (len(ordered_s) - gone):
                return age_s
        return math.inf


@dataclass(slots=True, eq=False)
class Admission:
    """One camera's admission control.

    Args:
        bound: frames that may be under way.
        decay_per_s: λ, what a second of latency costs: the run's, by which results are valued.
        frames_an_input: how many make one input of the system together.
    """

    bound: int
    decay_per_s: float
    frames_an_input: int = 1
    _stages: dict[Stop, StageStatistics] = field(default_factory=dict)
    _ways: Ways = field(default_factory=Ways)
    _shares: dict[Stop, float] = field(default_factory=dict)  # of frames that come there; of all
    _ahead: dict[Stop, list[tuple[StageStatistics, float]]] = field(default_factory=dict)  # and of conflicts
    _several: bool = False  # ways
    _outdated: bool = False  # those three
    _free_s: dict[str, float] = field(default_factory=dict)  # when the last frame left a place
    _has_result: bool = False
    _between_s: float = 0.0  # neither served nor waiting: propagation; a running mean
    _waited_for_others_s: float = 0.0  # a running mean

    def leave(self, passage: Passage) -> None:
        """A frame has left its current stop: learn from it, unless it has given up there or before."""
        if passage.gave_up:
            return
        stop, asked_s, service_s = passage.stop, passage.asked_s, passage.service_s
        lead_s = asked_s - passage.entered_s - passage.waited_s
        if stop[1] == FELLOWS:
            passage.waited_s += passage.ended_s - asked_s
            return
        stage = self._stages.get(stop)
        if stage is None:
            stage = self._stages[stop] = StageStatistics(lead_s)
            self._outdated = True
        ended_s = passage.ended_s
        stage.learn(lead_s, service_s, ended_s - asked_s)
        passage.served_s += service_s
        passage.waited_s += max(0.0, ended_s - asked_s - service_s)
        since_s = max(asked_s, self._free_s.get(stop[1], -math.inf))
        passage.waited_for_others_s += max(0.0, ended_s - since_s - service_s)
        self._free_s[stop[1]] = ended_s

    def finish(self, passage: Passage, now_s: float) -> None:
        """A frame's result is there; one that others have worked for, or that gave up, teaches nothing."""
        if FELLOWS in passage.way or passage.gave_up:
            return
        between_s = now_s - passage.entered_s - passage.served_s - passage.waited_s
        if not self._has_result:
            self._has_result, self._between_s = True, between_s
        if self._ways.remember(passage.way, now_s - passage.entered_s - passage.waited_s):
            self._outdated = True
        self._between_s += WEIGHT * (between_s - self._between_s)
        waited_s = passage.waited_for_others_s
        telling = passage.overlaps or waited_s > self._waited_for_others_s
        self._waited_for_others_s += (WEIGHT if telling else FORGETTING) * (
            waited_s - self._waited_for_others_s
        )

    def next_look_s(self, now_s: float, under_way: Sequence[Passage]) -> float:
        """When the next frame may enter, as things are, or when it is time to look again, if that is earlier.

        Not after `now_s`: it may enter. Infinite: not before some frame's system is resumed.
        """
        if len(under_way) < self.frames_an_input:
            return now_s
        if not self._has_result or not self._stages or len(under_way) >= self.bound:
            return math.inf
        if self.frames_an_input > 1 and not self._completes_input(under_way):
            return now_s  # it will wait for others
        if self._outdated:
            self._expect()
        services_s = [share * self._stages[stop].mean_s for stop, share in self._shares.items()]
        period_s = max(services_s)
        total_s = sum(services_s) + self._between_s
        overlap = self._overlapping_wins(period_s, total_s)
        in_order = (
            self._several
            and overlap
            and not self._overlapping_wins(period_s, self._ways.shown(period_s) * total_s)
        )
        level = self.decay_per_s * period_s / (self.decay_per_s * period_s + 1.0)
        enter_s = now_s
        for passage in under_way:
            lost_s = self._lost_s(passage, now_s)
            if lost_s > now_s and passage.stop[1] != FELLOWS:
                after_s = self._after_s(passage, now_s, level) if overlap else math.inf
                if in_order:
                    behind_s = passage.entered_s + passage.waited_s + self._ways.lead_s(passage.stop)
                    after_s = max(after_s, behind_s + 2.0 * TOLERANCE_S)
                enter_s = max(enter_s, min(after_s, lost_s))
        if enter_s <= now_s + TOLERANCE_S or not overlap:
            return enter_s
        return min(enter_s, *(passage.next_change_s(now_s) for passage in under_way))

    def _expect(self) -> None:
        """Work out how many frames come to each stage, and how often the next one meets them further on."""
        share = self._ways.share
        self._outdated = False
        self._several = self._ways.several
        self._shares = {stop: share(stop) for stop in self._stages}
        self._ahead = {
            stop: [
                (later, share(at, stop) * share(at)) for at, later in self._stages.items() if at[0] > stop[0]
            ]
            for stop in self._stages
        }

    def _completes_input(self, under_way: Sequence[Passage]) -> bool:
        """Whether the next frame is the last one of an input, and will work for all of it."""
        others = self.frames_an_input - 1
        waiting = sum(passage.stop[1] == FELLOWS for passage in under_way)
        working = len(under_way) - waiting
        return (waiting - others * working) % self.frames_an_input == others

    def _overlapping_wins(self, period_s: float, total_s: float) -> bool:
        waited_s = self._waited_for_others_s
        if period_s <= 0.0:
            return False
        gain = total_s / (period_s + waited_s)  # below 0 where stages took longer than their frames
        return gain > 1.0 and math.log(gain) > max(LEAST_GAIN, self.decay_per_s * waited_s)

    def _lost_s(self, passage: Passage, now_s: float) -> float:
        """When a frame must be taken for lost if it stays where it is; infinite where it cannot be lost."""
        stage = self._stages.get(passage.stop)
        if stage is None or passage.stop[1] != CLOUD or passage.ended_s <= now_s:
            return math.inf
        return passage.asked_s + LOST_AFTER * stage.longest_stay_s

    def _after_s(self, passage: Passage, now_s: float, level: float) -> float:
        """When the next frame may enter as far as one frame under way is concerned."""
        stage, share = self._stages.get(passage.stop), self._shares.get(passage.stop, 0.0)
        if stage is None or share == 0.0:
            return math.inf  # it goes a way of its own
        enter_s = now_s
        ended_s = passage.ended_s
        if ended_s > now_s:
            since_s = passage.asked_s if passage.stop[1] == CLOUD else passage.began_s
            if since_s > now_s + TOLERANCE_S:
                return math.inf  # it waits
            if (sure := level if share == 1.0 else _sure(level, share)) > 0.0:
                enter_s = max(now_s, since_s + stage.enter_after_s(max(0.0, now_s - since_s), sure))
            ended_s = max(now_s, since_s + stage.mean_s)
        for later, both_share in self._ahead[passage.stop]:
            if (sure := level if both_share == 1.0 else _sure(level, both_share)) > 0.0:
                asked_s = ended_s + later.lead_s - stage.lead_s - stage.mean_s
                enter_s = max(enter_s, asked_s + later.quantile_s(sure) - later.lead_s)
        return enter_s


def _sure(level: float, share: float) -> float:
    """How sure it must be that a stage is free if two frames are there, which a share of pairs are.

    Below 0 where even certain waiting is rare enough.
    """
    return 1.0 - (1.0 - level) / share if share > 0.0 else 0.0
