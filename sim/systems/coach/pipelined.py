"""COACH as a split of the network that runs: precision and early exits by how separable a frame is.

The cut, chosen offline, is the one whose slowest stage is fastest. The edge computes up to it and looks how
far apart the frame's classes are (:mod:`sim.systems.coach.centres`). A frame that is separable enough is
answered by the exit there. Of any other the features are sent, in fewer bits the more separable it is, and in
no more than with which transmission keeps up with computation. Departures: README.md beside this module.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from profiler.latency import Cut
from sim.accuracy.staged import ExitAnswer, StagedInLoop
from sim.components.context import SystemContext
from sim.components.message_sizes import result_bytes
from sim.components.splits import cut_after, highest_precision, inner_cuts, time_shares
from sim.records.outcome import Outcome
from sim.systems.coach.centres import SemanticCentres
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld

FEATURES = "features"  # as profiles know the codec; a pixel is a value
SIZE_MEMORY = 0.2  # weight of the newest message in what messages weigh over what tables say


@dataclass(frozen=True, slots=True)
class PipelinedOptions:
    """What this variant needs of the system's options; see `Coach.Options`."""

    after: str | None
    nominal_bps: float
    separability: float
    loss: float
    min_bits: int
    max_bits: int
    result_bytes: int | None


@dataclass(slots=True, eq=False)
class Pipelined:
    """One camera's COACH.

    Args:
        context: what it is built on.
        options: how it decides.
    """

    context: SystemContext
    options: PipelinedOptions
    staged: StagedInLoop = field(init=False)
    centres: SemanticCentres = field(init=False)
    cut: Cut = field(init=False)
    exit_after: str | None = field(init=False)
    edge_shares: dict[str, float] = field(init=False)
    cloud_shares: dict[str, float] = field(init=False)
    safe_bits: int = field(init=False)  # that cost at most `loss`
    weight: float = 1.0  # of messages over what the tables say

    def __post_init__(self) -> None:
        self.context.need_pixels("a network that really runs")
        staged = self.staged = self.context.staged()
        self.centres = SemanticCentres(staged.classes)
        self.edge_shares = time_shares(staged.cuts, self.context.edge)
        self.cloud_shares = time_shares(staged.cuts, self.context.cloud)
        after = self.options.after
        if after is None:
            # An early exit reads what the edge has computed: a cut before the first exit would have none.
            behind = [cut for cut in inner_cuts(staged.cuts) if self._exit_before(cut.after) is not None]
            self.cut = min(behind, key=self._slowest_first)
        else:
            self.cut = cut_after(staged.cuts, after)
        self.exit_after = self._exit_before(self.cut.after)
        self.safe_bits = self._safe_bits(self.cut)

    def _safe_bits(self, cut: Cut) -> int:
        fewest = self.staged.tables.fewest_bits(cut.after, self.options.loss)
        return min(max(fewest, self.options.min_bits), self.options.max_bits)

    def _slowest_first(self, cut: Cut) -> tuple[float, float]:
        """A cut's slowest stage at the nominal rate, and all stages together."""
        sent_s = 8.0 * self._message_bytes(cut, self._safe_bits(cut)) / self.options.nominal_bps
        stages_s = (self._edge_s(cut.after), sent_s, self._cloud_s(cut.after))
        return max(stages_s), sum(stages_s)

    def _message_bytes(self, cut: Cut, bits: int) -> float:
        return self.weight * cut.elements * self.staged.tables.precision[cut.after][bits].bytes_per_value

    def _exit_before(self, after: str) -> str | None:
        """The last exit that the edge has computed once it is at a cut."""
        order = [cut.after for cut in self.staged.cuts]
        before = [name for name in self.staged.heads if order.index(name) <= order.index(after)]
        return before[-1] if before else None

    def _edge_share(self, after: str) -> float:
        name = self._exit_before(after)
        return self.edge_shares[after] + (0.0 if name is None else self.staged.heads[name])

    def _edge_s(self, after: str) -> float:
        return self._edge_share(after) * self.context.edge.dense_s

    def _cloud_s(self, after: str) -> float:
        return (1.0 - self.cloud_shares[after]) * self.context.cloud.dense_s

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Compute up to the cut; leave early, or send features as precisely as the frame needs."""
        options, cut = self.options, self.cut
        total = self.context.geometry.blocks_total
        passage = self.staged.start(frame.pixels)
        answer: ExitAnswer | None = None
        separability = 0.0
        if self.exit_after is not None:
            yield world.infer_edge_dense(
                self.edge_shares[self.exit_after] + self.staged.heads[self.exit_after]
            )
            passage.advance(self.exit_after)
            answer = passage.exit()
            separability = self.centres.separability(answer.embedding)
            if separability > options.separability:
                return Outcome(
                    "edge", total, total, 0, active_edge=total, result=answer.result, computed=total
                )
        left = self.edge_shares[cut.after] - self.edge_shares[passage.at]
        if left > 0.0:
            yield world.infer_edge_dense(left)
        passage.advance(cut.after)
        bits = self._precision(separability, world)
        data = passage.message(bits)
        self.weight *= 1.0 + SIZE_MEMORY * (len(data) / self._message_bytes(cut, bits) - 1.0)
        yield world.encode(FEATURES, cut.elements, len(data))
        yield world.send(len(data))
        yield world.decode(FEATURES, cut.elements, len(data))
        yield world.infer_cloud_dense(1.0 - self.cloud_shares[cut.after])
        there = self.staged.receive(data, cut.after, bits)
        there.advance(self.staged.cuts[-1].after)
        result = there.result()
        yield world.reply(result_bytes(options.result_bytes, result))
        if answer is not None:
            rows, columns = answer.embedding.shape[1:]
            self.centres.learn(answer.embedding, self.staged.classes_of(result, rows, columns))
        return Outcome(
            "split", total, total, 0, active_edge=total, active_cloud=total, result=result, computed=total
        )

    def _precision(self, separability: float, world: FrameWorld) -> int:
        near = min(1.0, separability / self.options.separability) if self.options.separability > 0.0 else 1.0
        return bits_of(
            near,
            self.options.min_bits,
            self.safe_bits,
            lambda bits: self._message_bytes(self.cut, bits),
            world.bandwidth_bps() or 0.0,
            max(self._edge_s(self.cut.after), self._cloud_s(self.cut.after)),
        )


def bits_of(
    near: float,
    fewest: int,
    safe: int,
    size_bytes: Callable[[int], float],
    bandwidth_bps: float,
    stage_s: float,
) -> int:
    """Bits a value of a message.

    As many as the frame needs, from the safe number at s = 0 to the fewest at θ in equal steps; but no more
    than leave transmission no slower than the slower of the two computations, T_t ≤ max(T_e, T_c), and the
    fewest where none do.

    Args:
        near: a frame's separability over θ, in [0, 1].
        fewest, safe: bits; `safe` ones cost no more than they may on average.
        size_bytes: of a message by bits.
        stage_s: the slower computation.
    """
    needed = safe - int(near * (safe - fewest))
    return min(needed, highest_precision(size_bytes, fewest, safe, bandwidth_bps, stage_s))
