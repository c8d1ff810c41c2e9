"""The cloud path of a frame: blocks and vectors to the server, inference there, the result back.

A server that does not answer, or that has lost its state, is given up: what was under way is withdrawn, a
resynchronisation begins in the background, and `Unreachable` is raised for the system to fall back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sim.components.blocks import BlockContent, Match
from sim.components.message_sizes import NOTICE_BYTES, result_bytes
from sim.components.path_costs import PathCosts
from sim.components.synchronisation.opportunistic_sender import OpportunisticSender
from sim.components.synchronisation.synchronisation import Synchronisation
from sim.physics.events import Unreachable
from sim.records.outcome import RestsOn
from sim.world.frame import Frame
from sim.world.frame_work import Awaitable
from sim.world.frame_world import FrameWorld


class Served(NamedTuple):
    """What came back.

    Args:
        result: of the server's network; None where none runs.
        rests_on: the server's image as it was inferred; None where there are no pixels.
        computed: blocks that inference computed; all where it was dense.
        extrapolated: whether nobody has profiled so many.
    """

    result: Any
    rests_on: RestsOn | None
    computed: int
    extrapolated: bool


@dataclass(slots=True, eq=False)
class Offload:
    """Sends frames of one camera to its server half.

    Args:
        content: encodes them.
        state: of edge and server, which messages build on.
        costs: learns from every message what blocks weigh, from every reply how long it takes.
        sender: withdrawn when the server is given up.
        result_bytes: size of a result on the downlink; None: of the network's result.
    """

    content: BlockContent
    state: Synchronisation
    costs: PathCosts
    sender: OpportunisticSender
    result_bytes: int | None = None

    def blocks(
        self,
        frame: Frame,
        match: Match,
        k: int,
        densely: bool,
        world: FrameWorld,
        beside: Callable[[], None] | None = None,
    ) -> Generator[Any, Any, Served]:
        """The first k active blocks of a frame, and all vectors.

        Args:
            frame, match: the frame, searched in the proxy.
            k: how many blocks are sent.
            densely: whether the server infers everything.
            beside: called once the message is on its way.

        Raises:
            Unreachable: there was no answer; the server is being resynchronised.
        """
        state, payload = self.state, self.content.payload
        self.sender.withdraw(world)
        message = self.content.message(
            frame, match.active[:k], match, state.epoch, inferred=True, realign=True, against=state.proxy
        )
        self.costs.learn(message)
        encoding = payload.encode(message, world)
        if not encoding.processed:  # otherwise there is nothing to wait for
            yield encoding
        payload.reconstruct(message, world)
        builds_on = state.proxy.version
        state.proxy.apply(message)
        sent_s, answered = world.now_s, False
        self._be_patient(world)
        try:
            sending = world.send(message.size_bytes)
            if beside is not None:
                beside()
            yield sending
            decoding = payload.decode(message, world)
            if not decoding.processed:
                yield decoding
            if state.server.waits_for(message.epoch, builds_on, world):
                yield self._after_others(message.epoch, builds_on, sent_s, world)
            blocks = state.server.receive(message, world, densely=densely)
            result, rests_on = state.server.result, state.server.image.rests_on()
            computed = state.server.image.computed_blocks()[1] if message.data is not None else None
            state.server.take_early()
            if blocks is None:
                yield world.reply(NOTICE_BYTES)
                answered = True
                raise Unreachable("the server has lost its state")
            if world.account.shown is not None:
                world.account.shown.computed = computed
            if densely:
                state.server.refreshed_version = builds_on + 1  # nothing of it is left for a refresh
            yield world.infer_cloud_dense() if densely else world.infer_cloud(blocks)
            state.refresh_server(world)
            yield world.reply(result_bytes(self.result_bytes, result))
            self.costs.learn_reply(world.account)
            state.answers.learn(world.now_s - sent_s)
        except Unreachable:
            self._give_up(message.epoch, answered, world)
            raise
        if densely:
            return Served(result, rests_on, self.content.blocks_total, False)
        return Served(result, rests_on, blocks, world.cloud.profile.is_extrapolated(blocks))

    def first_frame(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Served]:
        """The first frame: whole, and inferred densely.

        Raises:
            Unreachable: there was no answer; the server is being synchronised in the background.
        """
        state, payload = self.state, self.content.payload
        message = state.begin(frame)
        self.costs.guess(message)
        yield payload.encode(message, world)
        payload.reconstruct(message, world)
        state.proxy.apply(message)
        sent_s = world.now_s
        self._be_patient(world)
        try:
            yield world.send(message.size_bytes)
            yield payload.decode(message, world)
            if state.server.receive(message, world) is None:
                raise Unreachable("the server is down")
            rests_on = state.server.image.rests_on()
            yield world.infer_cloud_dense()
            state.server.refreshed_version = state.server.image.version
            yield world.reply(result_bytes(self.result_bytes, state.server.result))
            self.costs.learn_reply(world.account)
            state.answers.learn(world.now_s - sent_s)
        except Unreachable:
            world.give_up()
            state.answers.missed()
            state.start_over(world)
            raise
        state.synchronised = True
        return Served(state.server.result, rests_on, self.content.blocks_total, False)

    def _after_others(self, epoch: int, builds_on: int, sent_s: float, world: FrameWorld) -> Awaitable:
        """Wait on the server for the messages that one builds on, no longer than for any answer: one of them
        may have been given up."""
        before = world.event()

        def come() -> None:
            if not before.triggered:
                before.succeed(None)

        def late() -> None:
            if not before.triggered:
                before.fail(Unreachable("a message that this one builds on has not come"))

        self.state.server.in_turn(epoch, builds_on, come, world)
        world.later(max(0.0, sent_s + world.patience_s - world.now_s), late)
        return world.wait_for(before)

    def _be_patient(self, world: FrameWorld) -> None:
        """Have a frame that is about to be sent wait as long as its answer may take."""
        answers = self.state.answers
        answers.expect(world.uplink.conditions.delay_s + world.downlink.conditions.delay_s)
        world.patience_s = answers.wait_s

    def _give_up(self, epoch: int, answered: bool, world: FrameWorld) -> None:
        """Book the wait, and start over, unless a frame that was under way beside this one has done so.

        Args:
            epoch: of the frame's message.
            answered: whether the server has said that it has lost its state.
        """
        world.give_up()
        if self.state.synchronised and epoch == self.state.epoch:
            if not answered:
                self.state.answers.missed()
            self.sender.withdraw(world)
            self.state.start_over(world)
