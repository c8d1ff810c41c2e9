"""FluxShard: motion-guided reuse on both sides, and a scheduler that picks the side for each frame.

``fluxshard_ea`` is the system of "FluxShard: A Motion-Driven Framework for Distributed Real-Time Dense Video
Analytics": Algorithm 1 is :meth:`FluxShard.process`, Algorithm 2 is
:class:`~sim.components.synchronisation.ServerHalf`. What was decided where the paper is silent: README.md
beside this module.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from sim.components.blocks import NOTHING_MORE, BlockFeatures, Match, SharedImage, open_blocks
from sim.components.context import SystemContext
from sim.components.message_sizes import check_result_bytes
from sim.components.path_costs import PathCosts
from sim.components.synchronisation import Offload, OpportunisticSender, ServerHalf, Synchronisation
from sim.physics.events import Unreachable
from sim.records.outcome import Outcome
from sim.schedulers import Decision, ExecutionPath, Observation
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError


class FluxShard:
    """One camera's FluxShard."""

    works_without_pixels = True

    @dataclass(frozen=True, slots=True)
    class Options:
        """The parts of the system, and its ablations.

        Args:
            opportunistic: send active blocks on the idle uplink while the edge computes.
            chunk_blocks: blocks of one opportunistic message; a smaller one loses less when it is withdrawn.
            refresh_edge, refresh_cloud: dense refresh in the background of either side.
            dense_fallback: infer the whole frame densely where that is worth more than sparse inference. The
                papers' executors cannot; with their own coefficients sparse inference over every block costs
                twice as much as dense.
            margin_px: how far beyond active blocks inference computes, so that no seam moves into what is
                reused; 0 is the papers' executor. It costs computation and no bytes.
            patience_s: how long an answer may take before the edge falls back to its own path.
            codec, quality: what blocks are coded with; None: the payload's.
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        opportunistic: bool = True
        chunk_blocks: int = 64
        refresh_edge: bool = True
        refresh_cloud: bool = True
        dense_fallback: bool = False
        margin_px: int = 0
        patience_s: float = 1.0
        codec: str | None = None
        quality: int | None = None
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            if self.chunk_blocks < 1:
                raise InputError(f"system.chunk_blocks: expected at least 1 block, found {self.chunk_blocks}")
            if not self.patience_s > 0.0:
                raise InputError(f"system.patience_s: expected a time > 0 s, found {self.patience_s}")
            check_result_bytes(self.result_bytes)

    def __init__(self, context: SystemContext, options: Options) -> None:
        self.options = options
        self.scheduler = context.scheduler
        content = open_blocks(context, options.codec, options.quality, options.margin_px)
        self.content = content
        self.payload_codec, self.payload_quality = content.payload.codec, content.payload.quality
        network = context.network(margin_px=options.margin_px)
        self.local = content.reference()
        self.edge = BlockFeatures(network, context.geometry)
        server = ServerHalf(content.shared_image(), BlockFeatures(network, context.geometry))
        self.state = Synchronisation(
            content, content.shared_image(), server, options.refresh_cloud, options.patience_s
        )
        self.sender = OpportunisticSender(self.state, options.chunk_blocks)
        oracle = context.regret_against
        wants_truth = oracle is not None or getattr(context.scheduler, "wants_truth", False)
        self.costs = PathCosts(content, options.dense_fallback, oracle, wants_truth)
        self.cloud = Offload(content, self.state, self.costs, self.sender, options.result_bytes)
        # The frame of the edge's last dense inference, the reference from the next frame on.
        self._refreshed: Frame | None = None
        self._shown: Match | None = None  # of the last frame, on the path it took

    @property
    def proxy(self) -> SharedImage:
        """The edge's copy of the server's image."""
        return self.state.proxy

    @property
    def server(self) -> ServerHalf:
        """The far side."""
        return self.state.server

    @property
    def shown_blocks(self) -> Any:
        """Active blocks of the last frame on the path it took, the most different first."""
        return () if self._shown is None else self._shown.active

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Algorithm 1 for one frame."""
        state = self.state
        world.patience_s = self.options.patience_s
        state.newest = frame
        if not state.begun:
            outcome = yield from self._initialise(frame, world)
            return outcome
        if self._refreshed is not None:
            # Not while a frame is under way: its vectors lead into the reference that it was searched in.
            self.local.replace(self._refreshed)
            self.edge.keep(self._refreshed)
            self._refreshed = None
        local, remote = self.local.match(frame), state.match(frame)
        yield world.extract()
        reachable = state.reachable
        in_cloud = state.proxy.computed(remote) if reachable else NOTHING_MORE
        observation = self.costs.observe(
            local, remote, self.local.computed(local), in_cloud, reachable, world
        )
        decision = self.scheduler.decide(observation)
        lost_ea = self.costs.regret(observation, decision)
        on_edge = decision.path is ExecutionPath.EDGE
        world.decided(
            "edge" if on_edge else "cloud",
            len(local.active if on_edge else remote.active),
            decision.k,
            decision.predicted_latency_s,
            decision.predicted_ea,
            decision.other_latency_s,
            decision.other_ea,
        )
        if on_edge:
            outcome = yield from self._on_edge(frame, local, remote, decision, world)
        else:
            outcome = yield from self._on_cloud(frame, local, remote, decision, world)
        self._refresh_edge(frame, world)
        return outcome if lost_ea is None else outcome._replace(ea_regret=lost_ea)

    # -- the two paths ------------------------------------------------------------------------------

    def _on_edge(
        self, frame: Frame, local: Match, remote: Match, decision: Decision, world: FrameWorld
    ) -> Generator[Any, Any, Outcome]:
        self._shown = local
        computed = self.content.blocks_total if decision.dense else decision.blocks_computed
        if self.state.reachable and self.options.opportunistic:
            compute_s = (
                world.edge.profile.dense_s if decision.dense else world.edge.profile.sparse_s(computed)
            )
            self.sender.send(frame, remote, remote.active, compute_s, self.costs.block_bytes, world)
        result = self.edge.dense(frame) if decision.dense else self.edge.sparse(frame, local, decision.k)
        rests_on = None if decision.dense else self.local.moved(frame, local, decision.k)
        yield world.infer_edge_dense() if decision.dense else world.infer_edge(computed)
        self.sender.withdraw(world)
        if decision.dense:
            self._refreshed = frame  # dense inference it was, whoever asked for it
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
        self, frame: Frame, local: Match, remote: Match, decision: Decision, world: FrameWorld
    ) -> Generator[Any, Any, Outcome]:
        self._shown = remote
        try:
            served = yield from self.cloud.blocks(frame, remote, decision.k, decision.dense, world)
        except Unreachable:
            alone = self.costs.edge(local, self.local.computed(local), world)
            fallback = self.scheduler.decide(Observation(alone, None))
            outcome = yield from self._on_edge(frame, local, remote, fallback, world)
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

    def _initialise(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """The first frame: whole to the server, inferred densely there; the edge begins its first refresh."""
        total = self.content.blocks_total
        everything = Outcome(
            "cloud", total, total, 0, active_edge=total, active_cloud=total, computed=total, sent=total
        )
        self._refresh_edge(frame, world, force=True)
        try:
            served = yield from self.cloud.first_frame(frame, world)
        except Unreachable:
            yield world.infer_edge_dense()
            self._refreshed = frame
            return everything._replace(path="edge", result=self.edge.dense(frame))
        return everything._replace(result=served.result, rests_on=served.rests_on)

    def _refresh_edge(self, frame: Frame, world: FrameWorld, force: bool = False) -> None:
        """Resume or begin the edge's dense refresh on the latest frame."""

        def on_done() -> None:
            self._refreshed = frame

        if self.options.refresh_edge or force:
            world.refresh_edge(lambda: None, on_done)
