"""A link that owns its queue and replays a bandwidth trace.

Critical messages leave in the order of their sending. Because a link serves them in that order and
nothing can overtake, the time a message is through follows at once from the trace: one computation
and one event a message, no queue of packets (a SimPy ``Resource`` would be slower and wrong: its release
falls on the opportunity's millisecond, and the next message loses what is left of it).

Opportunistic messages use what critical traffic leaves over. They are settled lazily: whenever a critical
message arrives, the link first works out what has left before that instant.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
from simpy import Environment
from simpy.events import Event, Timeout

from sim.physics.events import Unanswered
from sim.physics.trace_replay import LOOK_AFTER_S, PACKET_BYTES, TraceReplay
from traces.errors import InputError


class Transfer(NamedTuple):
    """What became of a critical message. `delivered_s` is when its last byte left the link's queue;
    it reaches the far side one propagation delay later. `shared_s` is what of the time since `began_s` the
    link has given to other messages. `room_bytes` is what its last delivery opportunity had room for beside
    it: a modem is granted whole opportunities, and pads them."""

    size_bytes: int
    enqueued_s: float
    began_s: float
    delivered_s: float
    shared_s: float = 0.0
    room_bytes: float = 0.0


@dataclass(slots=True, eq=False)
class BackgroundTransfer:
    """An opportunistic message on its way: it gives way to critical ones (a scavenger transfer).

    `remaining_bytes` and `grants`, how many it has used, are as of the link's last settling, and `left_s` is
    when the last byte that does not remain is through: a packet that has begun to leave counts whole.
    `ended_s` is when the message was through, or withdrawn.
    Into the `ledger` goes whatever has left, piece by piece: begin, end, bytes, and the message's `tag`.
    """

    size_bytes: int
    enqueued_s: float
    on_sent: Callable[[], None]
    on_arrived: Callable[[], None]
    remaining_bytes: float = 0.0
    ended_s: float = math.inf
    ledger: array[float] | None = None
    tag: float = 0.0
    grants: int = 0
    left_s: float = 0.0


_piece = Struct("4d").pack  # of a ledger; faster than array.extend


def _arrive(message: BackgroundTransfer, _: Event) -> None:
    message.on_arrived()


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """Bytes of a link up to an instant: offered = delivered + queued + dropped, in either class.

    A critical message counts as queued until its last byte has left; an opportunistic one counts
    byte by byte, since it can be cut. `carried_bytes` counts critical messages byte by byte too, each once.
    """

    offered_bytes: float
    delivered_bytes: float
    queued_bytes: float
    dropped_bytes: float
    opportunistic_offered_bytes: float
    opportunistic_delivered_bytes: float
    opportunistic_queued_bytes: float
    opportunistic_dropped_bytes: float
    retransmitted_bytes: float
    carried_bytes: float


@dataclass(frozen=True, slots=True)
class LinkConditions:
    """What a link does to a message beside limiting its rate.

    Args:
        delay_s: one-way propagation delay.
        loss: probability that a packet is lost and sent again by the link layer, in order.
        retransmission_delay_s: how long the link layer takes to notice a loss.
    """

    delay_s: float = 0.0
    loss: float = 0.0
    retransmission_delay_s: float = 0.008

    def __post_init__(self) -> None:
        if not 0.0 <= self.delay_s < float("inf"):
            raise InputError(f"link.delay_s: expected a finite delay >= 0 s, found {self.delay_s}")
        if not 0.0 <= self.loss < 1.0:
            raise InputError(f"link.loss: expected a probability in [0, 1), found {self.loss}")
        if self.retransmission_delay_s < 0.0:
            raise InputError(
                f"link.retransmission_delay_s: expected >= 0 s, found {self.retransmission_delay_s}"
            )


@dataclass(slots=True)
class _Counters:
    offered: float = 0.0
    delivered: float = 0.0
    opportunistic_offered: float = 0.0
    opportunistic_delivered: float = 0.0
    opportunistic_dropped: float = 0.0
    retransmitted: float = 0.0


@dataclass(slots=True, eq=False)
class Link:
    """First in, first out, for however many cameras send on it.

    Args:
        env: the SimPy environment.
        replay: the trace's position; the link is its only user.
        conditions: delay and loss.
        rng: draws the losses; needed only where ``conditions.loss`` is not 0.
    """

    env: Environment
    replay: TraceReplay
    conditions: LinkConditions = LinkConditions()
    rng: np.random.Generator | None = None
    _count: _Counters = field(default_factory=_Counters)
    _outstanding: deque[Transfer] = field(default_factory=deque)
    _background: deque[BackgroundTransfer] = field(default_factory=deque)
    _look_s: float = math.inf  # when the timer that counts fires

    def __post_init__(self) -> None:
        if self.conditions.loss > 0.0 and self.rng is None:
            raise InputError("link.loss: a lossy link needs a random generator")

    # -- critical traffic ---------------------------------------------------------------------------

    def reserve(self, size_bytes: int) -> Transfer:
        """Put a critical message into the queue now; return when it begins and ends."""
        now_s = self.env.now
        if self._background:
            self._settle(now_s)
        began_s = self.replay.free_s()
        if began_s < now_s:
            began_s = now_s
        delivered_s = self.replay.take(size_bytes, now_s)
        if self.conditions.loss > 0.0:
            delivered_s = self._retransmit(size_bytes, delivered_s)
        count, outstanding = self._count, self._outstanding
        count.offered += size_bytes
        while outstanding and outstanding[0].delivered_s <= now_s:
            count.delivered += outstanding.popleft().size_bytes
        if began_s > delivered_s:
            began_s = delivered_s
        # Transfer(…) in a third of the time: one a message
        transfer = tuple.__new__(
            Transfer, (size_bytes, now_s, began_s, delivered_s, 0.0, self.replay.room_bytes)
        )
        outstanding.append(transfer)
        return transfer

    def send(
        self,
        size_bytes: int,
        give_up_s: float,
        booked: Callable[[Transfer], None],
        given_up: Callable[[Transfer], None] | None = None,
    ) -> Event:
        """Send a critical message; the event fires when it has reached the far side.

        `booked` is told the transfer's times as soon as the link knows them; where that is after `give_up_s`,
        `given_up` is told instead. If the message arrives only after `give_up_s`, the event fails with
        Unreachable at that time; the bytes leave all the same.
        """
        transfer = self.reserve(size_bytes)
        booked(transfer)
        now_s = transfer.enqueued_s
        arrives_s = transfer.delivered_s + self.conditions.delay_s
        if arrives_s > give_up_s:
            return Unanswered(self.env, max(0.0, give_up_s - now_s), "the link did not deliver in time")
        return Timeout(self.env, arrives_s - now_s)

    def would_deliver_s(self, size_bytes: float, enqueued_s: float) -> float:
        """When a critical message sent at `enqueued_s` would be through: what only an oracle knows."""
        if self._background:
            self._settle(self.env.now)
        return self.replay.peek(size_bytes, enqueued_s)

    def carried_bytes(self, transfer: Transfer) -> float:
        """What has left by now of a critical message that is not through yet."""
        now_s = self.env.now
        if transfer.began_s >= now_s:
            return 0.0
        return min(self.replay.capacity_bytes(transfer.began_s, now_s), float(transfer.size_bytes))

    def backlog_bytes(self) -> int:
        """Critical bytes of messages that are not through yet."""
        now_s = self.env.now
        return sum(transfer.size_bytes for transfer in self._outstanding if transfer.delivered_s > now_s)

    def _carried_of_waiting(self) -> float:
        """What has left by now of the critical messages that are not through yet."""
        if self.conditions.loss > 0.0:  # retransmissions pause: message by message
            return sum(
                self.carried_bytes(transfer)
                for transfer in self._outstanding
                if transfer.delivered_s > self.env.now
            )
        return max(0.0, self.backlog_bytes() - self.replay.owed_bytes(self.env.now))

    def _retransmit(self, size_bytes: int, delivered_s: float) -> float:
        """Lost packets leave again, in order and at once behind the message; each round waits to notice."""
        assert self.rng is not None
        packets = -(-size_bytes // PACKET_BYTES)
        lost = int(self.rng.binomial(packets, self.conditions.loss))
        while lost:
            again = min(lost * PACKET_BYTES, size_bytes)
            self._count.retransmitted += again
            noticed_s = delivered_s + self.conditions.retransmission_delay_s
            delivered_s = self.replay.take(again, noticed_s)
            lost = int(self.rng.binomial(lost, self.conditions.loss))
        return delivered_s

    # -- opportunistic traffic ----------------------------------------------------------------------

    def send_background(
        self,
        size_bytes: int,
        on_sent: Callable[[], None],
        on_arrived: Callable[[], None],
        ledger: array[float] | None = None,
        tag: float = 0.0,
    ) -> BackgroundTransfer:
        """Send an opportunistic message: it uses only what critical traffic leaves over.

        `on_sent` runs when its last byte has left, `on_arrived` one propagation delay later. What has left is
        written into `ledger`, even if the message is withdrawn later; see :class:`BackgroundTransfer`.
        """
        now_s = self.env.now
        message = BackgroundTransfer(
            size_bytes, now_s, on_sent, on_arrived, float(size_bytes), math.inf, ledger, tag
        )
        self._settle(now_s)
        self._background.append(message)
        self._count.opportunistic_offered += size_bytes
        self._arm()
        return message

    def unsent_bytes(self, message: BackgroundTransfer) -> float:
        """What has not left yet of an opportunistic message."""
        self._settle(self.env.now)
        return message.remaining_bytes

    def cancel(self, message: BackgroundTransfer) -> None:
        """Withdraw what has not left yet of an opportunistic message; a message that is through stays so."""
        self._settle(self.env.now)
        self._hand_over()
        if message in self._background:
            self._background.remove(message)
            message.ended_s = self.env.now
            self._count.opportunistic_dropped += message.remaining_bytes
            self._arm()

    def _settle(self, now_s: float) -> None:
        """Work out what opportunistic bytes have left strictly before `now_s`."""
        for message in self._background:
            if message.remaining_bytes > 0.0:
                free_s = self.replay.free_s()
                left = self.replay.take_before(message.remaining_bytes, message.enqueued_s, now_s)
                if left > 0.0:
                    message.remaining_bytes -= left
                    self._count.opportunistic_delivered += left
                    began_s = message.enqueued_s if message.enqueued_s > free_s else free_s
                    ended_s = max(began_s, self.replay.free_s())
                    message.grants += self.replay.grants(began_s, ended_s)
                    message.left_s = ended_s
                    if message.ledger is not None:
                        message.ledger.frombytes(_piece(began_s, ended_s, left, message.tag))
            if message.remaining_bytes > 0.0:
                break

    def _arm(self) -> None:
        """Have the timer look again when the first opportunistic message could be through at the earliest."""
        if not self._background:
            return
        head = self._background[0]
        finish_s = self.replay.peek(head.remaining_bytes, max(head.enqueued_s, self.replay.free_s()))
        # Just past it: a critical message that arrives at this very instant still goes first.
        now_s = self.env.now
        delay_s = max(0.0, finish_s - now_s) + LOOK_AFTER_S
        if now_s + delay_s >= self._look_s:
            return  # looked at before then, and armed anew
        self._look_s = now_s + delay_s
        timer = Timeout(self.env, delay_s)
        timer.callbacks.append(self._look)

    def _look(self, _: Any) -> None:
        if self.env.now < self._look_s < math.inf:
            return  # overtaken: the message it was armed for has been withdrawn
        self._look_s = math.inf
        self._settle(self.env.now)
        self._hand_over()
        self._arm()

    def _hand_over(self) -> None:
        """Let go of the messages that are through."""
        while self._background and self._background[0].remaining_bytes <= 0.0:
            message = self._background.popleft()
            message.ended_s = self.env.now
            message.on_sent()
            arrival = Timeout(self.env, self.conditions.delay_s)
            arrival.callbacks.append(partial(_arrive, message))

    # -- accounts -----------------------------------------------------------------------------------

    def statistics(self) -> LinkStatistics:
        """Bytes so far; see :class:`LinkStatistics` for the conservation law."""
        now_s = self.env.now
        self._settle(now_s)
        count = self._count
        through = sum(transfer.size_bytes for transfer in self._outstanding if transfer.delivered_s <= now_s)
        delivered = count.delivered + through
        return LinkStatistics(
            offered_bytes=count.offered,
            delivered_bytes=delivered,
            queued_bytes=float(self.backlog_bytes()),
            dropped_bytes=0.0,
            opportunistic_offered_bytes=count.opportunistic_offered,
            opportunistic_delivered_bytes=count.opportunistic_delivered,
            opportunistic_queued_bytes=sum(message.remaining_bytes for message in self._background),
            opportunistic_dropped_bytes=count.opportunistic_dropped,
            retransmitted_bytes=count.retransmitted,
            carried_bytes=delivered + self._carried_of_waiting(),
        )
