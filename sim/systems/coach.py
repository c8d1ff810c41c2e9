"""COACH in the two readings of the FluxShard papers.

``frame`` (remap paper, §VII-A): "early exit for computation reduction (by comparing the similarity of the
current frame with the cached history frames) and quantization for bandwidth reduction". A frame whose
embedding is similar enough to that of an inferred one gets that one's result as it is, old positions
included; any other is quantised, deflated and inferred in the cloud.

``split`` (first paper, §6.2): "a split DNN framework that partitions computation between edge and server
while applying quantization". The cut is the one whose slowest stage is fastest (offline), features cross
it quantised. COACH's own early exit compares features with the labels' centres; that needs a trained
network's features, so this variant has none.

In both the precision follows the bandwidth (Gao et al., arXiv 2501.12388): the most bits with which
transmission is not the pipeline's slowest stage, T_t ≤ max(T_e, T_c), and never fewer than `min_bits`, which
stands for the offline search for the fewest bits that cost at most 0.5 % of accuracy; six bits of a frame
weigh what the remap paper's Table III and Fig. 5 imply (5.05 MB/s × 228 ms = 1.15 MB). Stages of successive
frames overlap in the variant ``split``; ``frame`` compares each frame with those inferred before it and takes
one at a time. Coverage accuracy sees the blocks that a reused result misses, not what quantisation costs;
measured accuracy sees both in the variant ``frame``, and refuses ``split``: the network that runs need not
have the model's layers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any, Literal, get_args

from profiler.latency import Cut
from sim.content.interface import Content, Frame, FrameHistory, Network, QuantisedEncoder
from sim.records.outcome import Outcome
from sim.systems.interface import RESULT_BYTES
from sim.systems.splits import cut_after, feature_bytes, highest_precision, inner_cuts, most_even_cut
from sim.world.frame_world import FrameWorld
from traces.errors import InputError

Variant = Literal["frame", "split"]
FEWEST_BITS = {"frame": 6, "split": 4}
SIZE_MEMORY = 0.2  # weight of the newest frame in the running mean of how well quantised frames deflate


@dataclass(frozen=True, slots=True)
class CoachOptions:
    """How COACH is read, what it reuses and how it quantises.

    Args:
        variant: "frame" or "split".
        similarity: θ, from which cosine of embeddings on a frame gets an earlier one's result (`frame`). How
            often that happens depends on how far apart inferred frames are. On four DAVIS sequences 0.99
            reuses 1.1 % at 120 ms a frame and none at 190 ms (1024×1024, stretched, 24 frames/s), where
            0.96 reuses 1.7 % (the remap paper: 1.4 %), and 11 % at 80 ms (640×640, letterboxed).
        history_frames: inferred frames that are remembered (`frame`).
        similarity_s: time of embedding and comparing on the edge (`frame`). The papers give none; this is
            what `kernels.similarity` takes at 640×640 on one core of a desktop processor (5 ms at 1024×1024).
        min_bits, max_bits: range of the precision, bits a value. Where `min_bits` is None, 6 for frames and 4
            for features.
        after: the layer to cut after; None chooses the most even cut at `nominal_bps` (`split`).
        nominal_bps: the uplink that the cut is chosen for (`split`).
        result_bytes: size of a result on the downlink.
    """

    variant: Variant = "frame"
    similarity: float = 0.99
    history_frames: int = 8
    similarity_s: float = 0.0015
    min_bits: int | None = None
    max_bits: int = 8
    after: str | None = None
    nominal_bps: float = 56e6
    result_bytes: int = RESULT_BYTES

    def __post_init__(self) -> None:
        if self.variant not in get_args(Variant):
            raise InputError(f"system.variant: expected one of frame, split, found {self.variant!r}")
        if not -1.0 <= self.similarity <= 1.0:
            raise InputError(f"system.similarity: expected a cosine in [-1, 1], found {self.similarity}")
        if self.history_frames < 1:
            raise InputError(f"system.history_frames: expected at least 1 frame, found {self.history_frames}")
        if not 0.0 <= self.similarity_s < inf:
            raise InputError(f"system.similarity_s: expected a time >= 0 s, found {self.similarity_s}")
        if not 1 <= self.fewest_bits <= self.max_bits <= 8:
            raise InputError(
                "system.min_bits, system.max_bits: expected 1 <= min_bits <= max_bits <= 8, "
                f"found {self.fewest_bits} and {self.max_bits}"
            )
        if not (isfinite(self.nominal_bps) and self.nominal_bps > 0.0):
            raise InputError(f"system.nominal_bps: expected a rate > 0 bit/s, found {self.nominal_bps}")
        if self.result_bytes < 0:
            raise InputError(f"system.result_bytes: expected >= 0 bytes, found {self.result_bytes}")

    @property
    def fewest_bits(self) -> int:
        """`min_bits`, or the variant's own."""
        return FEWEST_BITS[self.variant] if self.min_bits is None else self.min_bits


