"""What the edge believes the uplink can carry, from the transfers it has seen finish.

A short message can leave within one delivery opportunity and would then suggest an infinite rate, so an
estimator only looks at transfers of at least ``MIN_BYTES``. The first one counts whatever its size: a system
that knows nothing of its uplink would never offload, and so never learn.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from traces.errors import InputError

MIN_BYTES = 8 * 1500
MIN_SECONDS = 1e-3


#: When a message of so many bytes, sent now, will be through: seconds from now. No real edge can know it.
UplinkFuture: TypeAlias = Callable[[float], float]


class BandwidthEstimator(Protocol):
    """A running estimate of the uplink's rate in bit/s.

    A class is made as `Class(future, options)`, with the uplink's future, which only an oracle asks, and an
    instance of its nested `Options`.
    """

    def observe(self, size_bytes: float, seconds: float) -> None:
        """A transfer of `size_bytes` took `seconds` of the link's time."""

    def estimate_bps(self) -> float | None:
        """The current estimate; None before the first transfer."""


def _rate_bps(size_bytes: float, seconds: float, first: bool) -> float | None:
    """The rate of one transfer, or None if it is too short to tell."""
    if size_bytes < MIN_BYTES and not first:
        return None
    return 8.0 * size_bytes / max(seconds, MIN_SECONDS)


def unknown_future(size_bytes: float) -> float:
    """The future of an uplink that nobody knows."""
    raise ValueError("this estimator was made without the uplink's future")


@dataclass(slots=True, eq=False)
class Ewma:
    """Exponentially weighted moving average: e ← (1 − α)·e + α·x."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """alpha: weight of the newest transfer, α in (0, 1]."""

        alpha: float = 0.3

        def __post_init__(self) -> None:
            if not 0.0 < self.alpha <= 1.0:
                raise InputError(f"estimator.alpha: expected a weight in (0, 1], found {self.alpha}")

    future: UplinkFuture = unknown_future
    options: Options = Options()
    _estimate_bps: float | None = None

    def observe(self, size_bytes: float, seconds: float) -> None:
        rate_bps = _rate_bps(size_bytes, seconds, self._estimate_bps is None)
        if rate_bps is not None:
            previous = self._estimate_bps
            self._estimate_bps = (
                rate_bps if previous is None else previous + self.options.alpha * (rate_bps - previous)
            )

    def estimate_bps(self) -> float | None:
        return self._estimate_bps


@dataclass(slots=True, eq=False)
class HarmonicMean:
    """Harmonic mean of the last transfers' rates; a single fast one cannot raise it much."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """window: how many transfers."""

        window: int = 5

        def __post_init__(self) -> None:
            if self.window < 1:
                raise InputError(f"estimator.window: expected at least 1 transfer, found {self.window}")

    future: UplinkFuture = unknown_future
    options: Options = Options()
    _rates_bps: deque[float] = field(default_factory=deque)

    def observe(self, size_bytes: float, seconds: float) -> None:
        rate_bps = _rate_bps(size_bytes, seconds, not self._rates_bps)
        if rate_bps is not None:
            self._rates_bps.append(rate_bps)
            if len(self._rates_bps) > self.options.window:
                self._rates_bps.popleft()

    def estimate_bps(self) -> float | None:
        if not self._rates_bps:
            return None
        return len(self._rates_bps) / sum(1.0 / rate for rate in self._rates_bps)


@dataclass(slots=True, eq=False)
class Kalman:
    """Scalar Kalman filter of a random walk: x' = x + w, z = x + v, in units of the last estimate."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """Both as shares of the estimate.

        Args:
            process: standard deviation of w, a transfer.
            measurement: standard deviation of v.
        """

        process: float = 0.1
        measurement: float = 0.3

        def __post_init__(self) -> None:
            if self.process <= 0.0 or self.measurement <= 0.0:
                raise InputError(
                    "estimator.process, estimator.measurement: expected shares > 0, "
                    f"found {self.process} and {self.measurement}"
                )

    future: UplinkFuture = unknown_future
    options: Options = Options()
    _estimate_bps: float | None = None
    _variance: float = 0.0

    def observe(self, size_bytes: float, seconds: float) -> None:
        rate_bps = _rate_bps(size_bytes, seconds, self._estimate_bps is None)
        if rate_bps is None:
            return
        options = self.options
        if self._estimate_bps is None:
            self._estimate_bps = rate_bps
            self._variance = (options.measurement * rate_bps) ** 2
            return
        scale = self._estimate_bps**2
        variance = self._variance + options.process**2 * scale
        gain = variance / (variance + options.measurement**2 * scale)
        self._estimate_bps = max(self._estimate_bps + gain * (rate_bps - self._estimate_bps), 1.0)
        self._variance = (1.0 - gain) * variance

    def estimate_bps(self) -> float | None:
        return self._estimate_bps


@dataclass(slots=True, eq=False)
class Oracle:
    """The true mean rate over the next `horizon_s` seconds, which no real edge can know."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """horizon_s: how far to look ahead."""

        horizon_s: float = 0.1

        def __post_init__(self) -> None:
            if not (math.isfinite(self.horizon_s) and self.horizon_s > 0):
                raise InputError(f"estimator.horizon_s: expected a time > 0 s, found {self.horizon_s}")

    future: UplinkFuture
    options: Options = Options()

    def observe(self, size_bytes: float, seconds: float) -> None:
        """An oracle does not learn."""

    def estimate_bps(self) -> float | None:
        size_bytes = 15_000.0
        while (seconds := self.future(size_bytes)) < self.options.horizon_s:
            size_bytes *= 2.0
        return 8.0 * size_bytes / seconds
