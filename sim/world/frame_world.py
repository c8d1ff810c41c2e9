"""The simulated world as one frame's system sees it: things to ask for, each answered by an event.

A system yields what these methods return and is resumed when the work is done. The world books time and
bytes on the frame's account, so that a system contains decisions only. Time passes in the simulation;
what is computed on pixels is computed by the system, at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

from simpy.events import Event, Timeout

from sim.physics.events import SharedEvent, Unanswered
from sim.physics.link import BackgroundTransfer, Transfer
from sim.records.account import FrameAccount
from sim.world.awaited import Awaited
from sim.world.camera_world import CameraWorld, Process
from sim.world.codec_lane import CodecLane
from sim.world.contract import checked_path, checked_size, wrong_service

Awaitable: TypeAlias = Event
INFINITE_S = math.inf


class FrameWorld:
    """One frame's account and give-up time; all else is its camera's.

    Remote steps raise :class:`~sim.physics.events.Unreachable` in the system when the answer to a frame has
    not come `patience_s` after its first byte was sent; a system that knows better catches it.

    Args:
        camera: what the frame shares with the other frames of its camera.
    """

    __slots__ = (
        "_before_remote",
        "_give_up_s",
        "_learn",
        "account",
        "asked",
        "camera",
        "cloud",
        "downlink",
        "edge",
        "env",
        "on_trace",
        "patience_s",
        "uplink",
    )

    def __init__(self, camera: CameraWorld) -> None:
        self.camera = camera
        self.env = camera.env
        self.edge, self.cloud = camera.edge, camera.cloud
        self.uplink, self.downlink = camera.uplink, camera.downlink
        self.on_trace = camera.on_trace
        self.patience_s = camera.patience_s
        self.account = FrameAccount()
        self._learn = camera.meter.book
        self.asked = Awaited()
        self._give_up_s = 0.0
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

    # -- work on the edge ---------------------------------------------------------------------------

    def extract(self) -> Awaitable:
        """Motion search and miss classification, for all references together (the papers' τ_wait)."""
        return self._on_edge("extract", self.edge.extract_s())

    def encode(self, codec: str, pixels: int, size_bytes: int) -> Awaitable:
        """Encode on the edge what takes so many pixels and so many bytes; see :mod:`sim.world.codec_lane`.

        The system encodes; this is the time that it takes: that of the profile, or none with
        `codec_time=none`, where the profile does not know the codec, and for no pixels.

        Args:
            codec: the name that profiles know it by: "jpeg", "png", "raw", "h264", …
            pixels: of the image or the blocks.
            size_bytes: of the message.
        """
        lane = self.camera.edge_codecs
        if not lane.timed:
            return self.camera.no_time
        return self._on_codec("edge", lane, "encode", lane.encoding_s(codec, pixels, size_bytes))

    def decode_edge(self, codec: str, pixels: int, size_bytes: int) -> Awaitable:
        """Decode on the edge, for what the server has sent down."""
        lane = self.camera.edge_codecs
        return self._on_codec("edge", lane, "decode", lane.decoding_s(codec, pixels, size_bytes))

    def reconstruct(self, codec: str, pixels: int, size_bytes: int) -> None:
        """Decode on the edge what has just been encoded there, to know what the far side will have.

        No frame waits for it; the codec's thread is busy with it.
        """
        lane = self.camera.edge_codecs
        if lane.timed:
            lane.reserve(float(self.env.now), lane.decoding_s(codec, pixels, size_bytes))

    def encoding_s(self, codec: str, pixels: float, size_bytes: float) -> float:
        """How long :meth:`encode` should take, waiting excluded."""
        return self.camera.edge_codecs.encoding_s(codec, pixels, size_bytes)

    def infer_edge(self, blocks: int) -> Awaitable:
        """Sparse inference over `blocks` blocks on the edge."""
        return self._on_edge("compute", self.edge.sparse_s(blocks))

    def infer_edge_dense(self, share: float = 1.0) -> Awaitable:
        """Dense inference on the edge, or the given share of it (the front of a split network)."""
        return self._on_edge("compute", share * self.edge.dense_s())

    def work_edge(self, service_s: float) -> Awaitable:
        """Any other work on the edge that belongs to inference."""
        return self._on_edge("compute", self.edge.taking_s(service_s))

    def _on_edge(self, kind: str, service_s: float) -> Awaitable:
        if not 0.0 <= service_s < INFINITE_S:
            raise wrong_service(service_s)
        now_s = self.env.now
        began_s, ended_s = self.edge.processor.reserve(service_s)
        account = self.account
        account.queue_s += began_s - now_s
        if kind == "compute":
            account.edge_compute_s += service_s
        else:
            account.extract_s += service_s
        if self.on_trace is not None:
            self.on_trace(account.frame, "edge", kind, began_s, ended_s)
        event = Timeout(self.env, ended_s - now_s)
        asked = self.asked  # written out in each, for speed
        if (last := asked.last) is not None and last.callbacks is not None:
            asked.look_again(last)
        asked.last = event
        return event

    def _on_codec(self, side: str, lane: CodecLane, way: str, service_s: float) -> Awaitable:
        """Have a codec thread work for the frame; nothing happens where that takes no time."""
        if service_s == 0.0:
            return self.camera.no_time
        if not 0.0 < service_s < INFINITE_S:
            raise wrong_service(service_s)
        now_s = self.env.now
        began_s, ended_s = lane.reserve(now_s, service_s)
        if side == "cloud" and ended_s > (self._give_up_s or INFINITE_S):
            return self._unanswered(f"the server did not {way}")
        account = self.account
        account.queue_s += began_s - now_s
        if way == "encode":
            account.encode_s += service_s
        else:
            account.decode_s += service_s
        if self.on_trace is not None:
            self.on_trace(account.frame, f"{side} codec", way, began_s, ended_s)
        event = Timeout(self.env, ended_s - now_s)
        asked = self.asked  # written out in each, for speed
        if (last := asked.last) is not None and last.callbacks is not None:
            asked.look_again(last)
        asked.last = event
        return event

    # -- work in the cloud --------------------------------------------------------------------------

    def decode(self, codec: str, pixels: int, size_bytes: int) -> Awaitable:
        """Decode on the server what has arrived; arguments as those of :meth:`encode`."""
        lane = self.camera.cloud_codecs
        if not lane.timed:
            return self.camera.no_time
        return self._on_codec("cloud", lane, "decode", lane.decoding_s(codec, pixels, size_bytes))

    def encode_cloud(self, codec: str, pixels: int, size_bytes: int) -> Awaitable:
        """Encode on the server, for what is sent down."""
        lane = self.camera.cloud_codecs
        return self._on_codec("cloud", lane, "encode", lane.encoding_s(codec, pixels, size_bytes))

    def decode_beside(self, codec: str, pixels: int, size_bytes: int) -> None:
        """Decode on the server what no frame waits for: the camera's thread there is busy with it."""
        lane = self.camera.cloud_codecs
        if lane.timed:
            lane.reserve(float(self.env.now), lane.decoding_s(codec, pixels, size_bytes))

    def decoding_s(self, codec: str, pixels: float, size_bytes: float) -> float:
        """How long :meth:`decode` should take, waiting excluded."""
        return self.camera.cloud_codecs.decoding_s(codec, pixels, size_bytes)

    def infer_cloud(self, blocks: int) -> Awaitable:
        """Sparse inference over `blocks` blocks on the server."""
        return self._on_cloud(self.cloud.sparse_s(blocks))

    def infer_cloud_dense(self, share: float = 1.0) -> Awaitable:
        """Dense inference on the server, or the given share of it."""
        return self._on_cloud(share * self.cloud.dense_s())

    def work_cloud(self, service_s: float) -> Awaitable:
        """Any other work on the server that the frame waits for."""
        return self._on_cloud(service_s)

    def _on_cloud(self, service_s: float) -> Awaitable:
        if not 0.0 <= service_s < INFINITE_S:
            raise wrong_service(service_s)
        now_s = self.env.now
        processor = self.cloud.processor
        reserved = processor.reserve(service_s)
        if self._give_up_s == 0.0:
            self._give_up_s = now_s + self.patience_s
        if reserved.ended_s > self._give_up_s or (processor.crashes_s and processor.loses(reserved)):
            return self._unanswered(f"{processor.name} did not finish")
        account = self.account
        account.queue_s += reserved.began_s - now_s
        account.cloud_compute_s += service_s
        if self.on_trace is not None:
            self.on_trace(account.frame, "cloud", "compute", reserved.began_s, reserved.ended_s)
        event = Timeout(self.env, reserved.ended_s - now_s)
        asked = self.asked  # written out in each, for speed
        if (last := asked.last) is not None and last.callbacks is not None:
            asked.look_again(last)
        asked.last = event
        return event

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

    def _unanswered(self, why: str) -> Awaitable:
        return Unanswered(self.env, max(0.0, self._give_up_s - self.env.now), why)

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
