"""A synthetic cellular uplink: the embedded default trace, for runs that need no download.

It imitates the scheduled uplink traffic of a loaded LTE cell, millisecond by millisecond, in the manner of
the Madrid LTE recordings (scheduled bits of all users). It is *not* such a recording and says so: the trace
is marked synthetic and its name starts with "synthetic".
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from traces.bandwidth.trace import MAX_OPPORTUNITIES, MS_PER_S, OpportunityTrace
from traces.errors import InputError

PACKET_BYTES = 1500
MINUTE_MS = 60 * MS_PER_S
RECORDING_MS = 10 * MINUTE_MS  # what carries the mean of a network that goes on
# Of the first 200 seeds whose minute is near the medians below (spreads and autocorrelation within 15 %,
# outages within half), the one whose first 10, 20, 30 and 60 s are nearest to the mean: within 4 %.
DEFAULT_SEED = 31

USERS = 10  # on-off users whose demands add up
USER_ON_S = 4.0  # mean length of a burst of one user
USER_OFF_S = 6.0  # mean pause
PARETO_SHAPE = 1.7  # heavy tails (infinite variance) make the sum bursty at every time scale
BURST_RATE_SIGMA = (
    0.5  # bursts differ: natural logarithm of a burst's rate. Drawn for each, not for each user:
)
# every recording is then of one population, and a long run tells what many short ones would.

SHADOWING_SIGMA = 0.4  # slow fading: natural logarithm of the rate
SHADOWING_CORRELATION_S = 5.0  # metres of walking, tens of metres of driving
SHADOWING_STEP_MS = 50
FADING_SIGMA = 0.2  # fast fading as it remains after link adaptation
FADING_CORRELATION_S = 0.03
FADING_STEP_MS = 5

HARQ_PROCESSES = 8  # LTE's uplink retransmits synchronously every 8 ms: grants recur with that period
GRANT_ROUNDS = 2  # a grant pattern lasts 2 such rounds
GRANT_PROBABILITY = 0.35  # share of the milliseconds with a grant
GRANT_SHAPE = 2.0  # grants differ in width and scheme: gamma-distributed, coefficient of variation 0.7
CEILING = 12.0  # a cell is finite: no millisecond carries more than this many times the mean

CORRELATION_S = 4.7  # 1 + 2·Σ ρ of its rates in bins of 100 ms: the median of 40 recordings

OUTAGES_PER_S = 5 / 60  # handovers and deep fades
OUTAGE_MEDIAN_S = 0.18
OUTAGE_SIGMA = 0.8
OUTAGE_LONGEST_S = 1.5


def synthetic_uplink(
    mean_bps: float = 56e6, duration_s: float = 60.0, seed: int = DEFAULT_SEED, *, name: str | None = None
) -> OpportunityTrace:
    """Millisecond delivery opportunities of a synthetic cellular uplink.

    The weight of millisecond t is

        w(t) = min(ceiling, users(t) * shadowing(t) * fading(t) * grant(t)) * (0 in an outage)

    and its packets are the increments of round(m * sum(w up to t) / sum(w)), where m is the number of
    1500-byte packets of the mean: the mean is exact to half a packet a period, and the same seed gives the
    same shape at every mean.

    - users: on-off sources with Pareto bursts and pauses; their sum is bursty at every time scale
      (Willinger et al., "Self-similarity through high-variability", IEEE/ACM ToN 5(1), 1997);
    - shadowing: log-normal, exponentially correlated (Gudmundson, Electronics Letters 27(23), 1991);
    - fading: the same with 30 ms correlation, smaller;
    - grants: on or off for each of 8 interleaved HARQ processes, redrawn every 16 ms; their sizes are
      gamma-distributed;
    - outages: Poisson, log-normal lengths.

    Aims, over 60 s, with what 40 seeds give (median, 5th to 95th percentile) and what the real uplink
    Verizon-LTE-short.up of mahimahi has:

                                         synthetic              Verizon-LTE-short.up
        coefficient of variation, 1 ms   2.1  (2.0 to 2.2)      2.1
                                 100 ms  0.61 (0.55 to 0.72)    0.59
                                 1 s     0.51 (0.42 to 0.62)    0.52
        autocorrelation at 1 s (100 ms)  0.44 (0.21 to 0.56)    0.56
        outages >= 0.1 s a minute        4    (2 to 9)          6
        time in outages                  2 %  (0.6 to 5.2 %)    3 %
        milliseconds with a packet       34 %                   (at 130 Mbit/s)

    Arguments: mean_bps > 0; duration_s >= 1 (rounded to milliseconds); seed >= 0.

    Raises:
        InputError: an argument is out of its range.
    """
    _check(mean_bps, duration_s, seed, "duration_s")
    period_ms = round(duration_s * MS_PER_S)
    counts = _packets(_weights(period_ms, seed), mean_bps)
    if not counts.any():
        raise InputError(
            f"mean_bps(={mean_bps:g}) leaves no packet of {PACKET_BYTES} bytes in {duration_s:g} s"
        )
    source = f"traces.bandwidth.synthetic(mean_bps={mean_bps:g}, duration_s={duration_s:g}, seed={seed})"
    return _trace(counts, mean_bps, name, source)


def synthetic_network(
    mean_bps: float = 56e6, covered_s: float = 60.0, seed: int = DEFAULT_SEED, *, name: str | None = None
) -> OpportunityTrace:
    """The first minutes of a synthetic uplink that goes on: what a seed stands for, however long a run is.

    The network is a row of recordings of ten minutes, each of which carries the mean as
    :func:`synthetic_uplink` does. Every part of its traffic is drawn from a stream of its own from the
    beginning on, so a longer piece continues a shorter one, millisecond by millisecond, and a network depends
    on its seed alone. Within a recording the rate wanders: a minute may carry a third more or less than
    the mean, ten seconds half as much or 1.7 times.

    Arguments: mean_bps > 0; covered_s >= 1, rounded up to whole minutes; seed >= 0.

    Raises:
        InputError: an argument is out of its range, or nothing can leave in these minutes.
    """
    _check(mean_bps, covered_s, seed, "covered_s")
    period_ms = math.ceil(covered_s * MS_PER_S / MINUTE_MS) * MINUTE_MS
    weights = _weights(math.ceil(period_ms / RECORDING_MS) * RECORDING_MS, seed)
    recordings = np.split(weights, range(RECORDING_MS, weights.size, RECORDING_MS))
    counts = np.concatenate([_packets(recording, mean_bps) for recording in recordings])[:period_ms]
    if not counts.any():
        raise InputError(
            f"mean_bps(={mean_bps:g}) leaves no packet of {PACKET_BYTES} bytes in {period_ms / MS_PER_S:g} s"
        )
    source = f"traces.bandwidth.synthetic_network(mean_bps={mean_bps:g}, seed={seed})"
    return _trace(counts, mean_bps, name, source)


def _check(mean_bps: float, duration_s: float, seed: int, key: str) -> None:
    if not (math.isfinite(mean_bps) and mean_bps > 0):
        raise InputError(f"mean_bps must be finite and > 0 bit/s (got {mean_bps})")
    if not (math.isfinite(duration_s) and duration_s >= 1):
        raise InputError(f"{key} must be finite and >= 1 s (got {duration_s})")
    if seed < 0:
        raise InputError(f"seed must be >= 0 (got {seed})")
    packets = round(mean_bps * duration_s / (8 * PACKET_BYTES))
    if max(packets, duration_s * MS_PER_S) > MAX_OPPORTUNITIES:
        raise InputError(
            f"mean_bps(={mean_bps:g}) over {key}(={duration_s:g}) needs {packets:.3g} packets; "
            f"at most {MAX_OPPORTUNITIES:.0e} are allowed"
        )


def _trace(counts: NDArray[np.int64], mean_bps: float, name: str | None, source: str) -> OpportunityTrace:
    return OpportunityTrace(
        name=name or f"synthetic uplink {mean_bps / 1e6:g} Mbit/s",
        times_ms=np.repeat(np.arange(counts.size, dtype=np.int64), counts),
        period_ms=counts.size,
        packet_bytes=PACKET_BYTES,
        synthetic=True,
        source=source,
    )


def _packets(weights: NDArray[np.float64], mean_bps: float) -> NDArray[np.int64]:
    """Packets of each millisecond, (ms,), that add up to the mean."""
    cumulative = np.cumsum(weights)
    total = round(mean_bps * weights.size / MS_PER_S / (8 * PACKET_BYTES))
    rounded = np.rint(cumulative * (total / cumulative[-1])).astype(np.int64)
    return np.asarray(np.diff(rounded, prepend=0), dtype=np.int64)


def _weights(period_ms: int, seed: int) -> NDArray[np.float64]:
    """Relative capacity of each millisecond, (period_ms,); a longer one begins with a shorter one's."""
    users, shadowing, fading, grants, outages = np.random.SeedSequence(seed).spawn(5)
    weights = _on_off_users(period_ms, users)
    weights *= _log_normal_fading(
        period_ms, SHADOWING_STEP_MS, SHADOWING_CORRELATION_S, SHADOWING_SIGMA, shadowing
    )
    weights *= _log_normal_fading(period_ms, FADING_STEP_MS, FADING_CORRELATION_S, FADING_SIGMA, fading)
    weights *= _grants(period_ms, grants)
    for first_ms in range(0, period_ms, RECORDING_MS):
        recording = weights[first_ms : first_ms + RECORDING_MS]
        np.minimum(recording, CEILING * recording.mean(), out=recording)
    for start_ms, end_ms in _outages_ms(period_ms, outages):
        weights[start_ms:end_ms] = 0.0
    return weights


