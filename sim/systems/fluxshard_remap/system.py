"""FluxShard, second paper: a cache that flows with motion, and critical blocks by salience.

``fluxshard_remap`` is the system of "FluxShard: Distributed Motion-Aware Cache Remapping for Real-Time Video
Analytics": Algorithm 1 is :class:`~sim.components.motion_reuse.MotionReuse`. What was decided where the paper
is silent, and what measured better than the paper's reading: README.md beside this module.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.components.blocks import BlockFeatures, Match
from sim.components.context import SystemContext
from sim.components.motion_reuse import MotionReuse, ReuseOptions, dense_limit_s
from sim.records.outcome import Outcome
from sim.schedulers import LatencyScheduler, PathsAtOnceScheduler, Scheduler
from sim.systems.fluxshard_remap.edge_state import EdgeState
from sim.systems.fluxshard_remap.salience import RULES, MissRule, Salience
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError
from traces.notices import InputWarning

if TYPE_CHECKING:
    from sim.systems.fluxshard_remap.perfect_proxy import Gifts

PATHS = ("latency", "scheduler")
PROXIES = ("tracked", "perfect")
LEAST_DIFFERENCE = 0.004  # of blocks that are worth sending unasked; below it is a camera's noise


class FluxShardRemap(MotionReuse):
    """One camera's FluxShard, remapping."""

    @dataclass(frozen=True, slots=True)
    class Options(ReuseOptions):
        """The parts of the system, and its ablations.

        Args:
            dense_fallback: on, unlike the papers' executors; the cache is new then.
            margin_px: the papers' executor has none.
            salience: whether what the last result found has a say in which blocks are critical.
            salience_rule: "threshold": a lower τ near it; "filter": nothing else is critical (the paper's σ).
            threshold: τ; None: that of the run (`matching.threshold`).
            near_threshold: τ near what the last result found, under "threshold"; never above τ.
            salience_share: σ, which share of a block it must have covered, under "filter".
            salience_reach_blocks: how many blocks around those count as well; None: 1 under "threshold", 0
                under "filter".
            sparse: whether inference is sparse; false recomputes everything on either side.
            paths: "latency": all critical blocks, on the side that has them sooner (the paper's);
                "scheduler": as the run's scheduler says.
            refresh: the edge's cache catches up in idle time, and the server's is refreshed densely.
            proxy: "tracked", or "perfect": whatever is worth sending unasked is on the server at once, for
                nothing; a bound.
        """

        dense_fallback: bool = True
        margin_px: int = 16
        salience: bool = True
        salience_rule: str = "threshold"
        threshold: float | None = None
        near_threshold: float = 0.01
        salience_share: float = 0.1
        salience_reach_blocks: int | None = None
        sparse: bool = True
        paths: str = "latency"
        refresh: bool = True
        proxy: str = "tracked"

        def __post_init__(self) -> None:
            ReuseOptions.__post_init__(self)
            for name, among in (("salience_rule", RULES), ("paths", PATHS), ("proxy", PROXIES)):
                if (value := getattr(self, name)) not in among:
                    raise InputError(f"system.{name}: expected one of {', '.join(among)}, found {value!r}")
            for name in ("threshold", "near_threshold", "salience_share"):
                share = getattr(self, name)
                if share is not None and not 0.0 <= share <= 1.0:
                    raise InputError(f"system.{name}: expected a value in [0, 1], found {share}")
            if self.salience_reach_blocks is not None and self.salience_reach_blocks < 0:
                raise InputError(
                    "system.salience_reach_blocks: expected a whole number >= 0 or null, found "
                    f"{self.salience_reach_blocks}"
                )

    def __init__(self, context: SystemContext, options: Options) -> None:
        context.need_pixels("the places of blocks and of what was found")
        self.options = options
        self.salience = _salience(context, options)
        super().__init__(
            context,
            options,
            lambda content, network: EdgeState(
                content.reference(),
                BlockFeatures(network, context.geometry),
                context.geometry,
                self.salience,
                options.refresh and options.sparse,
                dense_limit_s(context.edge, options.dense_share if options.refresh else 0.0),
            ),
            scheduler=_by_latency(context) if options.paths == "latency" else context.scheduler,
            sampling="nearest",
            refresh_cloud=options.refresh,
            dense_only=not options.sparse,
        )
        if options.salience and not self.server.features.network.runs:
            warnings.warn(
                "system.salience: no network runs, so that nothing is known to be salient; every block has "
                f"the threshold {self.salience.threshold:g}",
                InputWarning,
                stacklevel=2,
            )
        self._gifts: Gifts | None = None
        if options.proxy == "perfect":
            self._gifts = self._give()

    def search_remote(self, frame: Frame) -> Match:
        """Search a frame in the proxy; critical is what the classifier says."""
        index = self.state.proxy.frame_index
        found = self.state.match(frame, self.salience.classifier(index))
        self.salience.note(index, found)
        if self._gifts is not None and found.difference is not None:
            self._gifts.remember(frame, _changed(found.difference))
        return found

    def unasked(self, remote: Match, on_edge: bool) -> Any:
        """Blocks that have changed though they are not critical; beside the edge, critical ones first."""
        if not self.options.opportunistic or self.options.proxy == "perfect" or remote.difference is None:
            return ()
        active = np.asarray(remote.active, np.int32)
        changed = _changed(remote.difference)
        useful = changed[~np.isin(changed, active)]
        return np.concatenate((active, useful)) if on_edge else useful

    def finished(self, frame: Frame, remote: Match | None, outcome: Outcome, world: FrameWorld) -> None:
        """Remember what was found."""
        self.salience.remember(outcome.result, frame.index)
        if self._gifts is not None and remote is not None and outcome.path == "edge":
            self._give_frame(frame, remote, world)

    def _give(self) -> Gifts:
        """Have both ends work on images that become the frames themselves."""
        from sim.components.blocks.pixels import PixelBlocks
        from sim.systems.fluxshard_remap.perfect_proxy import Gifts, GivenImage

        content, gifts = self.content, Gifts()
        assert isinstance(content, PixelBlocks)  # this system needs pixels

        def image() -> GivenImage:
            return GivenImage(content.options, content.geometry, content.aligner, gifts=gifts)

        self.state.proxy, self.server.image = image(), image()
        return gifts

    def _give_frame(self, frame: Frame, remote: Match, world: FrameWorld) -> None:
        """The server has not heard of a frame that the edge inferred: it gets all of it."""
        state, server = self.state, self.server
        if not state.reachable:
            return
        gift = self.content.message(frame, remote.active, remote, state.epoch, inferred=False, realign=True)
        builds_on = state.proxy.version
        state.proxy.apply(gift)

        def take() -> None:
            server.receive(gift, world)

        server.in_turn(gift.epoch, builds_on, take, world)  # an earlier frame's may still be on its way


