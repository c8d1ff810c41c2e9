"""SPINN itself: early exits on both sides, quantised features, cut and threshold chosen before each frame.

The edge computes up to the cut and asks every exit on the way; an answer that is sure enough ends the frame.
Otherwise the features are quantised and compressed, and the server goes on from them, leaving early as well.
If its answer misses the deadline, the edge's latest answer stands. Departures: README.md beside this module.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from profiler.latency import Cut
from sim.accuracy.staged import ExitAnswer, StagedFrame, StagedInLoop
from sim.components.context import SystemContext
from sim.components.message_sizes import result_bytes
from sim.components.payload import Payload
from sim.components.splits import cut_after, time_shares
from sim.physics.events import Unreachable
from sim.records.outcome import Outcome, RestsOn
from sim.systems.spinn.planner import Choice, Planner, Rates
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError

if TYPE_CHECKING:
    from kernels.codecs.frame_codecs import FrameCodec

FEATURES = "features"  # as profiles know the codec; a pixel is a value
FRAME_BYTES_PER_PIXEL = 0.25  # of the first frame sent whole: JPEG 85 of the embedded scenes; then measured


@dataclass(frozen=True, slots=True)
class ProgressiveOptions:
    """What the progressive variant needs of the system's options; see `Spinn.Options`."""

    after: str | None
    ends: bool
    threshold: float | None
    accuracy_floor: float
    deadline_s: float
    nominal_bps: float
    bits: int
    result_bytes: int | None


