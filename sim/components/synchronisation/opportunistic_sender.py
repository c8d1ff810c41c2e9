"""Opportunistic traffic: active blocks on the idle uplink while the edge computes (FluxShard, §4.4).

Its messages take their time to be encoded: one after another from the moment the edge begins to compute, so
that a chunk leaves once it is encoded and the one before it has left. This is background work on the codec's
thread: it does not hold up what is encoded for a frame, and what is withdrawn is encoded no further. On the
server nobody waits for what arrives to be decoded; the camera's thread there is busy with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from sim.components.blocks import Match
from sim.components.message_sizes import NOTICE_BYTES
from sim.components.synchronisation.synchronisation import Synchronisation
from sim.physics.link import BackgroundTransfer
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld

LEAST_BYTES = 24_000.0  # of a frame's opportunistic blocks, whatever the bandwidth is believed to be


@dataclass(slots=True, eq=False)
class OpportunisticSender:
    """Sends one frame's blocks in chunks, one after another, until it is told to stop.

    Args:
        state: of edge and server; messages build on it.
        chunk_blocks: blocks of one message; a smaller one loses less when it is withdrawn.
    """

    state: Synchronisation
    chunk_blocks: int
    _under_way: BackgroundTransfer | None = None
    _encoded_s: float = 0.0  # when the last chunk is encoded
    _encoding: object = None  # the chunk that waits for that

    def send(
        self,
        frame: Frame,
        remote: Match,
        blocks: Any,
        room_s: float,
        block_bytes: float,
        world: FrameWorld,
        *,
        realign: bool = True,
    ) -> None:
        """Queue blocks, as many as should be through in the time that there is, the first ones first.

        Never fewer than an estimator can learn from: an estimate that is too low, after an outage say, would
        otherwise keep every frame on the edge and never be corrected. What does not fit is withdrawn anyway.

        Args:
            frame, remote: the frame, searched in the proxy.
            blocks: flat indices, the most useful first.
            room_s: how long they may take; what has not left when the frame is done is withdrawn.
            block_bytes: what a block should take.
            realign: whether the server's image is still to be moved along the vectors.
        """
        room_bytes = LEAST_BYTES
        if (bandwidth_bps := world.account.bandwidth_estimate_bps) > 0.0:  # what the scheduler was told
            room_bytes = max(room_s * bandwidth_bps / 8.0, room_bytes)
        blocks = blocks[: int(room_bytes / max(block_bytes, 1.0))]
        self._encoded_s = world.now_s
        if len(blocks):
            self._send_chunk(frame, remote, blocks, 0, realign, world)

    def _send_chunk(
        self, frame: Frame, remote: Match, blocks: Any, start: int, realign: bool, world: FrameWorld
    ) -> None:
        """Send one chunk; the next one follows when it has left. The first may realign the server's image."""
        state, payload = self.state, self.state.content.payload
        stop = start + self.chunk_blocks
        message = state.content.message(
            frame,
            blocks[start:stop],
            remote,
            state.epoch,
            inferred=False,
            realign=realign,
            against=state.proxy,
        )

        builds_on = state.proxy.version

        def on_sent() -> None:
            self._under_way = None
            payload.reconstruct(message, world)
            state.proxy.apply(message)
            if stop < len(blocks):
                self._send_chunk(frame, remote, blocks, stop, False, world)

        def on_arrived() -> None:
            state.server.in_turn(
                message.epoch, builds_on, take, world
            )  # some frame's may still be being decoded

        def take() -> None:
            if world.cloud.processor.is_down():
                lost = partial(self._on_lost_state, message.epoch, world)
                world.later(state.answers.wait_s, lost)  # no acknowledgement comes
            elif state.server.receive(message, world) is None:
                world.notify(NOTICE_BYTES, partial(self._on_lost_state, message.epoch, world))
            else:
                payload.decode_beside(message, world)
                state.refresh_server(world)

        encode_s = payload.encoding_s(message, world)
        self._encoded_s += encode_s
        if encode_s == 0.0 or (wait_s := self._encoded_s - world.now_s) <= 0.0:
            self._under_way = world.send_background(message.size_bytes, on_sent, on_arrived)
            return

        def send_if_wanted() -> None:
            if self._encoding is message:
                self._encoding = None
                self._under_way = world.send_background(message.size_bytes, on_sent, on_arrived)

        self._encoding = message
        world.later(wait_s, send_if_wanted)

    def withdraw(self, world: FrameWorld) -> None:
        """Take back what has not left: it would be older than what the next message builds on."""
        while self._under_way is not None:
            transfer, self._under_way = self._under_way, None
            world.uplink.cancel(transfer)
        self._encoding = None

    def _on_lost_state(self, epoch: int, world: FrameWorld) -> None:
        """The server could not use a message: it has lost what that builds on."""
        if self.state.synchronised and epoch == self.state.epoch:
            self.withdraw(world)
            self.state.start_over(world)
