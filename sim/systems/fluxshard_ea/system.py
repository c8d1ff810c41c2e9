"""FluxShard: motion-guided reuse on both sides, and a scheduler that picks the side for each frame.

``fluxshard_ea`` is the system of "FluxShard: A Motion-Driven Framework for Distributed Real-Time Dense Video
Analytics": Algorithm 1 is :class:`~sim.components.motion_reuse.MotionReuse`, Algorithm 2 is
:class:`~sim.components.synchronisation.ServerHalf`. What was decided where the paper is silent: README.md
beside this module.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sim.components.blocks import BlockFeatures, BlockReference, Computed, Match
from sim.components.context import SystemContext
from sim.components.motion_reuse import MotionReuse, ReuseOptions, dense_limit_s
from sim.records.outcome import RestsOn
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld


class FluxShard(MotionReuse):
    """One camera's FluxShard."""

    works_without_pixels = True

    @dataclass(frozen=True, slots=True)
    class Options(ReuseOptions):
        """The parts of the system, and its ablations.

        Args:
            dense_share: on here; without `refresh_edge` it is 0.
            refresh_edge, refresh_cloud: dense refresh in the background of either side.
        """

        dense_share: float = 0.2
        refresh_edge: bool = True
        refresh_cloud: bool = True

    def __init__(self, context: SystemContext, options: Options) -> None:
        super().__init__(
            context,
            options,
            lambda content, network: RefreshedEdge(
                content.reference(),
                BlockFeatures(network, context.geometry),
                options.refresh_edge,
                dense_limit_s(context.edge, options.dense_share if options.refresh_edge else 0.0),
            ),
            scheduler=context.scheduler,
            sampling="bilinear",
            refresh_cloud=options.refresh_cloud,
        )


@dataclass(slots=True, eq=False)
class RefreshedEdge:
    """The edge's local state (§4.4): the frame of its last dense inference, and the features of it.

    Args:
        reference: that frame.
        features: of it.
        refreshes: whether dense inference goes on in idle time.
        limit_s: how old the state may grow before it is made anew in a frame's own time.
    """

    reference: BlockReference
    features: BlockFeatures
    refreshes: bool
    limit_s: float = math.inf
    _captured_s: float = 0.0  # of the reference
    _refreshed: Frame | None = None  # the reference from the next frame on

    def begin_frame(self) -> None:
        """Take over what a refresh has made."""
        if self._refreshed is not None:
            self.reference.replace(self._refreshed)
            self.features.keep(self._refreshed)
            self._captured_s = self._refreshed.captured_s
            self._refreshed = None

    def match(self, frame: Frame) -> Match:
        """Search a frame: active is what differs by τ."""
        return self.reference.match(frame)

    def needs_dense(self, frame: Frame) -> bool:
        """Sparse inference needs a state, and one of an edge that is never idle would grow old for ever."""
        return self.reference.frame_index < 0 or frame.captured_s - self._captured_s > self.limit_s

    def computed(self, match: Match) -> Computed:
        """What inference computes for the active blocks of a match."""
        return self.reference.computed(match)

    def infer(self, frame: Frame, match: Match | None, k: int, densely: bool) -> tuple[Any, RestsOn | None]:
        """Sparse inference leaves the state as it was; dense inference is a refresh, whoever asked for it."""
        if densely or match is None:
            self._take_over(frame)
            return self.features.dense(frame), None
        return self.features.sparse(frame, match, k), self.reference.moved(frame, match, k)

    def refresh(self, frame: Frame, match: Match | None, world: FrameWorld) -> None:
        """Begin a dense refresh on the latest frame, unless one is under way."""

        if self.refreshes or match is None:
            world.refresh_edge(lambda: None, lambda: self._take_over(frame))

    def _take_over(self, frame: Frame) -> None:
        """A frame has been inferred densely; in idle time it may have taken longer than a later one's."""
        newest = self.reference.frame_index if self._refreshed is None else self._refreshed.index
        if frame.index > newest:
            self._refreshed = frame