@dataclass(slots=True, eq=False)
class Progressive:
    """One camera's SPINN.

    Args:
        context: what it is built on.
        options: how it decides.
        payload: what whole frames are coded with.
        frame_codec: codes them.
    """

    context: SystemContext
    options: ProgressiveOptions
    payload: Payload
    frame_codec: FrameCodec
    staged: StagedInLoop = field(init=False)
    cuts: dict[str, Cut] = field(init=False)
    order: tuple[str, ...] = field(init=False)
    planner: Planner = field(init=False)

    def __post_init__(self) -> None:
        self.context.need_pixels("a network that really runs")
        staged = self.staged = self.context.staged()
        self.cuts = {cut.after: cut for cut in staged.cuts}
        self.order = tuple(self.cuts)
        geometry = self.context.geometry
        self.planner = Planner(
            staged.cuts,
            time_shares(staged.cuts, self.context.edge),
            time_shares(staged.cuts, self.context.cloud),
            staged.heads,
            staged.tables,
            self._candidates(),
            None if self.options.threshold is None else (self.options.threshold,),
            self.options.bits,
            self.options.accuracy_floor,
            FRAME_BYTES_PER_PIXEL * geometry.height_px * geometry.width_px,
        )

    def _candidates(self) -> tuple[str, ...]:
        after, order = self.options.after, self.order
        if after is None:
            return order if self.options.ends else order[1:-1]
        if after in (order[0], order[-1]):
            if not self.options.ends:
                raise InputError(
                    f"system.after: expected an inner cut with system.ends=false, found {after!r}"
                )
        else:
            cut_after(self.staged.cuts, after)
        return (after,)

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Choose a pair, compute up to the cut, leave early or send, and answer by the deadline."""
        rates = self._rates(world)
        pair = self.planner.choose(rates)
        remote, total = pair.after != self.order[-1], self.context.geometry.blocks_total
        path = "edge" if not remote else "cloud" if pair.after == self.order[0] else "split"
        world.decided(path, total, total, pair.latency_s)
        passage = self.staged.start(frame.pixels)
        answer = yield from self._on_edge(passage, pair, world)
        if answer is not None and answer.confidence > pair.threshold:
            self.planner.stayed()
            return self._outcome("edge", answer.result)
        if not remote:
            self.planner.stayed()
            return self._outcome("edge", self.context.network().dense(frame))
        patience_s = frame.captured_s + self.options.deadline_s - world.now_s
        if patience_s > 0.0:
            world.patience_s = patience_s
            try:
                outcome = yield from self._remote(frame, passage, pair, rates, world)
            except Unreachable:
                world.give_up()
            else:
                return outcome
        if answer is None:  # the cut lies before the first exit
            first = next(iter(self.staged.heads))
            yield from self._compute(passage, first, world)
            answer = passage.exit()
        return self._outcome("edge", answer.result)

    # -- on the edge --------------------------------------------------------------------------------

    def _on_edge(
        self, passage: StagedFrame, pair: Choice, world: FrameWorld
    ) -> Generator[Any, Any, ExitAnswer | None]:
        """Compute up to the cut; the latest exit's answer, the one that was sure enough if any was."""
        answer = None
        for name in self._exits(self.order[0], pair.after):
            yield from self._compute(passage, name, world)
            answer = passage.exit()
            if answer.confidence > pair.threshold:
                return answer
        share = self._edge_share(passage.at, pair.after)
        if share > 0.0:
            yield from self._work(share, world)
        if pair.after != self.order[-1]:  # there the whole network's result is known without it
            passage.advance(pair.after)
        return answer

    def _compute(self, passage: StagedFrame, exit_after: str, world: FrameWorld) -> Generator[Any, Any, None]:
        """The stages up to an exit, and its head."""
        yield from self._work(self._edge_share(passage.at, exit_after) + self.staged.heads[exit_after], world)
        passage.advance(exit_after)

    def _work(self, share: float, world: FrameWorld) -> Generator[Any, Any, None]:
        before_s = world.account.edge_compute_s
        yield world.infer_edge_dense(share)
        took_s = world.account.edge_compute_s - before_s
        self.planner.computed(took_s, share * world.edge.profile.dense_s)

    def _edge_share(self, after: str, until: str) -> float:
        return self.planner.edge_shares[until] - self.planner.edge_shares[after]

    def _exits(self, after: str, until: str) -> list[str]:
        """Exits behind a stage, up to and with another."""
        first, last = self.order.index(after), self.order.index(until)
        return [name for name in self.staged.heads if first < self.order.index(name) <= last]

    # -- remote -------------------------------------------------------------------------------------

    def _remote(
        self, frame: Frame, passage: StagedFrame, pair: Choice, rates: Rates, world: FrameWorld
    ) -> Generator[Any, Any, Outcome]:
        began_s = world.now_s
        rests_on: RestsOn | None = None
        whole = pair.after == self.order[0]
        if whole:
            codec, values = self.payload.codec, self.cuts[pair.after].elements // 3
            data = self.frame_codec.encode(frame.pixels)
        else:
            codec, values = FEATURES, self.cuts[pair.after].elements
            data = passage.message(self.options.bits)
        self.planner.sent(pair.after, len(data))
        expected_s = (
            rates.encode_s[pair.after]
            + 8.0 * len(data) / rates.uplink_bps
            + rates.around_s
            + rates.decode_s[pair.after]
        )
        try:
            yield world.encode(codec, values, len(data))
            yield world.send(len(data))
            yield world.decode(codec, values, len(data))
            if whole:
                arrived = cache(lambda: self.frame_codec.decode(data))  # decoded once, whoever asks
                rests_on = None if self.payload.lossless else arrived
                there = self.staged.start(arrived())
            else:
                there = self.staged.receive(data, pair.after, self.options.bits)
            result = None
            for name in self._exits(pair.after, self.order[-1]):
                share = self._cloud_share(there.at, name) + self.staged.heads[name]
                expected_s += share * rates.cloud_s
                yield world.infer_cloud_dense(share)
                there.advance(name)
                if (answer := there.exit()).confidence > pair.threshold:
                    result = answer.result
                    break
            else:
                share = self._cloud_share(there.at, self.order[-1])
                expected_s += share * rates.cloud_s
                yield world.infer_cloud_dense(share)
                if whole:
                    result = self.context.network().dense(frame, arrived)
                else:
                    there.advance(self.order[-1])
                    result = there.result()
            yield world.reply(result_bytes(self.options.result_bytes, result))
        finally:
            self.planner.answered(world.now_s - began_s, expected_s)
        total = self.context.geometry.blocks_total
        outcome = self._outcome("cloud" if whole else "split", result, rests_on)
        return outcome._replace(active_cloud=total, sent=total if whole else None)

    def _cloud_share(self, after: str, until: str) -> float:
        return self.planner.cloud_shares[until] - self.planner.cloud_shares[after]

    # -- what is believed, and said -----------------------------------------------------------------

    def _rates(self, world: FrameWorld) -> Rates:
        sizes, values = self.planner.size_bytes, {name: cut.elements for name, cut in self.cuts.items()}
        first = self.order[0]
        codec = dict.fromkeys(self.order[1:-1], FEATURES)
        codec[first], values[first] = self.payload.codec, values[first] // 3
        codec[self.order[-1]], values[self.order[-1]] = self.payload.codec, 0  # nothing is sent
        sent = [name for name in self.order if name != self.order[-1]]
        return Rates(
            world.edge.profile.dense_s,
            world.cloud.profile.dense_s,
            world.edge.processor.backlog_s(),
            world.bandwidth_bps() or self.options.nominal_bps,
            world.uplink.conditions.delay_s + world.downlink.conditions.delay_s,
            {name: world.encoding_s(codec[name], values[name], sizes[name]) for name in sent},
            {name: world.decoding_s(codec[name], values[name], sizes[name]) for name in sent},
        )

    def _outcome(self, path: str, result: bytes | Any, rests_on: RestsOn | None = None) -> Outcome:
        total = self.context.geometry.blocks_total
        edge = None if path == "cloud" else total
        return Outcome(
            path, total, total, 0, active_edge=edge, result=result, rests_on=rests_on, computed=total
        )
