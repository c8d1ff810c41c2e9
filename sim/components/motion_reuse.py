"""Systems that reuse features along motion vectors on both sides: FluxShard's family.

A frame is searched in what the edge has inferred from and, through the proxy, in what the server has; a
scheduler picks the side and the number of blocks. Members differ in what the edge keeps (:class:`EdgeSide`),
in which blocks count as active, and in what is sent unasked: methods that a subclass has.

Frames overlap: a frame's turn ends when its message is on its way to the server, or its result is there. The
papers' algorithms do not say; anything else would leave link and server idle for a round trip a frame, which
`in_flight=1` shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

from profiler.latency import Profile
from sim.accuracy.network import NetworkInLoop
from sim.components.blocks import (
    NOTHING_MORE,
    BlockContent,
    BlockFeatures,
    Computed,
    Match,
    SharedImage,
    open_blocks,
)
from sim.components.both_paths import BothPaths, Split, beliefs
from sim.components.context import SystemContext
from sim.components.message_sizes import check_result_bytes
from sim.components.path_costs import PathCosts
from sim.components.synchronisation import (
    AnswerTime,
    Offload,
    OpportunisticSender,
    ServerHalf,
    Synchronisation,
)
from sim.components.turns import FRAMES_UNDER_WAY, Turn, Turns
from sim.physics.events import Unreachable
from sim.records.account import ShownBlocks
from sim.records.outcome import Outcome, RestsOn
from sim.schedulers import Decision, ExecutionPath, Observation, PathsAtOnceScheduler, Scheduler
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class ReuseOptions:
    """What all members have.

    Args:
        opportunistic: send blocks that nobody has asked for on the idle uplink.
        chunk_blocks: blocks of one such message; a smaller one loses less when it is withdrawn.
        dense_fallback: infer the whole frame densely where that is worth more than sparse inference.
        margin_px: how far beyond active blocks inference computes, so that no seam moves into what is
            reused; 0 is the papers' executor. It costs computation and no bytes.
        dense_share: share of its time that an edge which is never idle spends on dense inference of frames,
            so that its state is renewed; 0: in idle time alone. See :func:`dense_limit_s`.
        patience_s: how long an answer may take before the edge falls back to its own path, unless answers
            have been seen to take longer (:class:`~sim.components.synchronisation.AnswerTime`).
        codec, quality: what blocks are coded with; None: the payload's.
        result_bytes: size of a result on the downlink; None: of the network's result.
    """

    opportunistic: bool = True
    chunk_blocks: int = 64
    dense_fallback: bool = False
    margin_px: int = 0
    dense_share: float = 0.0
    patience_s: float = 1.0
    codec: str | None = None
    quality: int | None = None
    result_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.chunk_blocks < 1:
            raise InputError(f"system.chunk_blocks: expected at least 1 block, found {self.chunk_blocks}")
        if not 0.0 <= self.dense_share <= 1.0:
            raise InputError(f"system.dense_share: expected a share in [0, 1], found {self.dense_share}")
        if not self.patience_s > 0.0:
            raise InputError(f"system.patience_s: expected a time > 0 s, found {self.patience_s}")
        check_result_bytes(self.result_bytes)


def dense_limit_s(profile: Profile, share: float) -> float:
    """How old the edge's last dense inference may grow before a frame is inferred densely in its own time.

    By the captures of both frames. Dense inference then takes no more than `share` of a busy edge's time,
    however slow the edge is; 0: there is no limit.
    """
    return profile.dense_s / share if share > 0.0 else math.inf


class EdgeSide(Protocol):
    """What the edge keeps of earlier frames, and infers from."""

    def begin_frame(self) -> None:
        """Take over what has become ready in the background: not while a frame is under way, whose vectors
        lead into what it was searched in."""

    def match(self, frame: Frame) -> Match:
        """Search a frame and tell its active blocks."""

    def needs_dense(self, frame: Frame) -> bool:
        """Whether inference of a frame has to be dense: there is nothing to reuse, or it is too old."""

    def computed(self, match: Match) -> Computed:
        """What inference computes for the active blocks of a match."""

    def infer(self, frame: Frame, match: Match | None, k: int, densely: bool) -> tuple[Any, RestsOn | None]:
        """The result of a frame with its first k active blocks computed, or all, and what it rests on."""

    def refresh(self, frame: Frame, match: Match | None, world: FrameWorld) -> None:
        """Begin or go on with what is done in idle time; `match` is None for the first frame, which the edge
        has nothing for yet."""


class MotionReuse:
    """One camera's.

    Args:
        context, options: of the system.
        make_edge: its edge side, from its blocks and network.
        scheduler: picks side and blocks.
        sampling: how features are read along vectors.
        refresh_cloud: whether the server refreshes its features densely in the background.
        dense_only: whether everything is recomputed on either side.
    """

    def __init__(
        self,
        context: SystemContext,
        options: ReuseOptions,
        make_edge: Callable[[BlockContent, NetworkInLoop], EdgeSide],
        *,
        scheduler: Scheduler,
        sampling: str,
        refresh_cloud: bool,
        dense_only: bool = False,
    ) -> None:
        self.common = options
        self.scheduler = scheduler
        self.dense_only = dense_only
        content = open_blocks(context, options.codec, options.quality, options.margin_px)
        self.content = content
        self.payload_codec, self.payload_quality = content.payload.codec, content.payload.quality
        network = context.network(sampling=sampling, margin_px=options.margin_px)
        self.edge = make_edge(content, network)
        server = ServerHalf(content.shared_image(), BlockFeatures(network, context.geometry))
        self.state = Synchronisation(
            content, content.shared_image(), server, refresh_cloud, AnswerTime(options.patience_s)
        )
        self.sender = OpportunisticSender(self.state, options.chunk_blocks)
        oracle = context.regret_against
        wants_truth = oracle is not None or getattr(scheduler, "wants_truth", False)
        self.costs = PathCosts(content, options.dense_fallback, oracle, wants_truth, dense_only)
        self.cloud = Offload(content, self.state, self.costs, self.sender, options.result_bytes)
        self.both_paths: BothPaths | None = None
        if isinstance(scheduler, PathsAtOnceScheduler) and context.counts is None and not dense_only:
            self.both_paths = BothPaths(
                scheduler, context.geometry, content, self.state, self.costs, self.cloud
            )
        self.turns = Turns()
        self._answered = -1  # the newest frame whose result is there

    max_in_flight = FRAMES_UNDER_WAY

    @property
    def proxy(self) -> SharedImage:
        """The edge's copy of the server's image."""
        return self.state.proxy

    @property
    def server(self) -> ServerHalf:
        """The far side."""
        return self.state.server

    # -- what a member may do otherwise -------------------------------------------------------------

    def search_remote(self, frame: Frame) -> Match:
        """Search a frame in the proxy."""
        return self.state.match(frame)

    def unasked(self, remote: Match, on_edge: bool) -> Any:
        """Blocks worth sending unasked while the edge computes, or beside an offload, the first first."""
        return remote.active if on_edge and self.common.opportunistic else ()

    def finished(self, frame: Frame, remote: Match | None, outcome: Outcome, world: FrameWorld) -> None:
        """A frame's result is there; `remote` is None for the first."""

    # -- the way of a frame -------------------------------------------------------------------------

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """One frame, in its turn."""
        turn = yield from self.turns.take(world)
        try:
            self.state.newest = frame
            if not self.state.begun:
                outcome = yield from self._begin(frame, world)
            else:
                outcome = yield from self._go_on(frame, turn, world)
        finally:
            turn.pass_on()
        self._answered = max(self._answered, frame.index)
        return outcome

    def _go_on(self, frame: Frame, turn: Turn, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        state = self.state
        self.edge.begin_frame()
        local, remote = self.edge.match(frame), self.search_remote(frame)
        yield world.extract()
        reachable = state.reachable
        in_cloud = state.proxy.computed(remote) if reachable else NOTHING_MORE
        on_edge, anew = self.edge.computed(local), self.edge.needs_dense(frame)
        observation = self.costs.observe(
            local, remote, on_edge, in_cloud, reachable, world, edge_densely=anew
        )
        decision = self.scheduler.decide(observation)
        lost_ea = self.costs.regret(observation, decision)
        if reachable and self.both_paths is not None and not anew:
            split = self.both_paths.consider(local, remote, self.edge.computed, decision, world)
            if split is not None:
                world.decided(*beliefs(split, decision))
                outcome = yield from self._on_both(frame, local, remote, split, turn, world)
                self.finished(frame, remote, outcome, world)
                return outcome
        here = decision.path is ExecutionPath.EDGE
        world.decided(
            "edge" if here else "cloud",
            len(local.active if here else remote.active),
            decision.k,
            decision.predicted_latency_s,
            decision.predicted_ea,
            decision.other_latency_s,
            decision.other_ea,
        )
        if here:
            outcome = yield from self._on_edge(frame, local, remote, decision, world)
        else:
            outcome = yield from self._on_cloud(frame, local, remote, decision, turn, world)
        self.finished(frame, remote, outcome, world)
        return outcome if lost_ea is None else outcome._replace(ea_regret=lost_ea)

    def _on_edge(
        self, frame: Frame, local: Match, remote: Match, decision: Decision, world: FrameWorld
    ) -> Generator[Any, Any, Outcome]:
        chosen = local.active[: decision.k]
        densely = decision.dense or self.dense_only or self.edge.needs_dense(frame)
        world.account.shown = ShownBlocks(
            local.active, local.vectors, computed=chosen, margin_px=self.common.margin_px
        )
        computed = self.content.blocks_total if densely else decision.blocks_computed
        self.sender.withdraw(world)  # an earlier frame's
        if self.state.reachable and len(blocks := self.unasked(remote, on_edge=True)):
            profile = world.edge.profile
            room_s = profile.dense_s if densely else profile.sparse_s(computed)
            self.sender.send(frame, remote, blocks, room_s, self.costs.block_bytes, world)
        result, rests_on = self.edge.infer(frame, local, decision.k, densely)
        yield world.infer_edge_dense() if densely else world.infer_edge(computed)
        self.sender.withdraw(world)
        self.edge.refresh(frame, local, world)
        return Outcome(
            "edge",
            len(local.active),
            decision.k,
            len(local.active) - decision.k,
            active_edge=len(local.active),
            active_cloud=len(remote.active),
            extrapolated=decision.extrapolated,
            result=result,
            rests_on=rests_on,
            computed=computed,
            sent=0,
        )

    def _on_cloud(
        self, frame: Frame, local: Match, remote: Match, decision: Decision, turn: Turn, world: FrameWorld
    ) -> Generator[Any, Any, Outcome]:
        world.account.shown = shown = ShownBlocks(
            remote.active, remote.vectors, remote.active[: decision.k], margin_px=self.common.margin_px
        )

        def on_its_way() -> None:
            self._send_beside(frame, remote, self.unasked(remote, on_edge=False), world)
            self.edge.refresh(frame, local, world)
            turn.pass_on()

        densely = decision.dense or self.dense_only
        try:
            served = yield from self.cloud.blocks(frame, remote, decision.k, densely, world, on_its_way)
        except Unreachable:
            outcome = yield from self._alone(frame, remote, turn, world)
            if world.account.shown is not None:
                world.account.shown.sent = shown.sent
            return outcome._replace(sent=decision.k)  # in vain
        active = len(remote.active)
        return Outcome(
            "cloud",
            active,
            decision.k,
            active - decision.k,
            active_edge=len(local.active),
            active_cloud=active,
            extrapolated=served.extrapolated,
            result=served.result,
            rests_on=served.rests_on,
            computed=served.computed,
            sent=decision.k,
        )

    def _send_beside(self, frame: Frame, remote: Match, blocks: Any, world: FrameWorld) -> None:
        """Send blocks behind a frame's message, as many as should be through when its result is back."""
        if len(blocks) and self.common.opportunistic:
            room_s = world.uplink.conditions.delay_s + world.downlink.conditions.delay_s
            self.sender.send(frame, remote, blocks, room_s, self.costs.block_bytes, world, realign=False)

    def _on_both(
        self, frame: Frame, local: Match, remote: Match, split: Split, turn: Turn, world: FrameWorld
    ) -> Generator[Any, Any, Outcome]:
        """Some blocks here, others in the cloud, at the same time."""
        assert self.both_paths is not None
        division = split.division
        world.account.shown = ShownBlocks(
            division.both, remote.vectors, division.in_cloud, margin_px=self.common.margin_px
        )

        def on_its_way() -> None:
            # What the edge computes the server must have sooner or later: what it lacks now is active again.
            self._send_beside(frame, remote, division.on_edge, world)
            turn.pass_on()

        try:
            outcome = yield from self.both_paths.run(
                frame, local, remote, split, self.edge.infer, on_its_way, world
            )
        except Unreachable:
            outcome = yield from self._alone(frame, remote, turn, world)
            if world.account.shown is not None:
                world.account.shown.sent = division.in_cloud
            return outcome._replace(sent=len(division.in_cloud))  # in vain
        return outcome

    def _alone(
        self, frame: Frame, remote: Match, turn: Turn, world: FrameWorld
    ) -> Generator[Any, Any, Outcome]:
        """The server has not answered: the edge infers the frame, if it is the newest that has begun.

        Of several that were under way the others are as old as the patience and more, and each would keep the
        edge from the next frame for as long as inference takes.
        """
        turn.pass_on()
        again = yield from self.turns.take(world)
        try:
            if self.state.newest is not frame or self._answered > frame.index:
                raise Unreachable("a later frame has begun")
            self.edge.begin_frame()
            local = self.edge.match(frame)
            yield world.extract()
            anew = self.edge.needs_dense(frame)
            alone = self.costs.edge(local, self.edge.computed(local), world, densely=anew)
            decision = self.scheduler.decide(Observation(alone, None))
            outcome = yield from self._on_edge(frame, local, remote, decision, world)
        finally:
            again.pass_on()
        return outcome

    def _begin(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """The first frame: whole to the server, inferred densely there; the edge infers it in idle time."""
        total = self.content.blocks_total
        outcome = Outcome(
            "cloud", total, total, 0, active_edge=total, active_cloud=total, computed=total, sent=total
        )
        world.account.shown = ShownBlocks()  # there are blocks: all are active
        self.edge.refresh(frame, None, world)
        try:
            served = yield from self.cloud.first_frame(frame, world)
        except Unreachable:
            result, _ = self.edge.infer(frame, None, total, densely=True)
            yield world.infer_edge_dense()
            outcome = outcome._replace(path="edge", result=result)
        else:
            outcome = outcome._replace(result=served.result, rests_on=served.rests_on)
        self.finished(frame, None, outcome, world)
        return outcome
