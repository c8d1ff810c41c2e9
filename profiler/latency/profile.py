"""A device's latency model: how long a model takes to process k of a frame's blocks, and its YAML profile.

    T(k) = a·k² + b·k + c        (FluxShard, §4.2, "Latency Modeling")

or, where that predicts held-out points better, a curve that may bend as it likes
(:mod:`profiler.latency.curves`).

A profile is one file, ``<folder>/<device>/<model>.yaml``. Published and measured profiles have the same
keys; what a source does not say is null, never zero. This module needs numpy, torch and a device no more
than the simulator does: it only reads, writes and evaluates profiles.

Residuals are kept as ratios: at grid point ``k[i]``, row i of ``residual_quantiles.ratio`` holds the
quantiles (at ``levels``) of measured time over the quadratic at k[i], whichever curve is in use. A ratio
keeps sampled times positive, changes slowly between grid points, and also carries what the quadratic
misses at k[i], so sampled latencies follow the measured distribution where the curve itself does not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from profiler.latency.codec_times import BLOCKS, CodecTable, CodecTime, CodecTimes
from profiler.latency.curves import LatencyCurve, PiecewiseLinear, Quadratic, Tabulated


@dataclass(frozen=True, slots=True)
class Residuals:
    """Quantiles of measured over modelled time: how a device scatters around its latency model.

    ``ratio`` has one row for each grid point of ``k`` and one column for each of ``levels``; ``dense`` and
    ``extract`` are rows for dense inference and motion extraction, over their median.
    """

    levels: tuple[float, ...]
    k: tuple[float, ...]
    ratio: tuple[tuple[float, ...], ...]
    dense: tuple[float, ...] | None = None
    extract: tuple[float, ...] | None = None

    def at(self, k: float, uniform: float) -> float:
        """The ratio at quantile ``uniform``, linear in both arguments; the outermost values hold outside."""
        i = bisect_right(self.k, k)
        if i == 0:
            return self.row(self.ratio[0], uniform)
        if i == len(self.k):
            return self.row(self.ratio[-1], uniform)
        share = (k - self.k[i - 1]) / (self.k[i] - self.k[i - 1])
        return (1 - share) * self.row(self.ratio[i - 1], uniform) + share * self.row(self.ratio[i], uniform)

    def row(self, quantiles: Sequence[float], uniform: float) -> float:
        """One row's ratio at quantile ``uniform``."""
        j = bisect_right(self.levels, uniform)
        if j == 0:
            return quantiles[0]
        if j == len(self.levels):
            return quantiles[-1]
        share = (uniform - self.levels[j - 1]) / (self.levels[j] - self.levels[j - 1])
        return quantiles[j - 1] + share * (quantiles[j] - quantiles[j - 1])


@dataclass(frozen=True, slots=True)
class Encoding:
    """Time to encode a message of k blocks in a JPEG atlas with all vectors: ``base_s + per_block_s · k``.

    Profiles without a table of codecs know no more; those that have one go by that.
    """

    base_s: float
    per_block_s: float


@dataclass(frozen=True, slots=True)
class Power:
    """What the device draws; either figure may be unknown."""

    idle_w: float | None = None
    busy_w: float | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's dense time, its output, and what crosses the link when the network is cut after it."""

    name: str
    seconds: float
    output_bytes: int
    live_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """One model on one device. Fields are those of the YAML file; None where the source does not say.

    Two more follow from them: ``curve``, the latency curve in use, and ``domain``, the smallest and the
    largest number of blocks that it was profiled for (0 and the whole frame where the source does not say).
    The quadratic is in use unless there is an alternative that predicts held-out points better, or a table,
    which somebody measured at every size that there is.
    """

    device: str
    model: str
    resolution_px: tuple[int, int]  # height, width
    block_px: int
    dense_s: float
    quadratic: Quadratic
    provenance: Mapping[str, Any] = field(hash=False)
    precision: str | None = None
    extract_s: float | None = None
    encode_s: Encoding | None = None
    codecs: CodecTable | None = None
    r2: float | None = None
    heldout_error: float | None = (
        None  # of the quadratic: median relative error on points kept out of the fit
    )
    k_min: int | None = None
    k_max: int | None = None
    breakeven_k: float | None = None
    residual_quantiles: Residuals | None = None
    alternative: PiecewiseLinear | Tabulated | None = None
    power_w: Power | None = None
    layers: tuple[Layer, ...] | None = None
    curve: LatencyCurve = field(init=False, repr=False, compare=False)
    domain: tuple[float, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        curve = self._chosen_curve()
        low, high = curve.domain
        largest = self.block_count if self.k_max is None else self.k_max
        object.__setattr__(self, "curve", curve)
        object.__setattr__(self, "domain", (max(self.k_min or 0, low), min(largest, high)))

    def _chosen_curve(self) -> LatencyCurve:
        other, error = self.alternative, self.heldout_error
        if isinstance(other, Tabulated):
            return other
        if other is None or other.heldout_error is None or error is None or error <= other.heldout_error:
            return self.quadratic
        return other

    @property
    def block_count(self) -> int:
        """Blocks of a whole frame at the profile's resolution."""
        height, width = self.resolution_px
        return -(-height // self.block_px) * -(-width // self.block_px)

    def sparse_s(self, k: float) -> float:
        """T(k), the expected time of sparse inference over k blocks.

        T(0) is what the curve tends to: with nothing to recompute the cached outputs still have to be moved
        along the vectors and decoded into a result, and that is what its constant stands for. A caller who
        skips the executor altogether must not ask.
        """
        return self.curve.seconds(k)

    def is_extrapolated(self, k: float) -> bool:
        """Whether k lies outside the profiled range.

        Where the range is unknown (the papers give none) only a k beyond the whole frame is known to be
        outside. k = 0 never is: T(0) is a rule, not a fitted point.
        """
        return k != 0 and not self.domain[0] <= k <= self.domain[1]

    def sample_s(self, k: float, uniform: float) -> float:
        """A time for k blocks at quantile ``uniform`` in [0, 1) of the device's scatter; T(k) if unknown."""
        residuals = self.residual_quantiles
        if residuals is None:
            return self.curve.seconds(k)
        return self.quadratic.seconds(k) * residuals.at(k, uniform)

    def dense_sample_s(self, uniform: float) -> float:
        """Dense inference with its scatter at quantile ``uniform``; ``dense_s`` if it is unknown."""
        residuals = self.residual_quantiles
        if residuals is None or residuals.dense is None:
            return self.dense_s
        return self.dense_s * residuals.row(residuals.dense, uniform)

    def extract_sample_s(self, uniform: float) -> float:
        """Motion extraction with its scatter at quantile ``uniform``; 0 where the profile has no time."""
        residuals = self.residual_quantiles
        extract_s = self.extract_s or 0.0
        if residuals is None or residuals.extract is None:
            return extract_s
        return extract_s * residuals.row(residuals.extract, uniform)

    def codec_times(self, codec: str) -> CodecTimes | None:
        """What a codec takes on the device's processor; None where nobody knows.

        Where a profile has no table of codecs, ``encode_s`` serves for blocks in JPEG, and for nothing else.
        """
        if self.codecs is not None:
            return self.codecs.of(codec)
        if codec != f"jpeg{BLOCKS}" or self.encode_s is None:
            return None
        per_pixel_s = self.encode_s.per_block_s / self.block_px**2
        return CodecTimes(CodecTime(self.encode_s.base_s, per_pixel_s, 0.0), None)
