"""FluxShard: motion-guided reuse on both sides, and a scheduler that picks the side for each frame.

``fluxshard_ea`` is the system of "FluxShard: A Motion-Driven Framework for Distributed Real-Time Dense Video
Analytics": Algorithm 1 is :class:`~sim.components.motion_reuse.MotionReuse`, Algorithm 2 is
:class:`~sim.components.synchronisation.ServerHalf`. What was decided where the paper is silent: README.md
beside this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sim.components.blocks import BlockFeatures, BlockReference, Computed, Match
from sim.components.context import SystemContext
from sim.components.motion_reuse import MotionReuse, ReuseOptions
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
            refresh_edge, refresh_cloud: dense refresh in the background of either side.
        """

        refresh_edge: bool = True
        refresh_cloud: bool = True

    def __init__(self, context: SystemContext, options: Options) -> None:
        super().__init__(
            context,
            options,
            lambda content, network: RefreshedEdge(
                content.reference(), BlockFeatures(network, context.geometry), options.refresh_edge
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
    """

    reference: BlockReference
    features: BlockFeatures
    refreshes: bool
    _refreshed: Frame | None = None  # the reference from the next frame on

    def begin_frame(self) -> None:
        """Take over what a refresh has made."""
        if self._refreshed is not None:
            self.reference.replace(self._refreshed)
            self.features.keep(self._refreshed)
            self._refreshed = None

    def match(self, frame: Frame) -> Match:
        """Search a frame: active is what differs by τ."""
        return self.reference.match(frame)

    def computed(self, match: Match) -> Computed:
        """What inference computes for the active blocks of a match."""
        return self.reference.computed(match)

    def infer(self, frame: Frame, match: Match | None, k: int, densely: bool) -> tuple[Any, RestsOn | None]:
        """Sparse inference leaves the state as it was; dense inference is a refresh, whoever asked for it."""
        if densely or match is None:
            self._refreshed = frame
            return self.features.dense(frame), None
        return self.features.sparse(frame, match, k), self.reference.moved(frame, match, k)

    def refresh(self, frame: Frame, match: Match | None, world: FrameWorld) -> None:
        """Begin a dense refresh on the latest frame, unless one is under way."""

        def on_done() -> None:
            self._refreshed = frame

        if self.refreshes or match is None:
            world.refresh_edge(lambda: None, on_done)