def _changed(difference: NDArray[np.float32]) -> NDArray[np.int32]:
    """Flat indices of the blocks that have changed by more than noise, those that have the most first."""
    values = difference.reshape(-1)
    changed = np.flatnonzero(values >= LEAST_DIFFERENCE)
    return changed[np.argsort(-values[changed], kind="stable")].astype(np.int32)


def _salience(context: SystemContext, options: FluxShardRemap.Options) -> Salience:
    threshold = context.matching.threshold if options.threshold is None else options.threshold
    reach = options.salience_reach_blocks
    if reach is None:
        reach = 1 if options.salience_rule == "threshold" else 0
    rule = MissRule(options.salience_rule, threshold, options.near_threshold, options.salience_share, reach)
    return Salience(rule if options.salience else None, threshold, context.geometry.block_px)


def _by_latency(context: SystemContext) -> Scheduler:
    """The paper's path scheduler; a run's own that would do something else is said to have no effect."""
    objective = getattr(context.scheduler, "objective", None)
    chosen = isinstance(context.scheduler, PathsAtOnceScheduler)
    if chosen or getattr(context.scheduler, "wants_truth", False):
        warnings.warn(
            "scheduler: has no effect with system.paths=latency; system.paths=scheduler follows it",
            InputWarning,
            stacklevel=3,
        )
    return LatencyScheduler() if objective is None else LatencyScheduler(objective)
