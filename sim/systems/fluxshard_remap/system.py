"""FluxShard, second paper: a cache that flows with motion, and critical blocks by salience.

``fluxshard_remap`` is the system of "FluxShard: Distributed Motion-Aware Cache Remapping for Real-Time Video
Analytics": Algorithm 1 is :class:`~sim.components.motion_reuse.MotionReuse`. What was decided where the paper
is silent, and what measured better than the paper's reading: README.md beside this module.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.components.blocks import BlockFeatures, Match
from sim.components.context import SystemContext
from sim.components.motion_reuse import MotionReuse, ReuseOptions
from sim.records.outcome import Outcome
from sim.schedulers import LatencyScheduler, Scheduler
from sim.systems.fluxshard_remap.edge_state import EdgeState
from sim.systems.fluxshard_remap.salience import RULES, MissRule, Salience
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError
from traces.notices import InputWarning

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
            near_threshold: τ near what the last result found, under "threshold".
            salience_share: σ, which share of a block it must have covered, under "filter".
            sparse: whether inference is sparse; false recomputes everything on either side.
            paths: "latency": all critical blocks, on the side that has them sooner (the paper's);
                "scheduler": as the run's scheduler says.
            refresh: the edge's cache catches up in idle time, and the server's is refreshed densely.
            proxy: "tracked", or "perfect": the server gets all of every earlier frame for nothing, a bound.
        """

        dense_fallback: bool = True
        margin_px: int = 16
        salience: bool = True
        salience_rule: str = "threshold"
        threshold: float | None = None
        near_threshold: float = 0.01
        salience_share: float = 0.1
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

    def search_remote(self, frame: Frame) -> Match:
        """Search a frame in the proxy; critical is what the classifier says."""
        index = self.state.proxy.frame_index
        found = self.state.match(frame, self.salience.classifier(index))
        self.salience.note(index, found)
        return found

    def unasked(self, remote: Match, on_edge: bool) -> Any:
        """Blocks that have changed though they are not critical; beside the edge, critical ones first."""
        if not self.options.opportunistic or self.options.proxy == "perfect" or remote.difference is None:
            return ()
        useful = _changed(remote.difference, np.asarray(remote.active, np.int32))
        return np.concatenate((np.asarray(remote.active, np.int32), useful)) if on_edge else useful

    def passes_on(self) -> bool:
        """With a perfect proxy the next frame's reference is there only with the result."""
        return self.options.proxy == "tracked"

    def finished(self, frame: Frame, remote: Match | None, outcome: Outcome, world: FrameWorld) -> None:
        """Remember what was found."""
        self.salience.remember(outcome.result, frame.index)
        if self.options.proxy == "perfect" and remote is not None:
            self._perfect_proxy(frame, remote, outcome, world)

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


def _changed(difference: NDArray[np.float32], active: NDArray[np.int32]) -> NDArray[np.int32]:
    """Flat indices of the blocks that have changed but are not active, those that have the most first."""
    left = difference.reshape(-1).copy()
    left[active] = 0.0
    changed = np.flatnonzero(left >= LEAST_DIFFERENCE)
    return changed[np.argsort(-left[changed], kind="stable")].astype(np.int32)


def _salience(context: SystemContext, options: FluxShardRemap.Options) -> Salience:
    threshold = context.matching.threshold if options.threshold is None else options.threshold
    rule = MissRule(options.salience_rule, threshold, options.near_threshold, options.salience_share)
    return Salience(rule if options.salience else None, threshold, context.geometry.block_px)


def _by_latency(context: SystemContext) -> Scheduler:
    """The paper's path scheduler; a run's own that knows the future is said to have no effect."""
    objective = getattr(context.scheduler, "objective", None)
    if getattr(context.scheduler, "wants_truth", False):
        warnings.warn(
            "scheduler: has no effect with system.paths=latency; system.paths=scheduler follows it",
            InputWarning,
            stacklevel=3,
        )
    return LatencyScheduler() if objective is None else LatencyScheduler(objective)