def _on_off_users(period_ms: int, stream: np.random.SeedSequence) -> NDArray[np.float64]:
    """Summed demand of the on-off users, (period_ms,); never quite 0, as cells always carry something."""
    # A user's clock starts long before the trace, so that the trace does not begin with every user off.
    warm_up_ms = MINUTE_MS
    end_ms = period_ms + warm_up_ms
    change = np.zeros(end_ms + 1)
    for user in stream.spawn(USERS):
        rng = np.random.default_rng(user)
        clock_ms = 0.0
        while clock_ms < end_ms:
            pairs = 64
            # Lomax draws plus 1 are Pareto with minimum 1 and mean shape / (shape - 1).
            lengths = (rng.pareto(PARETO_SHAPE, (pairs, 2)) + 1.0) * (PARETO_SHAPE - 1.0) / PARETO_SHAPE
            lengths_ms = lengths * np.array([USER_OFF_S, USER_ON_S]) * MS_PER_S
            edges_ms = clock_ms + np.cumsum(lengths_ms.ravel())
            clock_ms = float(edges_ms[-1])
            edges = np.minimum(edges_ms, end_ms).astype(np.int64)
            rates = np.exp(rng.normal(0.0, BURST_RATE_SIGMA, pairs))
            np.add.at(change, edges[0::2], rates)
            np.add.at(change, edges[1::2], -rates)
    demand = np.cumsum(change[:end_ms])[warm_up_ms:]
    floor = 0.05 * USERS * USER_ON_S / (USER_ON_S + USER_OFF_S)
    return np.maximum(demand, floor)


