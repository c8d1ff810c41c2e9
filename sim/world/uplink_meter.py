"""What a camera's modem sees of the uplink, made into samples that tell something.

A modem knows when its own messages were handed to it, how much of them has left, and what it was granted.
From that come samples (bytes, seconds that the link was busy with them), which an estimator learns from.

- **Messages are combined** until they amount to something: a few packets and grants, some time, or all that a
  quarter of a second brought. A short message alone says little, since grants come once a millisecond.
- **A bound is used as one.** Up to a millisecond of each message's time may have been the wait for a grant;
  and a grant covers a whole millisecond, of which the message may have waited for the last instant only. Of
  N messages in s seconds, the rate therefore lies between bytes / (s + N ms) and bytes / (s - N ms). Where s
  is more than 2 N ms, bytes / s is told, at most 1.5 times the first. Otherwise a belief between the two
  stands; one outside moves to the nearer bound. (Bytes that flow, as in a trace of rates, need no grant.)
- **A grant counts once.** What gives way and leaves in the room of a grant that has been counted has taken no
  time of its own; it is one message more in the sample in the making, with the millisecond of its grant.
- **Grants are counted**: the milliseconds in which the modem's own bytes left. An estimator that asks is told
  how many a sample covers, since they say what it is worth: a cell's link pauses for ten times its mean gap
  at times, and sixty kilobytes that one grant took after such a pause are one draw, not forty packets. While
  none comes, what is told is a bound, one usual grant that may be about to come: what they carried of late.
- **What is under way teaches** once it is late: the modem sees its queue drain, so a message over a link
  that has collapsed need not end first. (One that only waits for its turn on a shared link is not late.)
  What gives way teaches at any time: opportunistic bytes, and probes.
- **What is known grows old.** If the link has told nothing for `probe_s`, or a bound has been broken by a
  sample that cannot say how far, or messages have left that amount to no sample and nothing is known, the
  next question sends a probe: bytes without content, which give way to all others and are booked as
  opportunistic. It is as long as what was believed carries in `PROBE_S`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from simpy import Environment

from sim.physics.estimators import BandwidthEstimator
from sim.physics.link import BackgroundTransfer, Link, Transfer
from sim.physics.trace_replay import CLOCK_TOLERANCE_S, PACKET_BYTES

SAMPLE_BYTES = 8 * PACKET_BYTES  # a message of this size is a sample of its own,
LEAST_S = 0.002  # if it kept the link busy for two grants: what a single one carries may be a burst
SAMPLE_S = 0.02  # so is one that has taken so long: the wait for a grant is then a twentieth
SPAN_S = 0.25  # a sample never covers more than this
# Of the first grant that a message waits for: on average it waits half a gap between evenly spaced grants and
# a whole one between random ones, so that three quarters lie between.
FIRST_GRANT = 0.75
ACCESS_S = 1e-3  # longest wait for a grant on an idle link: LTE's transmission time interval
LATE = 1.5  # times what a message should take by what is believed
AGREEMENT = 1.1  # a bound is broken by more than this factor
# Of the link's time: six grants, and 0.6 % of the link at a probe a second. What is through in two grants
# gives no more than bounds, and the lower one is then down to two thirds of the rate: a probe of what was
# believed must tell more while the belief is still there.
PROBE_S = 0.006
PROBE_BYTES = 4 * PACKET_BYTES  # at least,
MOST_PROBE_BYTES = 128_000  # and at most: what is faster than 170 Mbit/s need not be known as well
USUAL_GRANTS = 10  # so many of the last ones make what a usual one carries
MOST_WATCHED = 64  # messages that nobody asks about


class UplinkMeter:
    """One camera's view of the uplink, and what its estimator has been told of it.

    Args:
        env: the clock.
        link: the uplink.
        estimator: the camera's own.
        probe_s: how long nothing may be learnt before a probe is sent; None: for ever.
        send_probe: sends so many bytes that give way to all others, and has them watched.
    """

    __slots__ = (
        "_bytes",
        "_covers",
        "_doubt",
        "_elapse",
        "_env",
        "_estimator",
        "_free_s",
        "_grant_s",
        "_granted_before",
        "_grants",
        "_late",
        "_link",
        "_looked_s",
        "_messages",
        "_own_s",
        "_probe_s",
        "_sampled_s",
        "_seconds",
        "_send_probe",
        "_since_s",
        "_stalled_s",
        "_usual_bytes",
        "_waited_bytes",
        "_watched",
        "learnt_s",
        "unobserved",
    )

    def __init__(
        self,
        env: Environment,
        link: Link,
        estimator: BandwidthEstimator,
        probe_s: float | None,
        send_probe: Callable[[int], None],
    ) -> None:
        self._env = env
        self._link = link
        self._estimator = estimator
        self._send_probe = send_probe
        self._elapse = getattr(estimator, "elapse", None)
        self._covers = getattr(estimator, "covers", None)
        learns = probe_s is not None and getattr(estimator, "learns", True)
        self._probe_s = probe_s if learns and probe_s is not None else math.inf
        self._waited_bytes = (1.0 - FIRST_GRANT) * link.replay.grant_bytes
        self._grant_s = (
            ACCESS_S if self._waited_bytes else 0.0
        )  # what a grant covers; bytes that flow need none
        self.learnt_s = 0.0  # when the link last told its rate
        # Critical transfers whose end has not been looked at; a system that never asks keeps the newest.
        self.unobserved: deque[Transfer] = deque(maxlen=MOST_WATCHED)
        self._free_s = 0.0  # until when the link's time has been accounted for
        self._late = False  # whether the oldest message under way is
        # With the bytes not accounted for, and the grants that have been.
        self._watched: list[tuple[BackgroundTransfer, float, int]] = []
        self._looked_s = 0.0  # when, at last
        self._own_s = 0.0  # of the time since then, what critical messages took
        self._bytes = self._seconds = 0.0  # of the sample to be
        self._messages = 0
        self._grants = 0
        self._since_s = 0.0
        self._sampled_s = 0.0
        self._usual_bytes = float(PACKET_BYTES)  # of a grant
        self._granted_before = 0  # of those that this is the mean of
        self._stalled_s = 0.0  # for how long nothing has left
        self._doubt = False  # whether a bound was broken

    def estimate_bps(self) -> float | None:
        """What the estimator believes, with all that can be known by now."""
        now_s = self._env.now
        unobserved = self.unobserved
        while unobserved:
            transfer = unobserved[0]
            delivered_s = transfer.delivered_s
            if delivered_s > now_s:
                if now_s - transfer.enqueued_s >= SAMPLE_S:
                    self._add_part(transfer, now_s)
                break
            unobserved.popleft()
            self._late = False
            # From when it was handed to the link, or the camera's own earlier message was through: what
            # other cameras sent before it, it has waited for.
            seconds = delivered_s - max(transfer.enqueued_s, self._free_s)
            if seconds > CLOCK_TOLERANCE_S:  # otherwise it has used the room of a grant that has been counted
                self._own(delivered_s, seconds)
                # It was granted whole opportunities, and paid for them with its time.
                granted = transfer.size_bytes + transfer.room_bytes - self._waited_bytes
                self.add(granted, seconds, delivered_s, self._granted(transfer, delivered_s, seconds))
        watched = self._watched
        if (
            len(watched) == 1 and watched[0][0].ended_s <= now_s and not unobserved
        ):  # the most common: in short
            message, left_bytes, counted = watched.pop()
            until_s = max(message.ended_s, message.left_s)
            seconds = until_s - self._looked_s - self._own_s
            carried = left_bytes - message.remaining_bytes
            self._looked_s = until_s
            self.add(carried, seconds, until_s, message.grants - counted)
        elif watched:
            self._look(now_s)
        believed_bps = self._estimator.estimate_bps()
        # All that has left so far may have been one short message: no sample yet, and none for a while.
        nothing_known = believed_bps is None and self._messages > 0
        old = now_s - self.learnt_s > self._probe_s or self._doubt or nothing_known
        if old and not (self._watched or unobserved):  # which teach as well
            self._probe()
        return believed_bps

    def backlog_bytes(self) -> float:
        """What has not left yet of the camera's own critical messages.

        A link that is shared evenly says only afterwards when a message was through: nothing is known there.
        """
        now_s, link = self._env.now, self._link
        return sum(
            transfer.size_bytes - link.carried_bytes(transfer)
            for transfer in self.unobserved
            if transfer.delivered_s > now_s
        )

    def book(self, transfer: Transfer) -> None:
        """Learn from a critical message of the camera's own, once its times are known.

        A packet of its own that was leaving then is in a sample of what gives way: its time is none of this.
        """
        if self._watched and transfer.enqueued_s == self._env.now:  # else the link tells afterwards
            ahead_s = min(max(message.left_s for message, _, _ in self._watched), transfer.began_s)
            if ahead_s > transfer.enqueued_s:
                transfer = transfer._replace(enqueued_s=ahead_s)
        self.unobserved.append(transfer)

    def watch(self, message: BackgroundTransfer) -> None:
        """Learn from how a message that gives way leaves."""
        watched = self._watched
        if watched and (watched[-1][0].ended_s <= self._env.now or len(watched) >= MOST_WATCHED):
            self._look(self._env.now)  # what follows does not follow at once
            watched = self._watched
        if not watched:
            self._looked_s, self._own_s = max(self._env.now, self._looked_s), 0.0
        watched.append((message, message.remaining_bytes, message.grants))

    def observe(self, size_bytes: float, seconds: float) -> None:
        """Bytes have left by now that the link does not know of: in as many grants as may have been."""
        grants = max(1, math.ceil(min(size_bytes / PACKET_BYTES, seconds / ACCESS_S))) if self._grant_s else 0
        self.add(size_bytes, seconds, float(self._env.now), grants)

    def probe(self, size_bytes: int) -> None:
        """Send bytes without content that give way to all others, and learn from how they leave."""
        self._send_probe(size_bytes)

    def _probe(self) -> None:
        self._doubt = False
        if self._probe_s < math.inf:
            believed_bps = self._estimator.estimate_bps() or 0.0
            size_bytes = int(believed_bps * PROBE_S / 8.0)
            self.probe(min(max(PROBE_BYTES, size_bytes), MOST_PROBE_BYTES))

    def _add_part(self, transfer: Transfer, now_s: float) -> None:
        """Count what has left of the oldest message under way, if that is late.

        What it waited for its turn belongs to all of it: to what has left, by its share.
        """
        since_s = max(transfer.enqueued_s, self._free_s)
        began_s = max(transfer.began_s, since_s)
        if now_s - began_s < SAMPLE_S:
            return
        size_bytes = transfer.size_bytes
        if not self._late:
            believed_bps = self._estimator.estimate_bps()
            if believed_bps is not None and believed_bps * (now_s - since_s) < LATE * 8.0 * size_bytes:
                return
            self._late = True
        carried = min(self._link.carried_bytes(transfer), size_bytes - 1.0)  # the last byte ends it
        rest_s = (began_s - since_s) * (1.0 - carried / size_bytes)
        seconds = now_s - since_s - rest_s
        grants = self._granted(transfer, now_s, now_s - began_s) if carried > 0.0 else 0
        self._own(now_s - rest_s, seconds)
        self.unobserved[0] = transfer._replace(
            size_bytes=size_bytes - round(carried), enqueued_s=now_s - rest_s, began_s=now_s
        )
        self.add(carried, seconds, now_s, grants)

    def _granted(self, transfer: Transfer, until_s: float, seconds: float) -> int:
        """How many grants it used in the seconds until then, one at least; 0 where bytes flow.

        The link was its own since it began. Where it was not (a message that others share the link with, one
        that waits for lost packets to be missed), it has used no more grants than it has packets.
        """
        if not self._grant_s:
            return 0
        if seconds <= ACCESS_S:
            return 1
        grants = self._link.replay.grants(max(until_s - seconds, transfer.began_s), until_s)
        return max(1, min(grants, -(-transfer.size_bytes // PACKET_BYTES)))

    def _own(self, until_s: float, seconds: float) -> None:
        """Critical messages of the camera's own had the link: what gives way did not."""
        self._free_s = until_s
        if self._watched:
            last = self._watched[-1][0]
            ended_s = max(last.ended_s, last.left_s)
            overlap_s = min(until_s, ended_s) - max(until_s - seconds, self._looked_s)
            if overlap_s > 0.0:
                self._own_s += overlap_s

    def _look(self, now_s: float) -> None:
        """Count what has left of messages that give way; one sees only their sum, since they queue.

        A packet that is leaving counts whole, and so does its time: 30 ms at 0.4 Mbit/s.
        """
        looked_s = until_s = self._looked_s
        carried, grants = 0.0, 0
        waiting: list[tuple[BackgroundTransfer, float, int]] = []
        for message, left_bytes, counted in self._watched:
            if message.ended_s <= now_s:
                carried += left_bytes - message.remaining_bytes
                grants += message.grants - counted
                until_s = max(until_s, message.ended_s, message.left_s)
            else:
                still_left = self._link.unsent_bytes(message)
                carried += left_bytes - still_left
                grants += message.grants - counted
                until_s = max(until_s, now_s, message.left_s)
                waiting.append((message, still_left, message.grants))
        self._watched = waiting
        seconds = until_s - looked_s - self._own_s
        if self.unobserved:  # one is under way
            seconds -= max(0.0, until_s - max(looked_s, self.unobserved[0].enqueued_s))
        self._looked_s, self._own_s = until_s, 0.0
        if seconds > 0.0 or carried > 0.0:
            self.add(carried, seconds, until_s, grants)

    def add(self, size_bytes: float, seconds: float, at_s: float, grants: int) -> None:
        """Bytes have left in some seconds of the link's time, until `at_s`, in grants of their own."""
        if size_bytes >= SAMPLE_BYTES and seconds > 2.0 * ACCESS_S:  # more than what waits could add to it
            self._bytes = self._seconds = 0.0
            self._messages = self._grants = 0
        if self._messages == 0:
            self._since_s = at_s - seconds
        self._messages += 1
        self._bytes += size_bytes
        self._grants += grants
        if (
            seconds > CLOCK_TOLERANCE_S
        ):  # otherwise they have left in the room of a grant that has been counted
            self._seconds += seconds
        if (
            (self._bytes >= SAMPLE_BYTES and self._seconds >= LEAST_S)
            or self._seconds >= SAMPLE_S
            or at_s - self._since_s >= SPAN_S
        ) and self._seconds > 0.0:
            self._sample(at_s)

    def _sample(self, at_s: float) -> None:
        """Tell the estimator, unless what it believes explains the sample as well."""
        size_bytes, seconds, grants = self._bytes, self._seconds, self._grants
        access_s, granted_s = self._messages * ACCESS_S, self._messages * self._grant_s
        self._bytes = self._seconds = 0.0
        self._messages = self._grants = 0
        estimator = self._estimator
        if size_bytes <= 0.0 or (
            self._grant_s and not grants
        ):  # less than a packet has left, or no grant has come
            self._stalled_s = seconds = self._stalled_s + seconds
            size_bytes = self._usual_bytes
            believed_bps = estimator.estimate_bps()
            if believed_bps is not None and believed_bps * seconds <= 8.0 * size_bytes:
                self.learnt_s = at_s
                return
        else:
            self._stalled_s = 0.0
            if grants:
                carried = max(size_bytes / grants, PACKET_BYTES)
                seen = self._granted_before  # a plain mean at first
                self._granted_before = min(seen + grants, USUAL_GRANTS)
                weight = max(grants / (seen + grants), 1.0 / USUAL_GRANTS)
                self._usual_bytes += weight * (carried - self._usual_bytes)
        if seconds > 2.0 * access_s:
            self.learnt_s = at_s
        else:
            bits = 8.0 * size_bytes
            most_s, least_s = seconds + granted_s, seconds - access_s
            believed_bps = estimator.estimate_bps()
            if believed_bps is None or believed_bps * most_s * AGREEMENT < bits:
                seconds = most_s
            elif believed_bps * least_s <= bits * AGREEMENT:
                return
            else:
                seconds = least_s
            self._doubt = True
        if self._elapse is not None:
            self._elapse(at_s - self._sampled_s)
        self._sampled_s = at_s
        if self._covers is not None and self._grant_s:
            self._covers(grants)
        estimator.observe(size_bytes, seconds)
