"""COACH in the two readings of the FluxShard papers, and nearer to its own.

``frame`` (remap paper): a frame similar enough to an inferred one gets that one's result; any other is
encoded with the payload's codec, or with COACH's own, quantised and deflated, and inferred in the cloud.
``split`` (first paper): a network cut where the slowest stage is fastest, its features quantised. What is
quantised follows the bandwidth: the most bits with which transmission is not the pipeline's slowest stage.
``pipelined`` (COACH itself): the network that runs is split, and a frame's separability decides over early
exit and precision; :mod:`sim.systems.coach.pipelined`.
Sources and departures: README.md beside this module.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cache
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from profiler.latency import Cut
from sim.components.context import SystemContext
from sim.components.message_sizes import check_result_bytes, result_bytes
from sim.components.payload import Payload
from sim.components.splits import cut_after, feature_bytes, highest_precision, inner_cuts, most_even_cut
from sim.records.outcome import Outcome, RestsOn
from sim.systems.coach.pipelined import FEATURES, Pipelined, PipelinedOptions
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError

if TYPE_CHECKING:
    from kernels.codecs.frame_codecs import FrameCodec, QuantisedCodec

Variant = Literal["frame", "split", "pipelined"]
QUANTISED = "quantised"  # the codec that is no payload of blocks
MOST_BITS = 8
FEWEST_BITS = {"frame": 6, "split": 4, "pipelined": 4}
SIZE_MEMORY = 0.2  # weight of the newest frame in the running mean of how well quantised frames deflate
DEFLATE_LEVEL = 4  # of quantised frames: within a tenth of the smallest size, in a third of its time


class _Inferred(NamedTuple):
    """A frame that was inferred, and what later frames may get of it."""

    frame_index: int
    result: Any
    rests_on: RestsOn


class Coach:
    """One camera's COACH."""

    works_without_pixels = True  # in the variant ``split``

    @dataclass(frozen=True, slots=True)
    class Options:
        """How COACH is read, what it reuses and how it quantises.

        Args:
            variant: "frame", "split" or "pipelined".
            similarity: θ, from which cosine of embeddings on a frame gets an earlier one's result (`frame`).
            history_frames: inferred frames that are remembered (`frame`).
            similarity_s: time of embedding and comparing on the edge (`frame`).
            codec: of frames (`frame`): a payload codec, or "quantised", COACH's own; None: the payload's.
            quality: of a payload codec; None: the payload's.
            min_bits, max_bits: range of the precision, bits a value, of quantised frames and of features.
                None: 6 for frames and 4 for features, and 8; in `pipelined` as for features.
            after: the layer to cut after; None chooses the most even cut at `nominal_bps` (`split`,
                `pipelined`).
            nominal_bps: the uplink that the cut is chosen for (`split`, `pipelined`).
            separability: θ, the mean gap of a frame's positions from which on the edge answers (`pipelined`).
            loss: of agreement that features' bits may cost where a frame is not separable at all, on average
                (`pipelined`).
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        variant: Variant = "frame"
        similarity: float = 0.99
        history_frames: int = 8
        similarity_s: float = 0.0015
        codec: str | None = None
        quality: int | None = None
        min_bits: int | None = None
        max_bits: int | None = None
        after: str | None = None
        nominal_bps: float = 56e6
        separability: float = 0.5
        loss: float = 0.005
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            if self.variant not in get_args(Variant):
                expected = ", ".join(get_args(Variant))
                raise InputError(f"system.variant: expected one of {expected}, found {self.variant!r}")
            if not 0.0 <= self.separability <= 2.0:
                raise InputError(f"system.separability: expected a gap in [0, 2], found {self.separability}")
            if not 0.0 <= self.loss <= 1.0:
                raise InputError(f"system.loss: expected a share in [0, 1], found {self.loss}")
            if not -1.0 <= self.similarity <= 1.0:
                raise InputError(f"system.similarity: expected a cosine in [-1, 1], found {self.similarity}")
            if self.history_frames < 1:
                raise InputError(
                    f"system.history_frames: expected at least 1 frame, found {self.history_frames}"
                )
            if not 0.0 <= self.similarity_s < inf:
                raise InputError(f"system.similarity_s: expected a time >= 0 s, found {self.similarity_s}")
            given = [name for name in ("min_bits", "max_bits") if getattr(self, name) is not None]
            if self.variant == "frame" and self.codec != QUANTISED and given:
                raise InputError(
                    f"system.{given[0]}: expected null unless frames are quantised (system.codec=quantised), "
                    f"found {getattr(self, given[0])}"
                )
            if self.quality is not None and (self.variant != "frame" or self.codec == QUANTISED):
                raise InputError(
                    "system.quality: expected null where values are quantised (system.min_bits, "
                    f"system.max_bits), found {self.quality}"
                )
            if self.variant != "frame" and self.codec is not None:
                raise InputError(
                    f"system.codec: expected null with system.variant={self.variant}, which sends features, "
                    f"found {self.codec!r}"
                )
            lowest = 2 if self.variant == "pipelined" else 1  # of which the tables know what it costs
            if not lowest <= self.fewest_bits <= self.most_bits <= 8:
                raise InputError(
                    f"system.min_bits, system.max_bits: expected {lowest} <= min_bits <= max_bits <= 8, "
                    f"found {self.fewest_bits} and {self.most_bits}"
                )
            if not (isfinite(self.nominal_bps) and self.nominal_bps > 0.0):
                raise InputError(f"system.nominal_bps: expected a rate > 0 bit/s, found {self.nominal_bps}")
            check_result_bytes(self.result_bytes)

        @property
        def fewest_bits(self) -> int:
            """`min_bits`, or the variant's own."""
            return FEWEST_BITS[self.variant] if self.min_bits is None else self.min_bits

        @property
        def most_bits(self) -> int:
            """`max_bits`, or 8."""
            return MOST_BITS if self.max_bits is None else self.max_bits

        @property
        def unmeasured(self) -> str | None:
            """Why accuracy cannot be measured: features are quantised, and what runs may be a stand-in."""
            if self.variant != "split":
                return None
            return "system.variant=split quantises features of the run's model, which may not be what runs"

    def __init__(self, context: SystemContext, options: Options) -> None:
        self.options = options
        self.blocks_total = context.geometry.blocks_total
        self.network = context.network()
        self.pipelined: Pipelined | None = None
        self.cut: Cut | None = None  # chosen with the first frame, then fixed
        self._results: deque[_Inferred] = deque(maxlen=options.history_frames)
        self._deflation: float | None = None  # bytes of a quantised frame over those of its bits packed
        self.payload_codec: str | None = None
        self.payload_quality: float | None = None
        if options.variant == "frame":
            context.need_pixels("comparisons with a history of frames")
            from sim.systems.coach.history import FrameHistory

            geometry = context.geometry
            self.history = FrameHistory(options.history_frames)
            self.pixels = geometry.height_px * geometry.width_px
            self.payload_codec = QUANTISED
            if options.codec != QUANTISED:
                payload = Payload.of(context.block_codec(options.codec, options.quality))
                self.payload_codec, self.payload_quality = payload.codec, payload.quality
                self.frame_codec = context.frame_codec(options.codec, options.quality)
            return
        if options.variant == "pipelined":
            self.payload_codec = FEATURES
            self.pipelined = Pipelined(
                context,
                PipelinedOptions(
                    options.after,
                    options.nominal_bps,
                    options.separability,
                    options.loss,
                    options.fewest_bits,
                    options.most_bits,
                    options.result_bytes,
                ),
            )
            return
        self.cuts = context.cuts()
        inner_cuts(self.cuts)
        if options.after is not None:
            self.cut = cut_after(self.cuts, options.after)

    @property
    def max_in_flight(self) -> int:
        """Split frames do not build on one another; the history of the variant ``frame`` does."""
        return 1 if self.options.variant == "frame" else 4

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Reuse, or quantise and offload; or split."""
        if self.pipelined is not None:
            outcome = yield from self.pipelined.process(frame, world)
        elif self.options.variant == "split":
            outcome = yield from self._split(world)
        else:
            outcome = yield from self._frame(frame, world)
        return outcome

    # -- the frame variant --------------------------------------------------------------------------

    def _frame(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        options = self.options
        total = self.blocks_total
        if options.similarity_s > 0.0:
            yield world.work_edge(options.similarity_s)
        similar = self.history.most_similar(frame)
        if similar is not None and similar.similarity >= options.similarity:
            earlier = next(lent for lent in self._results if lent.frame_index == similar.frame_index)
            return Outcome(
                "reused", 0, 0, 0, result=earlier.result, rests_on=earlier.rests_on, computed=0, sent=0
            )
        assert self.payload_codec is not None
        codec: FrameCodec
        if self.payload_codec == QUANTISED:
            codec = quantiser = self._quantiser(world)
            data = codec.encode(frame.pixels)
            self._learn(len(data), quantiser.bits)
        else:
            codec = self.frame_codec
            data = codec.encode(frame.pixels)
        yield world.encode(self.payload_codec, self.pixels, len(data))
        yield world.send(len(data))
        yield world.decode(self.payload_codec, self.pixels, len(data))
        arrived = cache(lambda: codec.decode(data))  # decoded once, whoever asks
        result = self.network.dense(frame, arrived)
        yield world.infer_cloud_dense()
        yield world.reply(result_bytes(options.result_bytes, result))
        self.history.remember(frame)
        self._results.append(_Inferred(frame.index, result, arrived))
        return Outcome(
            "cloud",
            total,
            total,
            0,
            active_cloud=total,
            result=result,
            rests_on=arrived,
            computed=total,
            sent=total,
        )

    def _quantiser(self, world: FrameWorld) -> QuantisedCodec:
        """COACH's own codec, in the precision that the bandwidth allows."""
        from kernels.codecs.frame_codecs import QuantisedCodec

        # At its finest: the stage that transmission must not exceed is not made shorter by sending less.
        encode_s = world.encoding_s(QUANTISED, self.pixels, self._frame_bytes(self.options.most_bits))
        stage_s = max(self.options.similarity_s + encode_s, world.cloud.profile.dense_s)
        return QuantisedCodec(self._precision(self._frame_bytes, world, stage_s), DEFLATE_LEVEL)

    def _frame_bytes(self, bits: int) -> float:
        return (self._deflation or 1.0) * 3 * self.pixels * bits / 8.0

    def _learn(self, size_bytes: int, bits: int) -> None:
        ratio = size_bytes / (3 * self.pixels * bits / 8.0)
        mean = ratio if self._deflation is None else self._deflation
        self._deflation = mean + SIZE_MEMORY * (ratio - mean)

    # -- the split variant --------------------------------------------------------------------------

    def _split(self, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        options = self.options
        total = self.blocks_total
        edge_s, cloud_s = world.edge.profile.dense_s, world.cloud.profile.dense_s
        if self.cut is None:
            self.cut = most_even_cut(self.cuts, edge_s, cloud_s, options.nominal_bps, options.most_bits)
        cut, share = self.cut, self.cut.arithmetic_share
        yield world.infer_edge_dense(share)
        stage_s = max(share * edge_s, (1.0 - share) * cloud_s)
        bits = self._precision(lambda bits: feature_bytes(cut, bits), world, stage_s)
        yield world.send(feature_bytes(cut, bits))
        yield world.infer_cloud_dense(1.0 - share)
        yield world.reply(result_bytes(options.result_bytes, None))
        return Outcome("split", total, total, 0, active_edge=total, active_cloud=total, computed=total)

    def _precision(self, size_bytes: Callable[[int], float], world: FrameWorld, stage_s: float) -> int:
        """Bits of the next message; before the first transfer, the fewest."""
        options = self.options
        bandwidth_bps = world.bandwidth_bps() or 0.0
        return highest_precision(size_bytes, options.fewest_bits, options.most_bits, bandwidth_bps, stage_s)