def _log_normal_fading(
    period_ms: int, step_ms: int, correlation_s: float, sigma: float, stream: np.random.SeedSequence
) -> NDArray[np.float64]:
    """exp of a Gaussian first-order autoregressive process, linear between steps, (period_ms,).

    x[i] = a * x[i-1] + sqrt(1 - a^2) * noise with a = exp(-step / correlation), started at stationarity.
    """
    steps = period_ms // step_ms + 2
    a = math.exp(-step_ms / (correlation_s * MS_PER_S))
    x = np.random.default_rng(stream).normal(0.0, sigma, steps)
    x[1:] *= math.sqrt(1.0 - a * a)
    values = x.tolist()
    for i in range(1, steps):
        values[i] += a * values[i - 1]
    grid_ms = np.arange(steps) * step_ms
    return np.asarray(np.exp(np.interp(np.arange(period_ms), grid_ms, values)), dtype=np.float64)


def _grants(period_ms: int, stream: np.random.SeedSequence) -> NDArray[np.float64]:
    """Relative size of each millisecond's grants, mean 1 where there are any, (period_ms,)."""
    which, how_large = (np.random.default_rng(part) for part in stream.spawn(2))
    patterns = -(-period_ms // (HARQ_PROCESSES * GRANT_ROUNDS))
    on = which.random((patterns, 1, HARQ_PROCESSES)) < GRANT_PROBABILITY
    repeated = np.repeat(on, GRANT_ROUNDS, axis=1)
    sizes = how_large.gamma(GRANT_SHAPE, 1.0 / GRANT_SHAPE, period_ms)
    return np.asarray(repeated.reshape(-1)[:period_ms] * sizes, dtype=np.float64)


def _outages_ms(period_ms: int, stream: np.random.SeedSequence) -> list[tuple[int, int]]:
    """(start, end) in milliseconds of the times without any grant, whose starts are a Poisson process."""
    rng = np.random.default_rng(stream)
    found: list[tuple[int, int]] = []
    start_ms = rng.exponential(MS_PER_S / OUTAGES_PER_S)
    while start_ms < period_ms:
        length_s = min(OUTAGE_MEDIAN_S * math.exp(rng.normal(0.0, OUTAGE_SIGMA)), OUTAGE_LONGEST_S)
        found.append((int(start_ms), min(int(start_ms) + math.ceil(length_s * MS_PER_S), period_ms)))
        start_ms += rng.exponential(MS_PER_S / OUTAGES_PER_S)
    return found
