"""FluxShard, second paper: a cache that flows with motion, and critical blocks by salience.

``fluxshard_remap`` is the system of "FluxShard: Distributed Motion-Aware Cache Remapping for Real-Time Video
Analytics": Algorithm 1 is :meth:`FluxShardRemap.process`. What was decided where the paper is silent, and
what measured better than the paper's reading: README.md beside this module.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.components.blocks import NOTHING_MORE, BlockFeatures, Match, SharedImage, open_blocks
from sim.components.context import SystemContext
from sim.components.message_sizes import check_result_bytes
from sim.components.path_costs import PathCosts
from sim.components.synchronisation import Offload, OpportunisticSender, ServerHalf, Synchronisation
from sim.components.turns import Turn, Turns
from sim.physics.events import Unreachable
from sim.records.outcome import Outcome
from sim.schedulers import Decision, ExecutionPath, LatencyScheduler, Observation
from sim.systems.fluxshard_remap.edge_state import EdgeState
from sim.systems.fluxshard_remap.salience import RULES, MissRule, Salience
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError
from traces.notices import InputWarning

PATHS = ("latency", "scheduler")
PROXIES = ("tracked", "perfect")
LEAST_DIFFERENCE = 0.004  # of blocks that are worth sending unasked; below it is a camera's noise


class FluxShardRemap:
    """One camera's FluxShard, remapping."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """The parts of the system, and its ablations.

        Args:
            salience: whether what the last result found has a say in which blocks are critical.
            salience_rule: "threshold": a lower τ near it; "filter": nothing else is critical (the paper's σ).
            threshold: τ; None: that of the run (`matching.threshold`).
            near_threshold: τ near what the last result found, under "threshold".
            salience_share: σ, which share of a block it must have covered, under "filter".
            margin_px: how far beyond critical blocks inference computes, so that no seam moves into what is
                reused; 0 is the paper's executor. It costs computation and no bytes.
            sparse: whether inference is sparse; false recomputes everything on either side.
            dense_fallback: infer densely where that is faster than sparse inference; the cache is new then.
            paths: "latency": all critical blocks, on the side that has them sooner (the paper's);
                "scheduler": as the run's scheduler says.
            opportunistic: send blocks that nobody has asked for on the idle uplink, the most useful first.
            chunk_blocks: blocks of one such message; a smaller one loses less when it is withdrawn.
            refresh: the edge's cache catches up in idle time, and the server's is refreshed densely.
            proxy: "tracked", or "perfect": the server gets all of every earlier frame for nothing, a bound.
            patience_s: how long an answer may take before the edge falls back to its own path.
            codec, quality: what blocks are coded with; None: the payload's.
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        salience: bool = True
        salience_rule: str = "threshold"
        threshold: float | None = None
        near_threshold: float = 0.01
        salience_share: float = 0.1
        margin_px: int = 16
        sparse: bool = True
        dense_fallback: bool = True
        paths: str = "latency"
        opportunistic: bool = True
        chunk_blocks: int = 64
        refresh: bool = True
        proxy: str = "tracked"
        patience_s: float = 1.0
        codec: str | None = None
        quality: int | None = None
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            for name, among in (("salience_rule", RULES), ("paths", PATHS), ("proxy", PROXIES)):
                if (value := getattr(self, name)) not in among:
                    raise InputError(f"system.{name}: expected one of {', '.join(among)}, found {value!r}")
            for name in ("threshold", "near_threshold", "salience_share"):
                share = getattr(self, name)
                if share is not None and not 0.0 <= share <= 1.0:
                    raise InputError(f"system.{name}: expected a value in [0, 1], found {share}")
            if self.chunk_blocks < 1:
                raise InputError(f"system.chunk_blocks: expected at least 1 block, found {self.chunk_blocks}")
            if not self.patience_s > 0.0:
                raise InputError(f"system.patience_s: expected a time > 0 s, found {self.patience_s}")
            check_result_bytes(self.result_bytes)

    def __init__(self, context: SystemContext, options: Options) -> None:
        context.need_pixels("the places of blocks and of what was found")
        self.options = options
        self.scheduler = context.scheduler
        if options.paths == "latency":
            self.scheduler = _by_latency(context)
        content = open_blocks(context, options.codec, options.quality, options.margin_px)
        self.content = content
        self.payload_codec, self.payload_quality = content.payload.codec, content.payload.quality
        network = context.network(sampling="nearest", margin_px=options.margin_px)
        self.edge = EdgeState(content.reference(), BlockFeatures(network, context.geometry), context.geometry)
        server = ServerHalf(content.shared_image(), BlockFeatures(network, context.geometry))
        self.state = Synchronisation(
            content, content.shared_image(), server, options.refresh, options.patience_s
        )
        self.sender = OpportunisticSender(self.state, options.chunk_blocks)
        threshold = context.matching.threshold if options.threshold is None else options.threshold
        rule = MissRule(options.salience_rule, threshold, options.near_threshold, options.salience_share)
        if options.salience and not network.runs:
            warnings.warn(
                "system.salience: no network runs, so that nothing is known to be salient; every block has "
                f"the threshold {threshold:g}",
                InputWarning,
                stacklevel=2,
            )
        self.salience = Salience(rule if options.salience else None, threshold, context.geometry.block_px)
        oracle = context.regret_against
        wants_truth = oracle is not None or getattr(self.scheduler, "wants_truth", False)
        self.costs = PathCosts(
            content, options.dense_fallback, oracle, wants_truth, dense_only=not options.sparse
        )
        self.cloud = Offload(content, self.state, self.costs, self.sender, options.result_bytes)
        self.turns = Turns()
        self._caught_up: tuple[int, Frame, Match | None] | None = None
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
        """Critical blocks of the last frame on the path it took, the most urgent first."""
        return () if self._shown is None else self._shown.active

    @property
    def max_in_flight(self) -> int:
        """A frame may enter once the one before it has been inferred here, or is on its way to the server."""
        return 4

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Algorithm 1 for one frame."""
        world.patience_s = self.options.patience_s
        turn = yield from self.turns.take(world)
        try:
            outcome = yield from self._in_turn(frame, turn, world)
        finally:
            turn.pass_on()
        self.salience.remember(outcome.result, frame.index)
        return outcome

    def _in_turn(self, frame: Frame, turn: Turn, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        state = self.state
        state.newest = frame
        if not state.begun:
            outcome = yield from self._initialise(frame, world)
            return outcome
        self._adopt_catch_up()
        local = self._search_local(frame)
        remote_index = state.proxy.frame_index
        remote = state.match(frame, self.salience.classifier(remote_index))
        self.salience.note(remote_index, remote)
        yield world.extract()
        reachable = state.reachable
        in_cloud = state.proxy.computed(remote) if reachable else NOTHING_MORE
        observation = self.costs.observe(local, remote, self.edge.computed(local), in_cloud, reachable, world)
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
            outcome = yield from self._on_cloud(frame, local, remote, decision, turn, world)
        if self.options.proxy == "perfect":
            self._perfect_proxy(frame, remote, outcome, world)
        return outcome if lost_ea is None else outcome._replace(ea_regret=lost_ea)

    def _search_local(self, frame: Frame) -> Match:
        local_index = self.edge.reference.frame_index
        local = self.edge.match(frame, self.salience)
        self.salience.note(local_index, local)
        return local

    # -- the two paths ------------------------------------------------------------------------------

    def _on_edge(
        self, frame: Frame, local: Match, remote: Match, decision: Decision, world: FrameWorld
    ) -> Generator[Any, Any, Outcome]:
        self._shown = local
        dense = decision.dense or not self.options.sparse
        computed = self.content.blocks_total if dense else decision.blocks_computed
        self.sender.withdraw(world)  # an earlier frame's
        if self.state.reachable and self._sends_unasked:
            profile = world.edge.profile
            room_s = profile.dense_s if dense else profile.sparse_s(computed)
            wanted = np.concatenate((np.asarray(remote.active, np.int32), self._useful(remote)))
            self.sender.send(frame, remote, wanted, room_s, self.costs.block_bytes, world)
        rests_on = None if dense else self.edge.rests_on(frame, local, decision.k)
        if dense:
            result = self.edge.features.dense(frame)
            self.edge.renew(frame)
        else:
            result = self.edge.advance(frame, local, decision.k)
        yield world.infer_edge_dense() if dense else world.infer_edge(computed)
        self.sender.withdraw(world)
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
        self._shown = remote
        dense = decision.dense or not self.options.sparse
        self._catch_up(frame, local, world)

        def on_its_way() -> None:
            self._spare_blocks(frame, remote, world)
            if self.options.proxy == "tracked":  # otherwise the next frame's reference is not there yet
                turn.pass_on()

        try:
            served = yield from self.cloud.blocks(frame, remote, decision.k, dense, world, on_its_way)
        except Unreachable:
            outcome = yield from self._alone(frame, remote, turn, world)
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

    def _alone(
        self, frame: Frame, remote: Match, turn: Turn, world: FrameWorld
    ) -> Generator[Any, Any, Outcome]:
        """The server has not answered: the edge infers the frame, unless it has gone on to later ones."""
        turn.pass_on()
        again = yield from self.turns.take(world)
        try:
            if self.edge.reference.frame_index > frame.index:
                raise Unreachable("the edge has gone on to later frames")
            self._adopt_catch_up()
            local = self._search_local(frame)
            yield world.extract()
            alone = self.costs.edge(local, self.edge.computed(local), world)
            decision = self.scheduler.decide(Observation(alone, None))
            outcome = yield from self._on_edge(frame, local, remote, decision, world)
        finally:
            again.pass_on()
        return outcome

    def _initialise(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """The first frame: whole to the server, inferred densely there; the edge infers it in idle time."""
        total = self.content.blocks_total
        everything = Outcome(
            "cloud", total, total, 0, active_edge=total, active_cloud=total, computed=total, sent=total
        )
        self._catch_up(frame, None, world, force=True)
        try:
            served = yield from self.cloud.first_frame(frame, world)
        except Unreachable:
            yield world.infer_edge_dense()
            self.edge.renew(frame)
            return everything._replace(path="edge", result=self.edge.features.dense(frame))
        return everything._replace(result=served.result, rests_on=served.rests_on)

    # -- beside the critical path -------------------------------------------------------------------

    @property
    def _sends_unasked(self) -> bool:
        return self.options.opportunistic and self.options.proxy == "tracked"

    def _useful(self, remote: Match) -> NDArray[np.int32]:
        """Blocks that are not critical though they have changed, those that have the most first."""
        if remote.difference is None:
            return np.empty(0, np.int32)
        difference = remote.difference.reshape(-1).copy()
        difference[np.asarray(remote.active, np.intp)] = 0.0
        changed = np.flatnonzero(difference >= LEAST_DIFFERENCE)
        return changed[np.argsort(-difference[changed], kind="stable")].astype(np.int32)

    def _spare_blocks(self, frame: Frame, remote: Match, world: FrameWorld) -> None:
        """Fill what the uplink has left until the result is back with blocks that are not critical."""
        if not self._sends_unasked:
            return
        room_s = world.uplink.conditions.delay_s + world.downlink.conditions.delay_s
        useful = self._useful(remote)
        self.sender.send(frame, remote, useful, room_s, self.costs.block_bytes, world, realign=False)

    def _catch_up(self, frame: Frame, local: Match | None, world: FrameWorld, force: bool = False) -> None:
        """Bring the edge's cache to a frame that the server infers, in idle time: the critical blocks, or
        all where that is faster; it is lost if the edge infers another frame meanwhile."""
        if not force and not (self.options.refresh and self.options.sparse):
            return
        blocks, match, since = None, None, self.edge.inferred
        if local is not None and self.edge.begun:
            blocks, match = self.edge.computed(local).for_first(len(local.active)), local
            if not blocks:
                return
            if world.edge.profile.sparse_s(blocks) >= world.edge.profile.dense_s:
                blocks, match = None, None

        def on_done() -> None:
            self._caught_up = since, frame, match

        world.refresh_edge(lambda: None, on_done, blocks)

    def _adopt_catch_up(self) -> None:
        """Not while a frame is under way: its vectors lead into the reference that it was searched in."""
        if self._caught_up is None:
            return
        since, frame, match = self._caught_up
        self._caught_up = None
        if since != self.edge.inferred:
            return
        if match is None:
            self.edge.renew(frame)
        else:
            self.edge.advance(frame, match, len(match.active))

    def _perfect_proxy(self, frame: Frame, remote: Match, outcome: Outcome, world: FrameWorld) -> None:
        """The server gets the whole frame for nothing; what it has not inferred of it is dirty."""
        state = self.state
        if not state.reachable:
            return
        if outcome.path == "edge":
            gift = self.content.message(
                frame, remote.active, remote, state.epoch, inferred=False, realign=True
            )
            state.proxy.apply(gift)
            state.server.receive(gift, world)
        state.proxy.replace(frame)
        state.server.image.replace(frame)


def _by_latency(context: SystemContext) -> LatencyScheduler:
    """The paper's path scheduler; a run's own that knows the future is said to have no effect."""
    objective = getattr(context.scheduler, "objective", None)
    if getattr(context.scheduler, "wants_truth", False):
        warnings.warn(
            "scheduler: has no effect with system.paths=latency; system.paths=scheduler follows it",
            InputWarning,
            stacklevel=3,
        )
    return LatencyScheduler() if objective is None else LatencyScheduler(objective)
