"""What the edge believes the uplink can carry, from what it has seen the link carry.

An estimator is told samples: bytes, and the seconds that the link was busy with them
(:class:`sim.world.uplink_meter.UplinkMeter` makes them from messages of any size). What it has learnt loses
weight with time, not with the number of samples, so that a link which has changed is followed as fast by a
system that sends little as by one that sends much. Rates differ by factors (a link collapses from 56 to 0.4
Mbit/s): averages are therefore of logarithms, and a step down takes as long to follow as the same step up.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from sim.physics.trace_replay import PACKET_BYTES
from traces.errors import InputError

MIN_SECONDS = 1e-6  # less is rounding

#: When a message of so many bytes, sent now, will be through: seconds from now. No real edge can know it.
UplinkFuture: TypeAlias = Callable[[float], float]


class BandwidthEstimator(Protocol):
    """A running estimate of the uplink's rate in bit/s.

    A class is made as `Class(future, options)`, with the uplink's future, which only an oracle asks, and an
    instance of its nested `Options`. It may also have

    - `elapse(seconds)`, called before :meth:`observe` with the time since the last sample, so that it can
      forget; without it, samples are all that it knows of time;
    - `covers(grants)`, called before :meth:`observe` on links that grant milliseconds, with how many of these
      the sample's bytes took; 0: none has come, and the sample is a bound, the bytes of a usual one over
      the time without any. It is not called where bytes flow;
    - `learns = False`, if samples tell it nothing: no probes are then sent on its behalf.
    """

    def observe(self, size_bytes: float, seconds: float) -> None:
        """The link was busy for `seconds` with `size_bytes`."""

    def estimate_bps(self) -> float | None:
        """The current estimate; None before the first sample."""


def unknown_future(size_bytes: float) -> float:
    """The future of an uplink that nobody knows."""
    raise ValueError("this estimator was made without the uplink's future")


def _rate_bps(size_bytes: float, seconds: float) -> float:
    return max(8.0 * size_bytes / max(seconds, MIN_SECONDS), 1.0)


def _checked(key: str, value: float, unit: str = " s") -> None:
    if not (math.isfinite(value) and value > 0.0):
        raise InputError(f"estimator.{key}: expected a value > 0{unit}, found {value}")


@dataclass(slots=True, eq=False)
class Ewma:
    """Exponentially weighted moving average of log rates, by time: ln e ← ln e + w·(ln x − ln e).

    w = 1 − 2^(−t/h), where t is the time since the sample before (at least what the sample itself took) and h
    the half-life.
    """

    @dataclass(frozen=True, slots=True)
    class Options:
        """half_life_s: after which time what is known weighs half, h."""

        half_life_s: float = 0.2

        def __post_init__(self) -> None:
            _checked("half_life_s", self.half_life_s)

    future: UplinkFuture = unknown_future
    options: Options = Options()
    _estimate_bps: float | None = None
    _elapsed_s: float = 0.0

    def elapse(self, seconds: float) -> None:
        """So much time has passed since the last sample."""
        self._elapsed_s = seconds

    def observe(self, size_bytes: float, seconds: float) -> None:
        rate_bps = _rate_bps(size_bytes, seconds)
        believed_bps = self._estimate_bps
        if believed_bps is None:
            self._estimate_bps = rate_bps
        else:
            halves = max(self._elapsed_s, seconds) / self.options.half_life_s
            weight = 1.0 - 0.5**halves if halves < 60.0 else 1.0
            self._estimate_bps = believed_bps * (rate_bps / believed_bps) ** weight
        self._elapsed_s = 0.0

    def estimate_bps(self) -> float | None:
        return self._estimate_bps


@dataclass(slots=True, eq=False)
class HarmonicMean:
    """Harmonic mean of the last samples' rates; a single fast one cannot raise it much."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """What is remembered.

        Args:
            window: how many samples at most.
            memory_s: samples older than the newest by more are forgotten.
        """

        window: int = 5
        memory_s: float = 1.0

        def __post_init__(self) -> None:
            if self.window < 1:
                raise InputError(f"estimator.window: expected at least 1 sample, found {self.window}")
            _checked("memory_s", self.memory_s)

    future: UplinkFuture = unknown_future
    options: Options = Options()
    _samples: deque[tuple[float, float]] = field(default_factory=deque)  # (when, rate)
    _now_s: float = 0.0
    _elapsed_s: float = 0.0

    def elapse(self, seconds: float) -> None:
        """So much time has passed since the last sample."""
        self._elapsed_s = seconds

    def observe(self, size_bytes: float, seconds: float) -> None:
        self._now_s += max(self._elapsed_s, seconds)
        self._elapsed_s = 0.0
        samples, options = self._samples, self.options
        samples.append((self._now_s, _rate_bps(size_bytes, seconds)))
        while len(samples) > options.window or self._now_s - samples[0][0] > options.memory_s:
            samples.popleft()

    def estimate_bps(self) -> float | None:
        if not self._samples:
            return None
        return len(self._samples) / sum(1.0 / rate for _, rate in self._samples)


@dataclass(slots=True, eq=False)
class Kalman:
    """Scalar Kalman filter of the log rate, a random walk in time: x' = x + w·√t, z = x + v.

    The variance of v is `measurement` squared and what chance adds. A sample over n grants is a sum of n
    sizes over a sum of n gaps. If each is exponential (a compound Poisson process), either sum is
    Gamma(n), whose logarithm has the variance ψ'(n) ≈ 1/n + 1/(2n²) (trigamma); together that is 2/n +
    1/n². So a message that leaves in one grant, after a pause of any length, says little by itself. While
    no grant comes (n = 0), the sample is a bound: the belief falls as for one grant, and is not the surer
    for it, since what follows may be as before. Where bytes flow, packets count instead of grants: 1/n.

    A sample further off than `gate` standard deviations says that the link has changed: what was known then
    has the variance of the surprise (covariance inflation), and the sample counts nearly alone.
    """

    @dataclass(frozen=True, slots=True)
    class Options:
        """Standard deviations as logarithms: 0.1 is about 10 %.

        Args:
            process: of w, in a second.
            measurement: of v, for a sample of any size.
            gate: how many standard deviations are a surprise.
        """

        process: float = 0.5
        measurement: float = 0.2
        gate: float = 3.0

        def __post_init__(self) -> None:
            if not (self.process > 0.0 and self.measurement > 0.0):
                raise InputError(
                    "estimator.process, estimator.measurement: expected shares > 0, "
                    f"found {self.process} and {self.measurement}"
                )
            _checked("gate", self.gate, " standard deviations")

    future: UplinkFuture = unknown_future
    options: Options = Options()
    _log_bps: float | None = None
    _variance: float = 0.0
    _elapsed_s: float = 0.0
    _grants: int | None = None  # of the next sample; None: bytes flow

    def elapse(self, seconds: float) -> None:
        """So much time has passed since the last sample."""
        self._elapsed_s = seconds

    def covers(self, grants: int) -> None:
        """The next sample's bytes took so many grants; 0: none has come in its time."""
        self._grants = grants

    def observe(self, size_bytes: float, seconds: float) -> None:
        options, grants = self.options, self._grants
        log_bps = math.log(_rate_bps(size_bytes, seconds))
        noise = options.measurement**2
        if grants is None:
            noise += PACKET_BYTES / size_bytes
        else:
            draws = grants or 1
            noise += (2.0 + 1.0 / draws) / draws
        if self._log_bps is None:
            self._log_bps, self._variance = log_bps, noise
        else:
            variance = self._variance + options.process**2 * max(self._elapsed_s, seconds)
            surprise = log_bps - self._log_bps
            if surprise**2 > options.gate**2 * (variance + noise):
                variance = surprise**2
            gain = variance / (variance + noise)
            if grants == 0:
                self._log_bps += gain * min(0.0, surprise)
                self._variance = variance
            else:
                self._log_bps += gain * surprise
                self._variance = (1.0 - gain) * variance
        self._elapsed_s, self._grants = 0.0, None

    def estimate_bps(self) -> float | None:
        return None if self._log_bps is None else math.exp(self._log_bps)


@dataclass(slots=True, eq=False)
class Oracle:
    """The true mean rate over the next `horizon_s` seconds, which no real edge can know."""

    learns = False

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
