"""FluxShard: motion-guided reuse on both sides, and a scheduler that picks the side for each frame.

``fluxshard_ea`` is the system of "FluxShard: A Motion-Driven Framework for Distributed Real-Time Dense Video
Analytics": Algorithm 1 is :meth:`FluxShard.process`, Algorithm 2 is `fluxshard_server`. Where it is silent:

- the first frame is sent whole and inferred densely ("derived from a shared initialization point");
- blocks that arrive opportunistically are dirty until inference covers them;
- a refresh holds for the frames after it: the edge's from the next search on; the server's is taken along
  with the messages that overtook it, which costs no time here (their blocks once more, and the vectors);
- what of an opportunistic send has not left when the local result is out is withdrawn: later its content
  would be older than the frame that the next message builds on;
- a server that does not answer within `patience_s` is left alone until a whole frame has reached it again.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sim.content.interface import Content, Frame, Match, Message, Network, Reference, SharedImage
from sim.physics.estimators import MIN_BYTES
from sim.physics.events import Unreachable
from sim.physics.link import Trickle
from sim.records.ledger import Outcome
from sim.schedulers import (
    Decision,
    ExecutionPath,
    Observation,
    OracleScheduler,
    Scheduler,
    UplinkOracle,
    cloud_cost,
    edge_cost,
    regret,
)
from sim.systems.fluxshard_server import ServerHalf
from sim.systems.interface import RESULT_BYTES
from sim.systems.server_memory import NOTICE_BYTES
from sim.world.camera_world import CameraWorld
from traces.errors import InputError

PROBE_BYTES = 2 * MIN_BYTES  # what the bandwidth can be learnt from
BYTES_MEMORY = 0.2  # weight of the newest message in the running mean of bytes a block


@dataclass(frozen=True, slots=True)
class FluxShardOptions:
    """The parts of the system, and its ablations.

    Args:
        opportunistic: send active blocks on the idle uplink while the edge computes.
        chunk_blocks: blocks of one opportunistic message; a smaller one loses less when it is withdrawn.
        probe_s: without opportunistic messages, how long the bandwidth may go unobserved before a message
            without content measures it; the papers do not say how it is known.
        refresh_edge, refresh_cloud: dense refresh in the background of either side.
        dense_fallback: infer the whole frame densely where that is worth more than sparse inference. The
            papers' executors cannot; with their own coefficients sparse inference over every block costs
            twice as much as dense.
        patience_s: how long an answer may take before the edge falls back to its own path.
        result_bytes: size of a result on the downlink.
    """

    opportunistic: bool = True
    chunk_blocks: int = 64
    probe_s: float = 2.0
    refresh_edge: bool = True
    refresh_cloud: bool = True
    dense_fallback: bool = False
    patience_s: float = 1.0
    result_bytes: int = RESULT_BYTES

    def __post_init__(self) -> None:
        if self.chunk_blocks < 1:
            raise InputError(f"system.chunk_blocks: expected at least 1 block, found {self.chunk_blocks}")
        if not self.probe_s > 0.0:
            raise InputError(f"system.probe_s: expected a time > 0 s, found {self.probe_s}")
        if not self.patience_s > 0.0:
            raise InputError(f"system.patience_s: expected a time > 0 s, found {self.patience_s}")
        if self.result_bytes < 0:
            raise InputError(f"system.result_bytes: expected >= 0 bytes, found {self.result_bytes}")


@dataclass(slots=True, eq=False)
class FluxShard:
    """One camera's FluxShard.

    Args:
        content: how frames are searched and encoded.
        scheduler: picks path and number of blocks.
        options: parts and ablations.
        regret_against: an oracle to report regret against; None reports none.
    """

    content: Content
    scheduler: Scheduler
    options: FluxShardOptions = FluxShardOptions()
    regret_against: OracleScheduler | None = None
    local: Reference = field(init=False)
    proxy: SharedImage = field(init=False)
    server: ServerHalf = field(init=False)
    edge: Network = field(init=False)
    _epoch: int = -1
    _synchronised: bool = False
    _matched_epoch: int = -1  # whose image the frame at hand was searched in
    _block_bytes: float = 0.0
    _overhead_bytes: float = 0.0
    _trickle: Trickle | None = None
    _spare_sent_bytes: int = 0  # of this frame's opportunistic messages, what has left since when until when
    _spare_began_s: float = 0.0
    _spare_sent_s: float = 0.0
    _newest: Frame | None = None
    _refreshed: Frame | None = None  # by the edge's last dense refresh; the reference from the next frame on
    _shown: Match | None = None  # of the last frame, on the path it took
    _wants_truth: bool = False

    def __post_init__(self) -> None:
        self.local = self.content.reference()
        self.proxy = self.content.shared_image()
        self.edge = self.content.network()
        self.server = ServerHalf(self.content.shared_image(), self.content.network())
        self._block_bytes = self.content.block_bytes()
        self._wants_truth = self.regret_against is not None or isinstance(self.scheduler, OracleScheduler)

    @property
    def shown_blocks(self) -> Any:
        """Active blocks of the last frame on the path it took, the most different first."""
        return () if self._shown is None else self._shown.active

    def process(self, frame: Frame, world: CameraWorld) -> Generator[Any, Any, Outcome]:
        """Algorithm 1 for one frame."""
        world.patience_s = self.options.patience_s
        self._newest = frame
        if self._epoch < 0:
            outcome = yield from self._initialise(frame, world)
            return outcome
        if self._refreshed is not None:
            # Not while a frame is under way: its vectors lead into the reference that it was searched in.
            self.local.replace(self._refreshed)
            self.edge.keep(self._refreshed)
            self._refreshed = None
        local, remote = self.local.match(frame), self.proxy.match(frame)
        self._matched_epoch = self._epoch if self._synchronised else -1
        yield world.extract()
        observation = self._observation(local, remote, world)
        decision = self.scheduler.decide(observation)
        lost_ea = self._regret(observation, decision)
        if decision.path is ExecutionPath.EDGE:
            outcome = yield from self._on_edge(frame, local, remote, decision, world)
        else:
            outcome = yield from self._on_cloud(frame, local, remote, decision, world)
        self._refresh_edge(frame, world)
        return outcome._replace(ea_regret=lost_ea)

    # -- the two paths ------------------------------------------------------------------------------

    def _on_edge(
        self, frame: Frame, local: Match, remote: Match, decision: Decision, world: CameraWorld
    ) -> Generator[Any, Any, Outcome]:
        self._shown = local
        if self._reachable:
            if self.options.opportunistic:
                self._send_spare(frame, remote, decision, world)
            elif world.now_s - world.last_observed_s > self.options.probe_s:
                world.probe(PROBE_BYTES)
        result = self.edge.dense(frame) if decision.dense else self.edge.sparse(frame, local, decision.k)
        yield world.infer_edge_dense() if decision.dense else world.infer_edge(decision.k)
        self._withdraw_spare(world)
        return Outcome(
            "edge",
            len(local.active),
            decision.k,
            len(local.active) - decision.k,
            len(local.active),
            len(remote.active),
            decision.extrapolated,
            result=result,
        )

    def _on_cloud(
        self, frame: Frame, local: Match, remote: Match, decision: Decision, world: CameraWorld
    ) -> Generator[Any, Any, Outcome]:
        self._shown = remote
        message = self.content.message(
            frame, remote.active[: decision.k], remote, self._epoch, inferred=True, realign=True
        )
        self._learn_sizes(message)
        if (encoding := world.encode(decision.k)) is not None:
            yield encoding
        self.proxy.apply(message)
        try:
            yield world.send(message.size_bytes)
            blocks = self.server.receive(message, world, densely=decision.dense)
            result = self.server.result
            if blocks is None:
                yield world.reply(NOTICE_BYTES)
                raise Unreachable("the server has lost its state")
            yield world.infer_cloud_dense() if decision.dense else world.infer_cloud(blocks)
            self._refresh_cloud(world)
            yield world.reply(self.options.result_bytes)
        except Unreachable:
            self._lose_server(world)
            fallback = self.scheduler.decide(Observation(self._edge_cost(local, world), None))
            outcome = yield from self._on_edge(frame, local, remote, fallback, world)
            return outcome
        active = len(remote.active)
        extrapolated = not decision.dense and world.cloud.profile.is_extrapolated(blocks)
        stale, active_edge = active - decision.k, len(local.active)
        return Outcome("cloud", active, decision.k, stale, active_edge, active, extrapolated, result=result)

    def _initialise(self, frame: Frame, world: CameraWorld) -> Generator[Any, Any, Outcome]:
        """The first frame: whole to the server, inferred densely there; the edge begins its first refresh."""
        self._epoch = 0
        total = self.content.blocks_total
        message = self.content.whole_message(frame, self._epoch)
        self._learn_sizes(message)
        self._refresh_edge(frame, world, force=True)
        if (encoding := world.encode(total)) is not None:
            yield encoding
        self.proxy.apply(message)
        try:
            yield world.send(message.size_bytes)
            if self.server.receive(message, world) is None:
                raise Unreachable("the server is down")
            yield world.infer_cloud_dense()
            self.server.refreshed_version = self.server.image.version
            yield world.reply(self.options.result_bytes)
        except Unreachable:
            self._lose_server(world)
            yield world.infer_edge_dense()
            self._refreshed = frame
            return Outcome("edge", total, total, 0, total, total, result=self.edge.dense(frame))
        self._synchronised = True
        return Outcome("cloud", total, total, 0, total, total, result=self.server.result)

    @property
    def _reachable(self) -> bool:
        """Whether the server has the image that the frame was searched in.

        A resynchronisation that ends between search and decision replaces it: too late for this frame.
        """
        return self._synchronised and self._matched_epoch == self._epoch

    # -- what the scheduler is told -----------------------------------------------------------------

    def _edge_cost(self, local: Match, world: CameraWorld) -> Any:
        waited_s = world.now_s - world.ledger.captured_s
        return edge_cost(
            world.edge.profile,
            len(local.active),
            waited_s + world.edge.processor.backlog_s(),
            dense_fallback=self.options.dense_fallback,
        )

    def _observation(self, local: Match, remote: Match, world: CameraWorld) -> Observation:
        edge = self._edge_cost(local, world)
        bandwidth_bps = world.bandwidth_bps()
        if not self._reachable:
            return Observation(edge, None)
        encoding = world.edge.profile.encode_s
        encode_base_s, encode_block_s = (encoding.base_s, encoding.per_block_s) if encoding else (0.0, 0.0)
        elapsed_s = world.now_s - world.ledger.captured_s
        around_s = world.uplink.conditions.delay_s + world.downlink.conditions.delay_s
        dirty = self.proxy.dirty_blocks(remote)
        cloud = cloud_cost(
            world.cloud.profile,
            len(remote.active),
            elapsed_s + encode_base_s + around_s,
            bandwidth_bps=bandwidth_bps or 0.0,
            block_bytes=self._block_bytes,
            header_bytes=self._overhead_bytes,
            encode_per_block_s=encode_block_s,
            unsent=dirty,
            dense_fallback=self.options.dense_fallback,
        )
        if not self._wants_truth:
            return Observation(edge, cloud)
        uplink = UplinkOracle(
            finish_s=world.true_arrival_s,
            block_bytes=self._block_bytes,
            header_bytes=self._overhead_bytes,
            encode_base_s=encode_base_s,
            encode_per_block_s=encode_block_s,
            after_s=world.downlink.conditions.delay_s,
            elapsed_s=elapsed_s,
        )
        return Observation(edge, cloud, uplink)

    def _regret(self, observation: Observation, decision: Decision) -> float | None:
        """EA lost against the oracle's decision, both judged by what the link will really do."""
        if self.regret_against is None or observation.uplink is None:
            return None
        best = self.regret_against.decide(observation)
        return regret(observation, decision, best, self.regret_against.objective)

    def _learn_sizes(self, message: Message) -> None:
        """Keep running means of what a block and the rest of a message cost."""
        self._overhead_bytes += BYTES_MEMORY * (message.overhead_bytes - self._overhead_bytes)
        if message.blocks:
            per_block = (message.size_bytes - message.overhead_bytes) / message.blocks
            self._block_bytes += BYTES_MEMORY * (per_block - self._block_bytes)

    # -- opportunistic traffic ----------------------------------------------------------------------

    def _send_spare(self, frame: Frame, remote: Match, decision: Decision, world: CameraWorld) -> None:
        """Queue the most different blocks, as many as should be through while the edge computes.

        Never fewer than an estimator can learn from: an estimate that is too low, after an outage say, would
        otherwise keep every frame on the edge and never be corrected. What does not fit is withdrawn anyway.
        """
        bandwidth_bps = world.bandwidth_bps() or 0.0
        room_bytes = max(world.edge.profile.sparse_s(decision.k) * bandwidth_bps / 8.0, PROBE_BYTES)
        blocks = remote.active[: int(room_bytes / max(self._block_bytes, 1.0))]
        self._spare_sent_bytes, self._spare_began_s = 0, world.now_s
        if len(blocks):
            self._send_chunk(frame, remote, blocks, 0, world)

    def _send_chunk(self, frame: Frame, remote: Match, blocks: Any, start: int, world: CameraWorld) -> None:
        """Send one chunk; the next one follows when it has left. The first realigns the server's image."""
        stop = start + self.options.chunk_blocks
        message = self.content.message(
            frame, blocks[start:stop], remote, self._epoch, inferred=False, realign=start == 0
        )

        def on_sent() -> None:
            self._trickle = None
            self._spare_sent_bytes += message.size_bytes
            self._spare_sent_s = world.now_s
            self.proxy.apply(message)
            if stop < len(blocks):
                self._send_chunk(frame, remote, blocks, stop, world)

        def on_arrived() -> None:
            lost = partial(self._on_lost_state, message.epoch, world)
            if world.cloud.processor.is_down():
                world.later(self.options.patience_s, lost)  # no acknowledgement comes
            elif self.server.receive(message, world) is None:
                world.notify(NOTICE_BYTES, lost)
            else:
                self._refresh_cloud(world)

        self._trickle = world.trickle(message.size_bytes, on_sent, on_arrived)

    def _withdraw_spare(self, world: CameraWorld) -> None:
        """Take back what has not left: it would be older than what the next message builds on."""
        while self._trickle is not None:
            trickle, self._trickle = self._trickle, None
            world.uplink.cancel(trickle)
        if self._spare_sent_bytes:
            world.observe(self._spare_sent_bytes, self._spare_sent_s - self._spare_began_s)
            self._spare_sent_bytes = 0

    # -- background refresh -------------------------------------------------------------------------

    def _refresh_edge(self, frame: Frame, world: CameraWorld, force: bool = False) -> None:
        """Resume or begin the edge's dense refresh on the latest frame."""

        def on_done() -> None:
            self._refreshed = frame

        if self.options.refresh_edge or force:
            world.refresh_edge(lambda: None, on_done)

    def _refresh_cloud(self, world: CameraWorld) -> None:
        """Queue the server's dense refresh if anything is new; the edge learns of its end by a notice."""
        server = self.server
        if not self.options.refresh_cloud or server.image.version <= server.refreshed_version:
            return
        version, epoch = -1, -1

        def on_begun() -> None:
            nonlocal version, epoch
            version, epoch = server.image.version, server.epoch
            server.network.begin_refresh(server.image)

        def on_done() -> None:
            if server.epoch == epoch:
                server.refreshed_version = version
                server.image.clean(version)
                server.network.end_refresh()
                world.notify(NOTICE_BYTES, lambda: self._on_notice(version, epoch))
            self._refresh_cloud(world)

        world.refresh_cloud(on_begun, on_done)

    def _on_notice(self, version: int, epoch: int) -> None:
        if epoch == self._epoch:
            self.proxy.clean(version)

    # -- losing the server, and finding it again ----------------------------------------------------

    def _lose_server(self, world: CameraWorld) -> None:
        """An offload was not answered: book the wait, and start over."""
        self._withdraw_spare(world)
        world.give_up()
        self._start_over(world)

    def _on_lost_state(self, epoch: int, world: CameraWorld) -> None:
        """The server could not use an opportunistic message: it has lost what that builds on."""
        if self._synchronised and epoch == self._epoch:
            self._withdraw_spare(world)
            self._start_over(world)

    def _start_over(self, world: CameraWorld) -> None:
        self._synchronised = False
        world.spawn(self._resynchronise(world))

    def _resynchronise(self, world: CameraWorld) -> Generator[Any, Any, None]:
        """Send the newest frame whole, as traffic that gives way, until the server has it."""
        while not self._synchronised:
            self._epoch += 1
            assert self._newest is not None
            message = self.content.whole_message(self._newest, self._epoch, inferred=False)
            self._synchronised = yield from world.deliver_spare(
                message.size_bytes,
                partial(self._receive_whole, message, world),
                self.options.patience_s,
            )
            if self._synchronised:
                self.proxy.apply(message)

    def _receive_whole(self, message: Message, world: CameraWorld) -> bool:
        if world.cloud.processor.is_down() or self.server.receive(message, world) is None:
            return False
        self.server.refreshed_version = 0
        self._refresh_cloud(world)
        return True
