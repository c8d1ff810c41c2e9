"""How often intervals hold: nominal 95 %, on the synthetic network, in the simulator's own arithmetic.

    python -m tests.benchmarks.bench_intervals [--recordings 1000] [--jobs 2] [--csv FILE]

A camera at 30 frames/s sends 60 kB a frame over the 56 Mbit/s network, the newest frame first, as a system
that offloads every frame does; latency is the replayed link's and 35 ms for all else. Its load is a quarter
of the mean and more than the link carries in its slow seconds, so latencies are skewed and correlated over
many seconds. Each recording gives one long run, whose beginnings are the shorter ones, and eight windows
apart from it; a set of eight replicates takes one window of each of eight recordings. The true values are
those of all windows of all recordings together. Start-up is left out, as in a run.

The table is in analysis/README.md, where `python -m tests.theory.sim.test_intervals` writes it. Takes
some five minutes of processor time.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.physics.trace_replay import replay
from sim.records.intervals import (
    Interval,
    influence,
    replicate_interval,
    replicate_quantile_interval,
    run_mean_interval,
    run_quantile_interval,
)
from traces.bandwidth.synthetic import CORRELATION_S, synthetic_network
from traces.bandwidth.trace import OpportunityTrace

CSV = Path(__file__).resolve().parents[1] / "golden" / "tables" / "benchmarks" / "interval_coverage.csv"
FPS, FRAME_BYTES, BESIDE_S = 30.0, 60_000, 0.035
DECAY_PER_S = math.log(2.0) / 0.1
START_UP = 30  # frames
LENGTHS = (300, 600, 3000, 6000, 9000)
REPLICATES, WINDOWS, APART_S = 8, (300, 600), 35.0
FIRST_SEED = 5000

Series = NDArray[np.float64]


class Recording(NamedTuple):
    """Latencies of one network: of a long run, and of windows of it; NaN where a newer frame was sent."""

    long: Series
    windows: Series


def latencies_s(trace: OpportunityTrace, frames: int) -> Series:
    """Latencies of a camera that sends the newest frame whenever the link is free, start-up left out."""
    link, found = replay(trace), np.full(frames + START_UP, np.nan)
    free_s, frame = 0.0, 0
    while frame < found.size:
        begin_s = max(frame / FPS, free_s)
        frame = min(found.size - 1, max(frame, int(begin_s * FPS + 1e-9)))
        free_s = link.take(FRAME_BYTES, begin_s)
        found[frame] = free_s - frame / FPS + BESIDE_S
        frame += 1
    return found[START_UP:]


def record(seed: int) -> Recording:
    """The runs of one recording."""
    network = synthetic_network(56e6, 600.0, seed)
    long_s, window_s = ((frames + START_UP) / FPS + 5.0 for frames in (LENGTHS[-1], WINDOWS[-1]))
    starts_s = [long_s + APART_S * number for number in range(REPLICATES)]
    return Recording(
        latencies_s(network.sliced(0.0, long_s), LENGTHS[-1]),
        np.array([latencies_s(network.sliced(s, s + window_s), WINDOWS[-1]) for s in starts_s]),
    )


def effective(latency_s: Series) -> Series:
    """Effective accuracy of a result that is right when it comes."""
    return np.exp(-DECAY_PER_S * latency_s)


class Row(NamedTuple):
    """How often one kind of interval holds."""

    runs: int
    frames: int
    quantity: str
    trials: int
    given: float
    covered: float
    low: float
    high: float
    half_width: float


def coverage(recordings: Sequence[Recording], lengths: Sequence[int] = LENGTHS) -> Iterator[Row]:
    """One row for each quantity and kind of run."""
    long = np.array([one.long for one in recordings])
    windows = np.array([one.windows for one in recordings])
    count = len(recordings)
    # One window of each of eight recordings, every window once.
    sets = [
        [windows[(first + 37 * number) % count, number] for number in range(REPLICATES)]
        for first in range(count)
    ]
    for name, of in (("latency mean", lambda values: values), ("EA mean", effective)):
        for frames in lengths:
            truth = float(np.nanmean(of(windows), axis=2).mean())
            yield _row(1, frames, name, truth, [_mean_interval(of(one[:frames])) for one in long])
        for frames in WINDOWS:
            means = np.nanmean(of(windows[:, :, :frames]), axis=2)
            found = [
                replicate_interval([float(np.nanmean(of(one[:frames]))) for one in members])
                for members in sets
            ]
            yield _row(REPLICATES, frames, name, float(means.mean()), found)
    for name, level in (("latency p50", 0.5), ("latency p95", 0.95)):
        truth = float(np.nanquantile(windows, level))
        for frames in lengths[2:]:
            found = [run_quantile_interval(one[None, :frames], level, 1 / FPS, CORRELATION_S) for one in long]
            yield _row(1, frames, name, truth, found)
        # Sets of replicates as long as it takes: the beginnings of eight long runs.
        for frames in lengths[1:]:
            found = [
                _replicate_quantile(
                    [long[(first + 37 * number) % count, :frames] for number in range(REPLICATES)], level
                )
                for first in range(count)
            ]
            yield _row(REPLICATES, frames, name, truth, found)


def _mean_interval(values: Series) -> Interval:
    return run_mean_interval(float(np.nanmean(values)), influence(values), 1 / FPS, CORRELATION_S)


def _replicate_quantile(members: Sequence[Series], level: float) -> Interval:
    clean = [one[np.isfinite(one)] for one in members]
    return replicate_quantile_interval(clean, level, sum(map(len, members)) / FPS, CORRELATION_S)


def _row(runs: int, frames: int, name: str, truth: float, found: Sequence[Interval]) -> Row:
    from scipy.stats import beta

    known = [(low, high) for low, high in found if low is not None and high is not None]
    hits, n = sum(low <= truth <= high for low, high in known), len(known)
    if not n:
        return Row(runs, frames, name, len(found), 0.0, math.nan, math.nan, math.nan, math.nan)
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    width = float(np.median([high - low for low, high in known])) / 2.0
    return Row(runs, frames, name, len(found), n / len(found), hits / n, low, high, width)


def table(rows: pd.DataFrame) -> str:
    """The rows as the page shows them."""
    head = f"{'runs':>4}  {'frames':>6}  {'of':<13}{'given':>7}  {'covered':>8}"
    lines = [f"{head}  {'bounds':>15}  {'half width':>11}"]
    lines.append("-" * len(lines[0]))
    for row in rows.itertuples():
        head = f"{row.runs:>4}  {row.frames:>6}  {row.quantity:<13}{100 * row.given:>5.0f} %"
        if not row.given:
            lines.append(head)
            continue
        show: Callable[[float], str] = (
            (lambda value: f"{value:.3f}")
            if row.quantity.startswith("EA")
            else (lambda v: f"{1e3 * v:.1f} ms")
        )
        bounds = f"{100 * row.low:.1f} to {100 * row.high:.1f} %"
        lines.append(f"{head}  {100 * row.covered:>6.1f} %  {bounds:>15}  {show(row.half_width):>11}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recordings", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--keep", type=Path, help="also keep the latencies, as .npz")
    parser.add_argument("--kept", type=Path, nargs="*", help="of what was kept, in the place of recordings")
    options = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + options.recordings)
    if options.kept:
        kept = [np.load(path) for path in options.kept]
        parts = [(one["long"], one["windows"]) for one in kept]
        recordings = [Recording(*pair) for part in parts for pair in zip(*part, strict=True)]
    elif options.jobs > 1:
        from joblib import Parallel, delayed

        recordings = Parallel(n_jobs=options.jobs, batch_size=10)(delayed(record)(seed) for seed in seeds)
    else:
        recordings = [record(seed) for seed in seeds]
    if options.keep:
        long, windows = (np.array(part) for part in zip(*recordings, strict=True))
        np.savez_compressed(options.keep, long=long, windows=windows)
    rows = pd.DataFrame(coverage(recordings))
    print(table(rows))
    if options.csv:
        rows.round(5).to_csv(options.csv, index=False)


if __name__ == "__main__":
    main()
