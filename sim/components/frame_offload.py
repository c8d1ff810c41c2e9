"""Whole frames to the server: encode, send, decode, infer densely, reply.

Frames of a stream, each of which builds on the last, are encoded one after another and sent in that order;
one may be encoded as soon as the one before it is on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from profiler.latency import KEYFRAME
from sim.accuracy.network import NetworkInLoop
from sim.components.frame_encoders import EncodedFrame, FrameEncoder
from sim.components.message_chain import MessageChain
from sim.components.message_sizes import result_bytes
from sim.components.payload import Payload
from sim.components.turns import Turns
from sim.physics.events import Unreachable
from sim.records.outcome import Outcome
from sim.world.frame import Frame, FrameGeometry
from sim.world.frame_world import FrameWorld


@dataclass(slots=True, eq=False)
class FrameOffload:
    """One camera's whole frames on their way.

    Args:
        encoder: makes messages of frames.
        payload: what codes them.
        network: what the server infers with.
        geometry: size of the frames.
        result_bytes: size of a result on the downlink; None: of the network's result.
        prepare: called on the edge just before a stream's frame is encoded, in the order of encoding.
        sent: called when a stream's frame has been handed to the uplink.
    """

    encoder: FrameEncoder
    payload: Payload
    network: NetworkInLoop
    geometry: FrameGeometry
    result_bytes: int | None = None
    prepare: Callable[[Frame, FrameWorld], None] | None = None
    sent: Callable[[EncodedFrame, FrameWorld], None] | None = None
    _turns: Turns = field(default_factory=Turns)
    _chain: MessageChain = field(default_factory=MessageChain)
    _stream: bool = field(init=False)
    _pixels: int = field(init=False)

    def __post_init__(self) -> None:
        self._stream = self.encoder.builds_on_last
        self._pixels = self.geometry.height_px * self.geometry.width_px

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """One frame's way.

        Raises:
            Unreachable: its result never came.
        """
        if self._stream:
            return (yield from self._next_of_stream(frame, world))
        message = self.encoder.encode(frame)
        yield from self._encoding(message, world)
        yield world.send(message.size_bytes)
        return (yield from self._on_server(frame, message, world))

    def _next_of_stream(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        turn = yield from self._turns.take(world)
        try:
            if self.prepare is not None:
                self.prepare(frame, world)
            message = self.encoder.encode(frame)
            link = self._chain.append(message.keyframe)
            yield from self._encoding(message, world)
            sending = world.send(message.size_bytes)
            if self.sent is not None:
                self.sent(message, world)
        finally:
            turn.pass_on()
        try:
            yield sending
            yield from self._chain.arrive(link, world)
            if frame.image is not None:
                message.decoded()  # now: what the decoder is fed is what has arrived, in its order
            return (yield from self._on_server(frame, message, world))
        except Unreachable:
            if self._chain.broken_by(link):
                self.encoder.restart()
            raise

    def _encoding(self, message: EncodedFrame, world: FrameWorld) -> Generator[Any, Any, None]:
        encoding = world.encode(self._timed_as(message), self._pixels_of(message), message.size_bytes)
        if not encoding.processed:  # otherwise there is nothing to wait for
            yield encoding

    def _on_server(
        self, frame: Frame, message: EncodedFrame, world: FrameWorld
    ) -> Generator[Any, Any, Outcome]:
        decoding = world.decode(self._timed_as(message), self._pixels_of(message), message.size_bytes)
        if not decoding.processed:
            yield decoding
        result = self.network.dense(frame, message.decoded)
        yield world.infer_cloud_dense()
        yield world.reply(result_bytes(self.result_bytes, result))
        total = self.geometry.blocks_total
        rests_on = None if self.payload.lossless else message.decoded
        return Outcome(
            "cloud",
            total,
            total,
            0,
            active_cloud=total,
            result=result,
            rests_on=rests_on,
            computed=total,
            sent=total,
        )

    def _pixels_of(self, message: EncodedFrame) -> int:
        return self._pixels if message.coded_pixels is None else message.coded_pixels

    def _timed_as(self, message: EncodedFrame) -> str:
        return self.payload.codec + KEYFRAME if message.keyframe else self.payload.codec
