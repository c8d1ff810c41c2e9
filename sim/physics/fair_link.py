"""A link that several cameras share evenly.

Every message that waits gets the same share of what the trace offers (processor sharing, the fluid limit
of round robin by packets). With n messages waiting, a message of s bytes is through when the link has
carried n·(s − received) bytes, n changing as messages come and go. A count of "virtual" bytes that grows n
times slower than the link's keeps the order of the ends without touching every message.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from simpy.events import Event, Timeout

from sim.physics.events import Answer, Unreachable
from sim.physics.link import Link, Transfer
from sim.physics.trace_replay import LOOK_AFTER_S
from traces.errors import InputError

_BYTE_TOLERANCE = 1e-6


@dataclass(slots=True, eq=False)
class _Flow:
    size_bytes: int
    enqueued_s: float
    answer: Answer
    booked: Callable[[Transfer], None]
    given_up: Callable[[Transfer], None] | None
    carried_before_bytes: float  # by the link, of critical messages


@dataclass(slots=True, eq=False)
class FairLink(Link):
    """Processor sharing among the critical messages that wait; opportunistic ones as on a :class:`Link`.

    Unlike there, the end of a message depends on those that come after it, so it costs two events more.
    """

    _flows: list[tuple[float, int, _Flow]] = field(default_factory=list)  # heap by virtual end
    _virtual_bytes: float = 0.0
    _carried_bytes: float = 0.0
    _busy_since_s: float = 0.0
    _serial: Any = field(default_factory=count)
    _version: int = 0

    def __post_init__(self) -> None:
        Link.__post_init__(self)
        if self.conditions.loss > 0.0:
            raise InputError("link.loss: losses are modelled on link.sharing=fifo only")

    def send(
        self,
        size_bytes: int,
        give_up_s: float,
        booked: Callable[[Transfer], None],
        given_up: Callable[[Transfer], None] | None = None,
    ) -> Event:
        now_s = self.env.now
        Link._settle(self, now_s) if not self._flows else self._advance(now_s)
        if not self._flows:
            self._busy_since_s = now_s
        answer = Answer(self.env)
        flow = _Flow(size_bytes, now_s, answer, booked, given_up, self._carried_bytes)
        heapq.heappush(self._flows, (self._virtual_bytes + size_bytes, next(self._serial), flow))
        self._count.offered += size_bytes
        if give_up_s < float("inf"):
            timer = Timeout(self.env, max(0.0, give_up_s - now_s))
            timer.callbacks.append(
                lambda _: answer.fail_once(Unreachable("the link did not deliver in time"))
            )
        self._schedule()
        return answer

    def would_deliver_s(self, size_bytes: float, enqueued_s: float) -> float:
        """As if nothing else came: what later messages will take is not known even to an oracle here."""
        self._settle(self.env.now)
        ahead_bytes = sum(min(end - self._virtual_bytes, size_bytes) for end, _, _ in self._flows)
        since_s = self._busy_since_s if self._flows else enqueued_s
        return self.replay.peek(size_bytes + ahead_bytes, since_s)

    def backlog_bytes(self) -> int:
        return sum(flow.size_bytes for _, _, flow in self._flows)

    def _carried_of_waiting(self) -> float:
        return max(0.0, self._carried_bytes - self._count.delivered) if self._flows else 0.0

    def _settle(self, now_s: float) -> None:
        self._advance(now_s)
        if not self._flows:
            Link._settle(self, now_s)

    def _advance(self, now_s: float) -> None:
        """Share out what has left strictly before `now_s`."""
        while self._flows:
            waiting = len(self._flows)
            wanted = waiting * (self._flows[0][0] - self._virtual_bytes)
            left = self.replay.take_before(wanted, self._busy_since_s, now_s) if wanted > 0.0 else 0.0
            self._virtual_bytes += left / waiting
            self._carried_bytes += left
            if left < wanted - _BYTE_TOLERANCE:
                return
            self._finish(self.replay.free_s())

    def _finish(self, delivered_s: float) -> None:
        """Let go of the messages whose last byte left at `delivered_s`."""
        while self._flows and self._flows[0][0] <= self._virtual_bytes + _BYTE_TOLERANCE:
            _, _, flow = heapq.heappop(self._flows)
            self._count.delivered += flow.size_bytes
            if not flow.answer.settled:
                carried_bytes = self._carried_bytes - flow.carried_before_bytes
                others = max(0.0, 1.0 - flow.size_bytes / carried_bytes) if carried_bytes > 0.0 else 0.0
                since_s = flow.enqueued_s
                shared_s = others * (delivered_s - since_s)
                room_bytes = 0.0 if self._flows else self.replay.room_bytes
                flow.booked(Transfer(flow.size_bytes, since_s, since_s, delivered_s, shared_s, room_bytes))
                arrives_s = delivered_s + self.conditions.delay_s
                flow.answer.succeed_once(max(0.0, arrives_s - self.env.now))
            elif flow.given_up is not None:
                flow.given_up(Transfer(flow.size_bytes, flow.enqueued_s, flow.enqueued_s, delivered_s))
        if not self._flows:
            self._virtual_bytes = 0.0

    def _schedule(self) -> None:
        """Look again when the next message would be through if nothing else came."""
        self._version += 1
        if not self._flows:
            self._arm()
            return
        version = self._version
        wanted = len(self._flows) * (self._flows[0][0] - self._virtual_bytes)
        finish_s = self.replay.peek(wanted, self._busy_since_s)
        timer = Timeout(self.env, max(0.0, finish_s - self.env.now) + LOOK_AFTER_S)
        timer.callbacks.append(lambda _: self._look_at_flows(version))

    def _look_at_flows(self, version: int) -> None:
        if version == self._version:
            self._advance(self.env.now)
            self._schedule()

    def _arm(self) -> None:
        if not self._flows:
            Link._arm(self)
