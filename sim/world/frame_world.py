"""The simulated world as one frame's system sees it: things to ask for, each answered by an event.

A system yields what these methods return and is resumed when the work is done. The world books time and
bytes on the frame's account, so that a system contains decisions only. Time passes in the simulation;
what is computed on pixels is computed by the system, at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

from sim.physics.events import SharedEvent
from sim.physics.link import BackgroundTransfer, Transfer
from sim.world.camera_world import CameraWorld, Process
from sim.world.contract import checked_path, checked_size
from sim.world.frame_work import Awaitable, FrameWork


class FrameWorld(FrameWork):
    """One frame's account and give-up time; all else is its camera's.

    Remote steps raise :class:`~sim.physics.events.Unreachable` in the system when the answer to a frame has
    not come `patience_s` after its first byte was sent; a system that knows better catches it.

    Args:
        camera: what the frame shares with the other frames of its camera.
    """

    __slots__ = ("_before_remote", "_learn", "downlink", "uplink")

    def __init__(self, camera: CameraWorld) -> None:
        super().__init__(camera)
        self.uplink, self.downlink = camera.uplink, camera.downlink
        self._learn = camera.meter.book
        self._before_remote = (0.0, 0.0, 0.0, 0.0, 0.0)

    @property
    def now_s(self) -> float:
        """The current time."""
        return float(self.env.now)

    def open(self, frame: int, captured_s: float) -> None:
        """Begin a frame's account."""
        self.account.open(frame, captured_s, self.env.now)
        self.camera.newest_frame = frame
        asked = self.asked
        asked.last = None
        if asked.open:
            asked.open.clear()
        self._give_up_s = 0.0

    def bandwidth_bps(self) -> float | None:
        """What the estimator believes the uplink carries; noted on the frame's account."""
        estimate_bps = self.camera.bandwidth_bps()
        if estimate_bps is not None:
            self.account.bandwidth_estimate_bps = estimate_bps
        return estimate_bps

    def decided(
        self,
        path: str,
        active: int,
        blocks: int,
        latency_s: float = math.nan,
        ea: float = math.nan,
        other_latency_s: float = math.nan,
        other_ea: float = math.nan,
    ) -> None:
        """Note what was believed when the frame's path was chosen, for frames.parquet; the last call counts.

        `blocks` of `active` ones are to be processed; latencies count from capture, NaN is "not expected".
        """
        code = checked_path(path)
        self.account.belief = (code, active, blocks, latency_s, ea, other_latency_s, other_ea)

    # -- messages -----------------------------------------------------------------------------------

    def send(self, size_bytes: int) -> Awaitable:
        """Send a critical message up; resumes when it has reached the server."""
        if size_bytes.__class__ is not int or size_bytes < 0:
            size_bytes = checked_size(size_bytes)
        account = self.account
        if self._give_up_s == 0.0:
            now_s = self.env.now
            self._give_up_s = now_s + self.patience_s
            account.uplink_enqueued_s = now_s
            self._before_remote = (
                now_s,
                account.queue_s,
                account.transmit_s,
                account.cloud_compute_s,
                account.decode_s,
            )
        account.uplink_bytes += size_bytes
        given_up = self.camera.activity.sent  # what no frame waits for any more is on no account
        event = self.uplink.send(size_bytes, self._give_up_s, self._book_uplink, given_up)
        asked = self.asked  # written out in each, for speed
        if (last := asked.last) is not None and last.callbacks is not None:
            asked.look_again(last)
        asked.last = event
        return event

    def reply(self, size_bytes: int) -> Awaitable:
        """Send a result down; resumes when it has reached the edge."""
        if size_bytes.__class__ is not int or size_bytes < 0:
            size_bytes = checked_size(size_bytes)
        self.account.downlink_bytes += size_bytes
        event = self.downlink.send(size_bytes, self._give_up_s, self._book_downlink)
        asked = self.asked  # written out in each, for speed
        if (last := asked.last) is not None and last.callbacks is not None:
            asked.look_again(last)
        asked.last = event
        return event

    def give_up(self) -> None:
        """Book the time spent on a remote path that led nowhere as waiting."""
        account = self.account
        since_s, account.queue_s, account.transmit_s, account.cloud_compute_s, account.decode_s = (
            self._before_remote
        )
        account.queue_s += self.env.now - since_s

    def true_arrival_s(self, size_bytes: int, after_s: float) -> float:
        """Seconds from now until a message sent `after_s` from now reaches the server: the true future."""
        now_s = self.env.now
        return (
            self.uplink.would_deliver_s(size_bytes, now_s + after_s) + self.uplink.conditions.delay_s - now_s
        )

    def _book_uplink(self, transfer: Transfer) -> None:
        self._learn(transfer)
        account = self.account
        if account.uplink_began_s == account.uplink_began_s:  # not NaN: the frame has sent something before
            self.camera.activity.up.extend((account.uplink_began_s, account.uplink_delivered_s, 0.0))
        account.uplink_began_s = transfer.began_s
        account.uplink_delivered_s = delivered_s = transfer.delivered_s
        account.queue_s += transfer.began_s - transfer.enqueued_s
        account.transmit_s += delivered_s - transfer.began_s + self.uplink.conditions.delay_s
        if self.on_trace is not None:
            self.on_trace(account.frame, "uplink", "message", transfer.began_s, delivered_s)

    def _book_downlink(self, transfer: Transfer) -> None:
        account = self.account
        if account.downlink_began_s == account.downlink_began_s:
            self.camera.activity.down.extend((account.downlink_began_s, account.downlink_delivered_s, 0.0))
        account.downlink_began_s = transfer.began_s
        account.downlink_delivered_s = transfer.delivered_s
        account.queue_s += transfer.began_s - transfer.enqueued_s
        account.transmit_s += transfer.delivered_s - transfer.began_s + self.downlink.conditions.delay_s
        if self.on_trace is not None:
            self.on_trace(account.frame, "downlink", "message", transfer.began_s, transfer.delivered_s)

    # -- beside the critical path: the camera's ----------------------------------------------------

    def observe(self, size_bytes: float, seconds: float) -> None:
        """Tell of a transfer that the world has not seen; see :meth:`CameraWorld.observe`."""
        self.camera.observe(size_bytes, seconds)

    def probe(self, size_bytes: int) -> None:
        """Measure the uplink with a message without content that gives way to all others."""
        self.camera.probe(size_bytes)

    def notify(self, size_bytes: int, on_arrived: Callable[[], None]) -> None:
        """Send something down that no frame waits for."""
        self.camera.notify(size_bytes, on_arrived)

    def send_background(
        self, size_bytes: int, on_sent: Callable[[], None], on_arrived: Callable[[], None]
    ) -> BackgroundTransfer:
        """Send an opportunistic message up; see :meth:`sim.physics.link.Link.send_background`."""
        return self.camera.send_background(self.account.frame, size_bytes, on_sent, on_arrived)

    def deliver_in_background(
        self, size_bytes: int, on_arrived: Callable[[], bool], patience_s: float, after_s: float = 0.0
    ) -> Generator[Any, Any, bool]:
        """Send a message that gives way, and wait; see :meth:`CameraWorld.deliver_in_background`."""
        return self.camera.deliver_in_background(size_bytes, on_arrived, patience_s, after_s)

    def spawn(self, process: Process) -> None:
        """Run a process of its own beside the frame's; what it asks, it asks of a view from :meth:`aside`.

        Unreachable, where the process does not catch it, ends it, and the run goes on; any other error ends
        the run.
        """
        self.camera.spawn(process)

    def aside(self) -> FrameWorld:
        """A view of the world for one exchange beside this frame, which may outlast it.

        It has an account and a give-up time of its own. Its work is critical work like a frame's. The bytes
        of its messages are added to this frame's row, whenever they are sent; its times are in no row.
        """
        view = _AsideWorld(self.camera)
        view.patience_s = self.patience_s
        view.account.open(self.account.frame, self.now_s, self.now_s)
        return view

    # -- frames of one input ------------------------------------------------------------------------

    def event(self) -> SharedEvent:
        """Something that frames of this camera can wait for, until one calls its `succeed` or `fail`."""
        return self.camera.event()

    def wait_for(self, event: SharedEvent) -> Awaitable:
        """Wait for an event from :meth:`event`; its value is what `yield` gives.

        The time is booked as waiting. If it cannot come because the video has ended before the frames of an
        input were complete, Unreachable is raised.
        """
        if event.callbacks is not None:
            since_s = self.env.now
            event.callbacks.append(lambda _: self._waited(since_s))
        return event

    def wait_turn(self, event: SharedEvent) -> Awaitable:
        """Wait on the edge for another frame to be through with what both work on; booked as waiting."""
        return FrameWorld.wait_for(self, event)

    def _waited(self, since_s: float) -> None:
        self.account.queue_s += self.env.now - since_s

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something after a while."""
        self.camera.later(seconds, call)

    def refresh_edge(
        self, on_begun: Callable[[], None], on_done: Callable[[], None], blocks: int | None = None
    ) -> None:
        """Queue a refresh on the idle edge, unless this camera has one there: dense, or of some blocks."""
        self.camera.refresh(self.edge, self._frame, on_begun, on_done, blocks)

    def refresh_cloud(self, on_begun: Callable[[], None], on_done: Callable[[], None]) -> None:
        """Queue a dense refresh on the idle server, unless this camera has one there."""
        self.camera.refresh(self.cloud, self._frame, on_begun, on_done)

    def _frame(self) -> int:
        return self.account.frame


class _AsideWorld(FrameWorld):
    """A view whose frame has a row of its own: only bytes are added to that."""

    __slots__ = ()

    def send(self, size_bytes: int) -> Awaitable:
        self.camera.book_aside(self.account.frame, size_bytes, 0)
        return super().send(size_bytes)

    def reply(self, size_bytes: int) -> Awaitable:
        self.camera.book_aside(self.account.frame, 0, size_bytes)
        return super().reply(size_bytes)

    def _book_uplink(self, transfer: Transfer) -> None:
        super()._book_uplink(transfer)
        self.account.uplink_began_s = math.nan  # no row will hold it
        self.camera.activity.sent(transfer)

    def _book_downlink(self, transfer: Transfer) -> None:
        super()._book_downlink(transfer)
        self.account.downlink_began_s = math.nan
        self.camera.activity.received(transfer)
