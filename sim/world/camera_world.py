"""What belongs to a camera, whichever of its frames is under way: devices, links, estimate, background work.

The frames themselves see it through a :class:`~sim.world.frame_world.FrameWorld` each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

from simpy import Environment
from simpy.events import AnyOf, Event, Timeout

from sim.physics.estimators import BandwidthEstimator
from sim.physics.events import Answer, Happened, SharedEvent
from sim.physics.faults import Misbelief
from sim.physics.link import BackgroundTransfer, Link
from sim.physics.processor import Processor, operators
from sim.physics.radio import Activity
from sim.world.beside import driven, spawned
from sim.world.codec_lane import CodecLane
from sim.world.device import Device
from sim.world.uplink_meter import UplinkMeter

Process: TypeAlias = Generator[Event, Any, Any]
PATIENCE_S = 5.0


class CameraWorld:
    """One camera's edge device, the links it shares and the server it shares.

    Args:
        env: the clock.
        edge, cloud: the devices.
        uplink, downlink: the links.
        estimator: of the uplink's rate, the camera's own.
        patience_s: how long a frame waits for its answer after its first byte was sent.
        refresh_operators: equal steps of a dense refresh.
        codec_time: whether codecs take the time that the profiles give them; otherwise none.
        probe_s: how old knowledge of the uplink may grow before it is probed; None: for ever.
        misbelief: makes what schedulers are told of that rate wrong; None: it is not.
        on_trace: told (frame, track, what, began_s, ended_s), for timelines.
    """

    __slots__ = (
        "_refreshing",
        "activity",
        "book_aside",
        "cloud",
        "cloud_codecs",
        "downlink",
        "edge",
        "edge_codecs",
        "env",
        "estimator",
        "last_told",
        "meter",
        "misbelief",
        "newest_frame",
        "no_time",
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
        codec_time: bool = True,
        *,
        probe_s: float | None,
        misbelief: Misbelief | None = None,
    ) -> None:
        self.env = env
        self.edge = edge
        self.cloud = cloud
        self.uplink = uplink
        self.downlink = downlink
        self.estimator = estimator
        self.misbelief = misbelief
        self.patience_s = patience_s
        self.refresh_operators = refresh_operators
        self.on_trace = on_trace
        self.edge_codecs = CodecLane(edge.profile if codec_time else None)
        self.cloud_codecs = CodecLane(cloud.profile if codec_time else None)
        self.no_time = Happened(env)
        self.meter = UplinkMeter(env, uplink, estimator, probe_s, self._send_probe)
        # Told (frame, bytes up, bytes down) of messages sent beside a frame.
        self.book_aside: Callable[[int, int, int], None] = lambda frame, up, down: None
        self.newest_frame = 0  # that has been begun
        self.activity = Activity()  # of its radio
        self.last_told: SharedEvent | None = None  # what a frame has told the others last
        self._refreshing: list[Processor] = []  # where this camera's dense refresh waits or runs

    # -- the uplink's rate --------------------------------------------------------------------------

    def bandwidth_bps(self) -> float | None:
        """What the camera believes the uplink carries: what its estimator says by now, or a misbelief."""
        estimate_bps = self.meter.estimate_bps()
        if self.misbelief is None:
            return estimate_bps
        return self.misbelief.told_bps(float(self.env.now), estimate_bps)

    def observe(self, size_bytes: float, seconds: float) -> None:
        """Tell the meter of bytes that left otherwise than by this world's messages."""
        self.meter.observe(size_bytes, seconds)

    def probe(self, size_bytes: int) -> None:
        """Measure the uplink with a message without content that gives way to all others."""
        self.meter.probe(size_bytes)

    # -- messages that no frame waits for -----------------------------------------------------------

    def notify(self, size_bytes: int, on_arrived: Callable[[], None]) -> None:
        """Send something down that no frame waits for."""
        event = self.downlink.send(size_bytes, math.inf, self.activity.noticed)
        assert event.callbacks is not None
        event.callbacks.append(lambda _: on_arrived())

    def deliver_in_background(
        self, size_bytes: int, on_arrived: Callable[[], bool], patience_s: float, after_s: float = 0.0
    ) -> Generator[Any, Any, bool]:
        """Send a message that gives way, and wait for the far side's word that it was of use.

        `on_arrived` runs on the far side and says whether it was. Returns False if the link carries none of
        it for `patience_s` or, once all of it has left, no word comes for as long beyond the way there and
        back. What has left in part is waited for, whatever the link does: to begin again would cost that
        part, and on a link whose packets are further apart than the patience nothing would ever arrive.
        `after_s` is how long the message takes to be made.
        """
        if after_s > 0.0:
            yield Timeout(self.env, after_s)
        left, answer = Answer(self.env), Answer(self.env)

        def arrived() -> None:
            if on_arrived():
                self.notify(0, lambda: answer.succeed_once(0.0))

        transfer = self._give_way(size_bytes, lambda: left.succeed_once(0.0), arrived)
        while not left.settled:
            yield AnyOf(self.env, [left, Timeout(self.env, patience_s)])
            if not left.settled and self.uplink.unsent_bytes(transfer) >= size_bytes:
                self.uplink.cancel(transfer)
                return False
        around_s = self.uplink.conditions.delay_s + self.downlink.conditions.delay_s
        yield AnyOf(self.env, [answer, Timeout(self.env, patience_s + around_s)])
        return answer.settled

    def send_background(
        self, frame: int, size_bytes: int, on_sent: Callable[[], None], on_arrived: Callable[[], None]
    ) -> BackgroundTransfer:
        """Send an opportunistic message up for a frame; see :meth:`Link.send_background`."""
        if self.on_trace is not None:
            on_sent = self._traced(frame, "uplink opportunistic", "blocks", on_sent)
        return self._give_way(size_bytes, on_sent, on_arrived, frame)

    def _give_way(
        self,
        size_bytes: int,
        on_sent: Callable[[], None],
        on_arrived: Callable[[], None],
        frame: int | None = None,
    ) -> BackgroundTransfer:
        """Send a message that gives way; what leaves of it is booked beside a frame (None: the newest)."""
        beside = self.newest_frame if frame is None else frame
        message = self.uplink.send_background(
            size_bytes, on_sent, on_arrived, self.activity.opportunistic, beside
        )
        self.meter.watch(message)
        return message

    def _send_probe(self, size_bytes: int) -> None:
        """Send bytes without content that give way to all others; booked beside the newest frame."""
        self._give_way(size_bytes, lambda: None, lambda: None)

    def _traced(self, frame: int, track: str, what: str, then: Callable[[], None]) -> Callable[[], None]:
        """`then`, after noting a span from now until it runs."""
        began_s = float(self.env.now)

        def ended() -> None:
            assert self.on_trace is not None
            self.on_trace(frame, track, what, began_s, float(self.env.now))
            then()

        return ended

    # -- work that no frame waits for ---------------------------------------------------------------

    def spawn(self, process: Process) -> None:
        """Run a process of its own beside the frames'; see :func:`sim.world.beside.driven`."""
        self.env.process(driven(spawned(process)))

    def event(self) -> SharedEvent:
        """Something that frames can wait for; see :meth:`FrameWorld.event`."""
        return SharedEvent(self.env, self._told)

    def _told(self, event: SharedEvent) -> None:
        self.last_told = event

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something after a while."""
        timer = Timeout(self.env, seconds)
        assert timer.callbacks is not None
        timer.callbacks.append(lambda _: call())

    def refresh(
        self,
        device: Device,
        frame: Callable[[], int],
        on_begun: Callable[[], None],
        on_done: Callable[[], None],
        blocks: int | None = None,
    ) -> None:
        """Queue a refresh on an idle device, unless this camera has one there.

        Args:
            device: the edge or the cloud.
            frame: the number of the frame under way, for timelines.
            blocks: how many blocks sparse inference computes; None: dense inference.
            on_begun, on_done: told when it begins and ends; a crash in between swallows `on_done`.
        """
        processor = device.processor
        if processor in self._refreshing:
            return
        self._refreshing.append(processor)

        finish = on_done

        def begun() -> None:
            nonlocal finish
            if self.on_trace is not None:
                side = "edge" if device is self.edge else "cloud"
                finish = self._traced(frame(), f"{side} background", "refresh", on_done)
            on_begun()

        def done() -> None:
            self._refreshing.remove(processor)
            finish()

        def lost() -> None:
            self._refreshing.remove(processor)

        processor.refresh(
            operators(
                device.dense_s() if blocks is None else device.sparse_s(blocks), self.refresh_operators
            ),
            done,
            begun,
            lost,
        )
