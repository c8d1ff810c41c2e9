"""The simulated world as one camera's system sees it: things to ask for, each answered by an event.

A system yields what these methods return and is resumed when the work is done. The world books time and
bytes on the frame's ledger, so that a system contains decisions only. Time passes in the simulation;
what is computed on pixels is computed by the system, at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from simpy import Environment
from simpy.events import AnyOf, Event, Timeout

from profiler.latency import Profile
from sim.physics.estimators import MIN_BYTES, BandwidthEstimator
from sim.physics.events import Answer, Unanswered
from sim.physics.link import Link, Transfer, Trickle
from sim.physics.processor import Processor, operators
from sim.records.ledger import Ledger

Awaitable: TypeAlias = Event
Process: TypeAlias = Generator[Event, Any, Any]
PATIENCE_S = 5.0


class Noise:
    """Where service times get their scatter: uniform numbers, drawn in batches for speed."""

    __slots__ = ("_batch", "_rng")

    def __init__(self, rng: np.random.Generator | None) -> None:
        self._rng = rng
        self._batch: list[float] = []

    def uniform(self) -> float:
        """The next number in [0, 1); always 0.5 where there is no generator (deterministic runs)."""
        if self._rng is None:
            return 0.5
        if not self._batch:
            self._batch = self._rng.random(1024).tolist()
        return self._batch.pop()


@dataclass(frozen=True, slots=True)
class Device:
    """A processor and how long a model takes on it.

    Args:
        processor: its queue.
        profile: its latency model.
        noise: samples the profile's residuals; None gives the model's own curve.
    """

    processor: Processor
    profile: Profile
    noise: Noise | None = None

    def sparse_s(self, blocks: int) -> float:
        """Time of one sparse inference over `blocks` blocks."""
        if self.noise is None:
            return self.profile.sparse_s(blocks)
        return self.profile.sample_s(blocks, self.noise.uniform())

    def extract_s(self) -> float:
        """Time of motion search and classification; 0 where the profile has none."""
        if self.noise is None:
            return self.profile.extract_s or 0.0
        return self.profile.extract_sample_s(self.noise.uniform())

    def dense_s(self) -> float:
        """Time of one dense inference."""
        if self.noise is None:
            return self.profile.dense_s
        return self.profile.dense_sample_s(self.noise.uniform())


class CameraWorld:
    """One camera, its edge device, the links it shares and the server it shares.

    Remote steps raise :class:`~sim.physics.events.Unreachable` in the system when the answer to a frame has not come
    `patience_s` after its first byte was sent; a system that knows better catches it.
    """

    __slots__ = (
        "_before_remote",
        "_give_up_s",
        "_refreshing",
        "_unobserved",
        "cloud",
        "downlink",
        "edge",
        "env",
        "estimator",
        "last_observed_s",
        "ledger",
        "on_trace",
        "patience_s",
        "refresh_operators",
        "uplink",
    )

    def __init__(
        self,
        env: Environment,
        edge: Device,
        cloud: Device,
        uplink: Link,
        downlink: Link,
        estimator: BandwidthEstimator,
        patience_s: float = PATIENCE_S,
        refresh_operators: int = 100,
        on_trace: Callable[[int, str, str, float, float], None] | None = None,
    ) -> None:
        self.env = env
        self.edge = edge
        self.cloud = cloud
        self.uplink = uplink
        self.downlink = downlink
        self.estimator = estimator
        self.patience_s = patience_s
        self.refresh_operators = refresh_operators
        self.on_trace = on_trace  # (frame, track, what, began_s, ended_s), for timelines
        self.ledger = Ledger()
        self.last_observed_s = 0.0
        self._give_up_s = 0.0
        self._before_remote = (0.0, 0.0, 0.0, 0.0)
        self._refreshing: list[Processor] = []  # where this camera's dense refresh waits or runs
        # Transfers whose end the edge has not seen yet; a system that never asks keeps the newest.
        self._unobserved: deque[Transfer] = deque(maxlen=64)

    @property
    def now_s(self) -> float:
        """The current time."""
        return float(self.env.now)

    def open(self, frame: int, captured_s: float) -> None:
        """Begin a frame's account."""
        self.ledger.open(frame, captured_s, self.env.now)
        self._give_up_s = 0.0

    def bandwidth_bps(self) -> float | None:
        """What the estimator believes the uplink carries; noted on the frame's account."""
        while self._unobserved and self._unobserved[0].delivered_s <= self.env.now:
            transfer = self._unobserved.popleft()
            # From when it was handed to the link: what other cameras sent before it, the edge cannot tell.
            self.observe(transfer.size_bytes, transfer.delivered_s - transfer.enqueued_s)
        estimate_bps = self.estimator.estimate_bps()
        if estimate_bps is not None:
            self.ledger.bandwidth_estimate_bps = estimate_bps
        return estimate_bps

    def observe(self, size_bytes: float, seconds: float) -> None:
        """Tell the estimator of a transfer; what is too short to tell anything does not count as one."""
        if size_bytes >= MIN_BYTES:
            self.last_observed_s = self.now_s
        self.estimator.observe(size_bytes, seconds)

    def probe(self, size_bytes: int) -> None:
        """Measure the uplink with a message without content that gives way to all others."""
        began_s = self.last_observed_s = self.now_s
        self.uplink.trickle(size_bytes, lambda: self.observe(size_bytes, self.now_s - began_s), lambda: None)

    # -- work on the edge ---------------------------------------------------------------------------

    def extract(self) -> Awaitable:
        """Motion search and miss classification, for all references together (the papers' τ_wait)."""
        return self._on_edge("extract", self.edge.extract_s())

    def encode(self, blocks: int) -> Awaitable | None:
        """Encode a payload of `blocks` blocks; None where the profile gives encoding no time."""
        service_s = self.edge.profile.encoding_s(blocks)
        return self._on_edge("encode", service_s) if service_s > 0.0 else None

    def infer_edge(self, blocks: int) -> Awaitable:
        """Sparse inference over `blocks` blocks on the edge."""
        return self._on_edge("compute", self.edge.sparse_s(blocks))

    def infer_edge_dense(self, share: float = 1.0) -> Awaitable:
        """Dense inference on the edge, or the given share of it (the front of a split network)."""
        return self._on_edge("compute", share * self.edge.dense_s())

    def work_edge(self, service_s: float) -> Awaitable:
        """Any other work on the edge that belongs to inference."""
        return self._on_edge("compute", service_s)

    def _on_edge(self, kind: str, service_s: float) -> Awaitable:
        now_s = self.env.now
        slot = self.edge.processor.reserve(service_s)
        ledger = self.ledger
        ledger.queue_s += slot.began_s - now_s
        if kind == "compute":
            ledger.edge_compute_s += service_s
        elif kind == "extract":
            ledger.extract_s += service_s
        else:
            ledger.encode_s += service_s
        if self.on_trace is not None:
            self.on_trace(ledger.frame, "edge", kind, slot.began_s, slot.ended_s)
        return Timeout(self.env, slot.ended_s - now_s)

    # -- work in the cloud --------------------------------------------------------------------------

    def infer_cloud(self, blocks: int) -> Awaitable:
        """Sparse inference over `blocks` blocks on the server."""
        return self._on_cloud(self.cloud.sparse_s(blocks))

    def infer_cloud_dense(self, share: float = 1.0) -> Awaitable:
        """Dense inference on the server, or the given share of it."""
        return self._on_cloud(share * self.cloud.dense_s())

    def _on_cloud(self, service_s: float) -> Awaitable:
        now_s = self.env.now
        processor = self.cloud.processor
        slot = processor.reserve(service_s)
        if self._give_up_s == 0.0:
            self._give_up_s = now_s + self.patience_s
        if slot.ended_s > self._give_up_s or (processor.crashes_s and processor.loses(slot)):
            return self._unanswered(f"{processor.name} did not finish")
        ledger = self.ledger
        ledger.queue_s += slot.began_s - now_s
        ledger.cloud_compute_s += service_s
        if self.on_trace is not None:
            self.on_trace(ledger.frame, "cloud", "compute", slot.began_s, slot.ended_s)
        return Timeout(self.env, slot.ended_s - now_s)

    # -- messages -----------------------------------------------------------------------------------

    def send(self, size_bytes: int) -> Awaitable:
        """Send a critical message up; resumes when it has reached the server."""
        ledger = self.ledger
        if self._give_up_s == 0.0:
            now_s = self.env.now
            self._give_up_s = now_s + self.patience_s
            ledger.uplink_enqueued_s = now_s
            self._before_remote = (now_s, ledger.queue_s, ledger.transmit_s, ledger.cloud_compute_s)
        ledger.uplink_bytes += size_bytes
        return self.uplink.send(size_bytes, self._give_up_s, self._book_uplink)

    def reply(self, size_bytes: int) -> Awaitable:
        """Send a result down; resumes when it has reached the edge."""
        self.ledger.downlink_bytes += size_bytes
        return self.downlink.send(size_bytes, self._give_up_s, self._book_downlink)

    def give_up(self) -> None:
        """Book the time spent on a remote path that led nowhere as waiting."""
        ledger = self.ledger
        since_s, ledger.queue_s, ledger.transmit_s, ledger.cloud_compute_s = self._before_remote
        ledger.queue_s += self.env.now - since_s

    def true_arrival_s(self, size_bytes: int, after_s: float) -> float:
        """Seconds from now until a message sent `after_s` from now reaches the server: the true future."""
        now_s = self.env.now
        return (
            self.uplink.would_deliver_s(size_bytes, now_s + after_s) + self.uplink.conditions.delay_s - now_s
        )

    def notify(self, size_bytes: int, on_arrived: Callable[[], None]) -> None:
        """Send something down that no frame waits for."""
        event = self.downlink.send(size_bytes, math.inf, lambda _: None)
        assert event.callbacks is not None
        event.callbacks.append(lambda _: on_arrived())

    def deliver_spare(
        self, size_bytes: int, on_arrived: Callable[[], bool], patience_s: float
    ) -> Generator[Any, Any, bool]:
        """Send a message that gives way, and wait for the far side's word that it was of use.

        `on_arrived` runs on the far side and says whether it was. Returns False once nothing has moved for
        `patience_s`: a slow link may take longer, as long as it carries something.
        """
        answer = Answer(self.env)

        def arrived() -> None:
            if on_arrived():
                self.notify(0, lambda: answer.succeed_once(0.0))

        began_s = self.now_s
        trickle = self.uplink.trickle(size_bytes, lambda: None, arrived)
        unsent_bytes = math.inf
        while not answer.settled and (left_bytes := self.uplink.unsent_bytes(trickle)) < unsent_bytes:
            unsent_bytes = left_bytes
            yield AnyOf(self.env, [answer, Timeout(self.env, patience_s)])
        self.uplink.cancel(trickle)
        if answer.settled and self.estimator.estimate_bps() is None:  # all that is known of the uplink yet
            delays_s = self.uplink.conditions.delay_s + self.downlink.conditions.delay_s
            self.observe(size_bytes, self.now_s - began_s - delays_s)
        return answer.settled

    def trickle(
        self, size_bytes: int, on_sent: Callable[[], None], on_arrived: Callable[[], None]
    ) -> Trickle:
        """Send an opportunistic message up; see :meth:`sim.physics.link.Link.trickle`."""
        if self.on_trace is not None:
            on_sent = self._traced("uplink opportunistic", "blocks", on_sent)
        return self.uplink.trickle(size_bytes, on_sent, on_arrived)

    def _traced(self, track: str, what: str, then: Callable[[], None]) -> Callable[[], None]:
        """`then`, after noting a span from now until it runs."""
        began_s, frame = self.now_s, self.ledger.frame

        def ended() -> None:
            assert self.on_trace is not None
            self.on_trace(frame, track, what, began_s, self.now_s)
            then()

        return ended

    def _book_uplink(self, transfer: Transfer) -> None:
        self._unobserved.append(transfer)
        ledger = self.ledger
        ledger.uplink_delivered_s = delivered_s = transfer.delivered_s
        ledger.queue_s += transfer.began_s - transfer.enqueued_s
        ledger.transmit_s += delivered_s - transfer.began_s + self.uplink.conditions.delay_s
        if self.on_trace is not None:
            self.on_trace(ledger.frame, "uplink", "message", transfer.began_s, delivered_s)

    def _book_downlink(self, transfer: Transfer) -> None:
        ledger = self.ledger
        ledger.queue_s += transfer.began_s - transfer.enqueued_s
        ledger.transmit_s += transfer.delivered_s - transfer.began_s + self.downlink.conditions.delay_s
        if self.on_trace is not None:
            self.on_trace(ledger.frame, "downlink", "message", transfer.began_s, transfer.delivered_s)

    # -- beside the critical path -------------------------------------------------------------------

    def spawn(self, process: Process) -> None:
        """Run a process of its own beside the frame's; it must not touch the frame's account."""
        self.env.process(process)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something after a while."""
        timer = Timeout(self.env, seconds)
        assert timer.callbacks is not None
        timer.callbacks.append(lambda _: call())

    def refresh_edge(self, on_begun: Callable[[], None], on_done: Callable[[], None]) -> None:
        """Queue a dense refresh on the idle edge, unless this camera has one there."""
        self._refresh(self.edge, on_begun, on_done)

    def refresh_cloud(self, on_begun: Callable[[], None], on_done: Callable[[], None]) -> None:
        """Queue a dense refresh on the idle server, unless this camera has one there."""
        self._refresh(self.cloud, on_begun, on_done)

    def _refresh(self, device: Device, on_begun: Callable[[], None], on_done: Callable[[], None]) -> None:
        processor = device.processor
        if processor in self._refreshing:
            return
        self._refreshing.append(processor)

        finish = on_done

        def begun() -> None:
            nonlocal finish
            if self.on_trace is not None:
                side = "edge" if device is self.edge else "cloud"
                finish = self._traced(f"{side} background", "refresh", on_done)
            on_begun()

        def done() -> None:
            self._refreshing.remove(processor)
            finish()

        def lost() -> None:
            self._refreshing.remove(processor)

        processor.refresh(operators(device.dense_s(), self.refresh_operators), done, begun, lost)

    def _unanswered(self, why: str) -> Awaitable:
        return Unanswered(self.env, max(0.0, self._give_up_s - self.env.now), why)
