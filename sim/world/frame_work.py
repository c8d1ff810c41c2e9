"""A frame's work on devices: what the edge and the server do for it, booked on its account."""

from __future__ import annotations

import math
from typing import TypeAlias

from simpy.events import Event, Timeout

from sim.physics.events import Unanswered
from sim.records.account import FrameAccount
from sim.world.awaited import Awaited
from sim.world.camera_world import CameraWorld
from sim.world.codec_lane import CodecLane
from sim.world.contract import wrong_service

Awaitable: TypeAlias = Event
INFINITE_S = math.inf


class FrameWork:
    """What a frame may ask of its camera's edge, of the server, and of the codecs beside them.

    Args:
        camera: what the frame shares with the other frames of its camera.
    """

    __slots__ = (
        "_give_up_s",
        "account",
        "asked",
        "camera",
        "cloud",
        "edge",
        "env",
        "on_trace",
        "patience_s",
    )

    def __init__(self, camera: CameraWorld) -> None:
        self.camera = camera
        self.env = camera.env
        self.edge, self.cloud = camera.edge, camera.cloud
        self.on_trace = camera.on_trace
        self.patience_s = camera.patience_s
        self.account = FrameAccount()
        self.asked = Awaited()
        self._give_up_s = 0.0

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

    def _unanswered(self, why: str) -> Awaitable:
        return Unanswered(self.env, max(0.0, self._give_up_s - self.env.now), why)
