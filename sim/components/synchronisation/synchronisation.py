"""Edge and server in step: the proxy of the server's image, epochs, what happens when the server is lost.

An epoch begins with a whole frame; every message builds on the ones before it of its epoch. The edge applies
what it sends to its proxy of the server's image, so that both are equal once everything has arrived.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sim.components.blocks import BlockContent, Classifier, Match, Message, SharedImage
from sim.components.message_sizes import NOTICE_BYTES
from sim.components.synchronisation.answer_time import AnswerTime
from sim.components.synchronisation.server_half import ServerHalf
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld


@dataclass(slots=True, eq=False)
class Synchronisation:
    """What the edge knows of the server's state, and how it gets back to knowing it.

    Args:
        content: encodes whole frames.
        proxy: the edge's copy of the server's image.
        server: the far side.
        refresh: whether the server refreshes its features densely in the background.
        answers: how long they take, and may take.
    """

    content: BlockContent
    proxy: SharedImage
    server: ServerHalf
    refresh: bool
    answers: AnswerTime
    epoch: int = -1
    synchronised: bool = False
    newest: Frame | None = None  # what a resynchronisation sends
    _matched_epoch: int = -1  # whose image the frame at hand was searched in

    @property
    def begun(self) -> bool:
        """Whether the first frame has been sent."""
        return self.epoch >= 0

    @property
    def reachable(self) -> bool:
        """Whether the server has the image that the frame was searched in.

        A resynchronisation that ends between search and decision replaces it: too late for this frame.
        """
        return self.synchronised and self._matched_epoch == self.epoch

    def match(self, frame: Frame, classify: Classifier | None = None) -> Match:
        """Search a frame in the proxy; see :meth:`BlockReference.match`."""
        found = self.proxy.match(frame, classify)
        self._matched_epoch = self.epoch if self.synchronised else -1
        return found

    def begin(self, frame: Frame) -> Message:
        """The first epoch's message: the whole frame."""
        self.epoch = 0
        return self.content.whole_message(frame, self.epoch)

    # -- the server's dense refresh -----------------------------------------------------------------

    def refresh_server(self, world: FrameWorld) -> None:
        """Queue the server's dense refresh if anything is new; the edge learns of its end by a notice."""
        server = self.server
        if not self.refresh or server.image.version <= server.refreshed_version:
            return
        version, epoch = -1, -1

        def on_begun() -> None:
            nonlocal version, epoch
            version, epoch = server.image.version, server.epoch
            server.features.begin_refresh(server.image)

        def on_done() -> None:
            if server.epoch == epoch:
                server.refreshed_version = max(version, server.refreshed_version)  # a dense answer's is newer
                server.image.clean(version)
                server.features.end_refresh()
                world.notify(NOTICE_BYTES, lambda: self._on_notice(version, epoch))
            self.refresh_server(world)

        world.refresh_cloud(on_begun, on_done)

    def _on_notice(self, version: int, epoch: int) -> None:
        if epoch == self.epoch:
            self.proxy.clean(version)

    # -- losing the server, and finding it again ----------------------------------------------------

    def start_over(self, world: FrameWorld) -> None:
        """The server is lost: send it the newest frame whole, beside everything else."""
        self.synchronised = False
        world.spawn(self._resynchronise(world))

    def _resynchronise(self, world: FrameWorld) -> Generator[Any, Any, None]:
        """Send the newest frame whole, as traffic that gives way, until the server has it."""
        while not self.synchronised:
            self.epoch += 1
            assert self.newest is not None
            message = self.content.whole_message(self.newest, self.epoch, inferred=False)
            self.synchronised = yield from world.deliver_in_background(
                message.size_bytes,
                partial(self._receive_whole, message, world),
                self.answers.usual_s,  # beyond the way there and back
                self.content.payload.encoding_s(message, world),
            )
            if self.synchronised:
                self.content.payload.reconstruct(message, world)
                self.proxy.apply(message)

    def _receive_whole(self, message: Message, world: FrameWorld) -> bool:
        if world.cloud.processor.is_down() or self.server.receive(message, world) is None:
            return False
        self.content.payload.decode_beside(message, world)
        self.server.refreshed_version = 0
        self.refresh_server(world)
        return True