@dataclass(slots=True, eq=False)
class Coach:
    """One camera's COACH.

    Args:
        content: how frames are compared and quantised.
        options: variant and constants.
        cuts: the model's cuts, from its split table; only the variant ``split`` needs them.
    """

    content: Content
    options: CoachOptions = CoachOptions()
    cuts: Sequence[Cut] = ()
    cut: Cut | None = field(init=False, default=None)  # chosen with the first frame, then fixed
    history: FrameHistory = field(init=False)  # these two only in the variant ``frame``
    encoder: QuantisedEncoder = field(init=False)
    network: Network = field(init=False)
    _results: deque[tuple[int, Any]] = field(init=False)  # of the remembered frames, with their indices
    _deflation: float | None = None  # bytes of a quantised frame over those of its bits packed

    def __post_init__(self) -> None:
        self.network = self.content.network()
        self._results = deque(maxlen=self.options.history_frames)
        if self.options.variant == "frame":
            self.history = self.content.frame_history(self.options.history_frames)
            self.encoder = self.content.quantised_encoder()
            return
        if self.network.runs:
            raise InputError(
                "accuracy.mode: coach with system.variant=split quantises features of the run's model, which "
                "is not what runs: expected coverage, found 'measured'"
            )
        inner_cuts(self.cuts)
        if self.options.after is not None:
            self.cut = cut_after(self.cuts, self.options.after)

    @property
    def max_in_flight(self) -> int:
        """Split frames do not build on one another; the history of the variant ``frame`` does."""
        return 4 if self.options.variant == "split" else 1

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Reuse, or quantise and offload; or split."""
        if self.options.variant == "split":
            outcome = yield from self._split(world)
        else:
            outcome = yield from self._frame(frame, world)
        return outcome

    # -- the frame variant --------------------------------------------------------------------------

    def _frame(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        options = self.options
        total = self.content.blocks_total
        if options.similarity_s > 0.0:
            yield world.work_edge(options.similarity_s)
        likeness = self.history.most_similar(frame)
        if likeness is not None and likeness.similarity >= options.similarity:
            changed = self.history.changed_blocks(frame, likeness)
            earlier = next(result for index, result in self._results if index == likeness.frame_index)
            return Outcome("reused", 0, 0, changed, result=earlier)
        encode_s = world.edge.profile.encoding_s(total)
        stage_s = max(options.similarity_s + encode_s, world.cloud.profile.dense_s)
        bits = self._precision(self._frame_bytes, world, stage_s)
        size_bytes = self.encoder.encode(frame, bits)
        self._learn(size_bytes, bits)
        if (encoding := world.encode(total)) is not None:
            yield encoding
        yield world.send(size_bytes)
        result = self.network.dense(frame, self.encoder)
        yield world.infer_cloud_dense()
        yield world.reply(options.result_bytes)
        self.history.remember(frame)
        self._results.append((frame.index, result))
        return Outcome("cloud", total, total, 0, None, total, result=result)

    def _frame_bytes(self, bits: int) -> float:
        return (self._deflation or 1.0) * self.encoder.values * bits / 8.0

    def _learn(self, size_bytes: int, bits: int) -> None:
        ratio = size_bytes / (self.encoder.values * bits / 8.0)
        mean = ratio if self._deflation is None else self._deflation
        self._deflation = mean + SIZE_MEMORY * (ratio - mean)

    # -- the split variant --------------------------------------------------------------------------

    def _split(self, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        options = self.options
        total = self.content.blocks_total
        edge_s, cloud_s = world.edge.profile.dense_s, world.cloud.profile.dense_s
        if self.cut is None:
            self.cut = most_even_cut(self.cuts, edge_s, cloud_s, options.nominal_bps, options.max_bits)
        cut, share = self.cut, self.cut.arithmetic_share
        yield world.infer_edge_dense(share)
        stage_s = max(share * edge_s, (1.0 - share) * cloud_s)
        bits = self._precision(lambda bits: feature_bytes(cut, bits), world, stage_s)
        yield world.send(feature_bytes(cut, bits))
        yield world.infer_cloud_dense(1.0 - share)
        yield world.reply(options.result_bytes)
        return Outcome("split", total, total, 0, total, total)

    def _precision(self, size_bytes: Callable[[int], float], world: FrameWorld, stage_s: float) -> int:
        """Bits of the next message; before the first transfer, the fewest."""
        options = self.options
        bandwidth_bps = world.bandwidth_bps() or 0.0
        return highest_precision(size_bytes, options.fewest_bits, options.max_bits, bandwidth_bps, stage_s)
