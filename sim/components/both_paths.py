"""Both paths at once: disjoint blocks of a frame on the edge and in the cloud (``scheduler=split``).

Neither paper has it. The sides have states of their own, so what one of them would have to compute the other
may still know: only blocks that are active on both are divided, and each block of the result comes from the
side that knows it. With a margin, what a number of blocks makes a side compute is known for the first ones
of a list: the server has those, and what the edge has is counted once it is known, before the split is
weighed against one path alone.

It is greedy, as the papers' schedulers are: what the server is not sent now, it will have to be sent later,
and an edge that computes cannot search the next frame. What that costs is on the page
of FluxShard's first system.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.components.blocks import BlockContent, Computed, Match
from sim.components.blocks.merging import (
    Division,
    active_on_both,
    divide,
    first,
    merged_image,
    merged_result,
    only,
)
from sim.components.path_costs import PathCosts
from sim.components.synchronisation import Offload, Synchronisation
from sim.physics.events import SharedEvent
from sim.records.outcome import Outcome, RestsOn
from sim.schedulers import (
    Decision,
    Observation,
    PathsAtOnceScheduler,
    SplitDecision,
    effective_accuracy,
    split_regret,
)
from sim.world.frame import Frame, FrameGeometry
from sim.world.frame_world import FrameWorld


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A frame that both sides are to work on.

    Args:
        division: of its blocks.
        own: the frame against the edge's state, the blocks that it gets first.
        computed: blocks that the edge computes for these.
        decision: what it follows from, with the time that this takes.
        lost_ea: against the best split, had the link's future been known; None where nobody asked.
    """

    division: Division
    own: Match
    computed: int
    decision: SplitDecision
    lost_ea: float | None


@dataclass(frozen=True, slots=True, eq=False)
class BothPaths:
    """Divides frames of one camera.

    Args:
        scheduler: says how.
        geometry: size of the frames and their blocks.
        content, state, costs, cloud: of the system.
    """

    scheduler: PathsAtOnceScheduler
    geometry: FrameGeometry
    content: BlockContent
    state: Synchronisation
    costs: PathCosts
    cloud: Offload

    def consider(
        self,
        local: Match,
        remote: Match,
        computed: Callable[[Match], Computed],
        alone: Decision,
        world: FrameWorld,
    ) -> Split | None:
        """The split of a frame, if it promises more than its best path alone."""
        if local.vectors is None or remote.vectors is None:
            return None
        both = active_on_both(local, remote, self.geometry)
        if not len(both):
            return None
        on_edge, in_cloud = only(local, both), only(remote, both)
        observation = self.costs.observe(
            on_edge, in_cloud, computed(on_edge), self.state.proxy.computed(in_cloud), True, world
        )
        decision = self.scheduler.divide(observation)
        if decision.k_edge is None or decision.k_cloud is None:
            return None
        division = divide(local, remote, both, decision.k_edge, decision.k_cloud, self.geometry)
        own = first(local, division.on_edge)
        blocks = computed(own).for_first(len(division.on_edge))
        decision = self._corrected(decision, observation, blocks)
        if decision.predicted_ea <= alone.predicted_ea:
            return None
        lost_ea = None
        if self.costs.regret_against is not None:
            oracle = self.scheduler.oracle()
            best = oracle.decide(observation)
            lost_ea = split_regret(observation, decision, best, oracle.objective)
        return Split(division, own, blocks, decision, lost_ea)

    def _corrected(self, decision: SplitDecision, observation: Observation, blocks: int) -> SplitDecision:
        """With the time of the blocks that the edge really gets, which a margin makes more."""
        edge, cloud = observation.edge, observation.cloud
        assert edge is not None
        assert cloud is not None
        assert decision.k_cloud is not None
        edge_s = edge.wait_s + edge.curve.seconds(blocks)
        latency_s = max(edge_s, cloud.latency_s(decision.k_cloud))
        objective = self.scheduler.objective
        ea = effective_accuracy(
            objective.dense_accuracy, decision.k, decision.active, latency_s, objective.decay_per_s
        )
        return decision._replace(predicted_latency_s=latency_s, predicted_ea=ea)

    def run(
        self,
        frame: Frame,
        local: Match,
        remote: Match,
        split: Split,
        infer: Callable[[Frame, Match, int, bool], tuple[Any, RestsOn | None]],
        on_its_way: Callable[[], None],
        world: FrameWorld,
    ) -> Generator[Any, Any, Outcome]:
        """Both sides at once; the result is there when both are.

        Raises:
            Unreachable: the server has not answered.
        """
        division, decision = split.division, split.decision
        result, rests_on = infer(frame, split.own, len(division.on_edge), False)
        computing, computed_here = world.infer_edge(split.computed), world.event()
        assert computing.callbacks is not None
        computing.callbacks.append(lambda _: _tell(computed_here))
        served = yield from self.cloud.blocks(
            frame, first(remote, division.in_cloud), len(division.in_cloud), False, world, on_its_way
        )
        if not computed_here.processed:
            yield world.wait_turn(computed_here)
        shown = world.account.shown
        if shown is not None and shown.computed is not None:
            shown.computed = np.union1d(shown.computed, division.on_edge)
        image = None
        if rests_on is not None and served.rests_on is not None:
            image = merged_image(rests_on, served.rests_on, division, self.geometry.block_px)
        return Outcome(
            "split",
            len(division.both),
            decision.k,
            len(division.both) - decision.k,
            active_edge=len(local.active),
            active_cloud=len(remote.active),
            extrapolated=decision.extrapolated,
            ea_regret=split.lost_ea,
            result=merged_result(result, served.result, division, self.geometry.block_px),
            rests_on=image,
            computed=split.computed + served.computed,
            sent=len(division.in_cloud),
        )


def _tell(event: SharedEvent) -> None:
    event.succeed(None)


def beliefs(split: Split, alone: Decision) -> tuple[str, int, int, float, float, float, float]:
    """What a split is noted with: see :meth:`FrameWorld.decided`; the other choice is the best path alone."""
    decision = split.decision
    latency_s = decision.predicted_latency_s
    return (
        *("split", len(split.division.both), decision.k, latency_s, decision.predicted_ea),
        *(alone.predicted_latency_s, alone.predicted_ea),
    )
