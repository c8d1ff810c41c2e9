"""Two systems on the same realisations: paired differences, their intervals, and a verdict in words.

Runs are paired that met the same network and the same frames: the same trace, video, seeds, replicate, frames
and rate, and the same in whatever else was swept. A pair's difference loses what both met alike, so its
interval is far narrower than those of the two means. With two or more pairs it is Student's, over the pairs;
with one it comes from within the run (:mod:`sim.records.intervals`), where that is long enough, and quantiles
have none.

Each interval holds at 95 % by itself. Verdicts are read together, so they are Holm's: over all quantities of
all settings that are printed, a difference that is called one is wrong in at most 5 % of comparisons of
systems that do not differ (Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
Journal of Statistics 6, 1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.pairing import Pair, PairedRuns
from analysis.replicates import counted_frames, latencies, latency_interval
from analysis.results import is_known
from sim.records.intervals import (
    CONFIDENCE,
    COSINES,
    MIN_SAMPLES,
    QUANTILE_LEVELS,
    UNKNOWN,
    CameraGrid,
    Interval,
    influence,
    long_enough,
    mean_variance,
    t_point,
)

FIELDS = ("quantity", "a", "b", "difference", "low", "high", "pairs", "verdict", "setting")


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is compared.

    Args:
        name: what it is called.
        key: of the summary.
        higher: whether more is better.
        scale, unit, digits: how it is printed.
        column: of the frames' table, for the interval of a single pair; None: it has none.
        missing: what a frame without a result counts as; None: it does not count.
    """

    name: str
    key: str
    higher: bool
    digits: int = 3
    scale: float = 1.0
    unit: str = ""
    column: str | None = None
    missing: float | None = None

    @property
    def level(self) -> float | None:
        """Of a quantile; None of what is none."""
        return QUANTILE_LEVELS.get(self.key)


QUANTITIES = (
    Quantity("EA", "ea_mean", True, column="ea"),
    Quantity("EA/captured", "ea_per_captured", True, column="ea", missing=0.0),
    Quantity("accuracy", "accuracy_mean", True, column="accuracy"),
    Quantity("streaming accuracy", "streaming_accuracy_mean", True, column="streaming_accuracy"),
    Quantity("latency mean", "latency_mean_s", False, 1, 1e3, " ms", "latency_s"),
    Quantity("latency p95", "latency_p95_s", False, 1, 1e3, " ms"),
    Quantity("latency p99", "latency_p99_s", False, 1, 1e3, " ms"),
    Quantity("uplink kB/frame", "uplink_bytes", False, 2, 1e-3, " kB", "uplink_bytes", 0.0),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A quantity of both, and what is known of the difference a − b."""

    quantity: Quantity
    a: float
    b: float
    interval: Interval
    p_value: float | None
    pairs: int
    setting: str
    why_not: str = ""

    @property
    def difference(self) -> float:
        """a − b."""
        return self.a - self.b


def compare(paired: Sequence[PairedRuns]) -> list[Difference]:
    """The differences of all quantities that both sides have, for each setting that was swept beside."""
    return [
        found
        for runs in paired
        for quantity in QUANTITIES
        if (found := _difference(quantity, runs.distinct(), runs.setting)) is not None
    ]


def _difference(quantity: Quantity, pairs: Sequence[Pair], setting: str) -> Difference | None:
    values = [(_value(pair.a, quantity), _value(pair.b, quantity)) for pair in pairs]
    known = [(a, b) for a, b in values if a is not None and b is not None]
    if not known:
        return None
    a, b = (float(np.mean(side)) for side in zip(*known, strict=True))
    why_not = "" if len(known) == len(values) else f"{len(values) - len(known)} pairs have no value"
    interval, p_value = UNKNOWN, None
    if not why_not and quantity.level is not None:
        why_not = _too_few_beyond(quantity.level, pairs)
    if not why_not and len(pairs) > 1:
        _, interval, p_value = difference_over_pairs([one - other for one, other in known])
    elif not why_not:
        interval, p_value, why_not = _within(quantity, pairs[0], a - b)
    return Difference(quantity, a, b, interval, p_value, len(known), setting, why_not)


def _value(row: dict[str, Any], quantity: Quantity) -> float | None:
    value = row.get(quantity.key)
    if not is_known(value):
        return None
    if quantity.key == "uplink_bytes":  # a total: what of it counts is in the frames
        sent = _series(Path(row["folder"]), quantity)
        return None if sent is None or sent.empty else float(sent.mean())
    return float(value)


def difference_over_pairs(differences: Sequence[float]) -> tuple[float, Interval, float | None]:
    """The mean of paired differences, Student's interval of it, and the two-sided p value of none.

    Interval and p value are unknown of fewer than two pairs.
    """
    count, mean = len(differences), float(np.mean(differences))
    if count < 2:
        return mean, UNKNOWN, None
    error = float(np.std(differences, ddof=1)) / math.sqrt(count)
    return mean, Interval.around(mean, t_point(count - 1) * error), _p_value(mean, error, count - 1)


def _p_value(mean: float, error: float, freedom: int) -> float:
    from scipy.stats import t

    if error <= 1e-12 * abs(mean):  # the same in every pair
        return 1.0 if mean == 0.0 else 0.0
    return float(2.0 * t.sf(abs(mean) / error, freedom))


def _too_few_beyond(level: float, pairs: Sequence[Pair]) -> str:
    """Why a quantile's difference has no interval; empty where it has one."""
    if len(pairs) < 2:
        return "a quantile needs replicates"
    for side in ("a", "b"):
        runs = [latencies(Path(getattr(pair, side)["folder"])) for pair in pairs]
        if latency_interval(runs, level).low is None:
            return "too few effective values beyond the quantile"
    return ""


def _within(quantity: Quantity, pair: Pair, difference: float) -> tuple[Interval, float | None, str]:
    """The interval of a difference of means from one run of each."""
    if quantity.column is None:
        return UNKNOWN, None, "a quantile needs replicates"
    one, other = (_series(Path(row["folder"]), quantity) for row in (pair.a, pair.b))
    if one is None or other is None or not one.index.equals(other.index):
        return UNKNOWN, None, "their frames were not captured at the same times"
    grid = CameraGrid(*(one.index.get_level_values(name).to_numpy() for name in ("camera", "captured_s")))
    series = influence(grid.rows(one.to_numpy())) - influence(grid.rows(other.to_numpy()))
    correlation_s = max(row.get("link_correlation_s") or 0.0 for row in (pair.a, pair.b))
    if series.size < MIN_SAMPLES or not long_enough(series, grid.interval_s, correlation_s):
        return UNKNOWN, None, "a single pair of so short runs; replicates=8 tells"
    error = math.sqrt(mean_variance(series))
    return (
        Interval.around(difference, t_point(COSINES) * error),
        _p_value(difference, error, COSINES),
        "",
    )


def _series(folder: Path, quantity: Quantity) -> pd.Series | None:
    """A quantity of each frame that counts, by camera and time of capture; NaN where it has none."""
    import pyarrow.parquet

    assert quantity.column is not None
    names = pyarrow.parquet.read_schema(folder / "frames.parquet").names
    if quantity.column not in names:
        return None
    beside = ["uplink_opportunistic_bytes"] if quantity.key == "uplink_bytes" else []
    wanted = ["camera", "captured_s", "outcome", quantity.column, *(name for name in beside if name in names)]
    frames = counted_frames(folder, wanted)
    values = frames[quantity.column].astype("float64")
    for name in set(beside) & set(names):
        values = values + frames[name].astype("float64").fillna(0.0)
    if quantity.missing is not None:
        values = values.fillna(quantity.missing)
    return pd.Series(values.to_numpy(), index=pd.MultiIndex.from_frame(frames[["camera", "captured_s"]]))


# -- verdicts --------------------------------------------------------------------------------------


def significant(differences: Sequence[Difference]) -> list[bool]:
    """Which differences are called so, by Holm's procedure over all that have a p value."""
    return holm([found.p_value for found in differences])


def holm(p_values: Sequence[float | None]) -> list[bool]:
    """Which of several tests are called, so that at most 5 % of families without any effect call one."""
    tested = sorted((p_value, place) for place, p_value in enumerate(p_values) if p_value is not None)
    called = [False] * len(p_values)
    for rank, (p_value, place) in enumerate(tested):
        if p_value > (1.0 - CONFIDENCE) / (len(tested) - rank):
            break
        called[place] = True
    return called


def verdict(found: Difference, called: bool, names: tuple[str, str]) -> str:
    """What a difference means, in words."""
    quantity = found.quantity

    def shown(value: float) -> str:
        return f"{quantity.scale * value:.{quantity.digits}f}"

    size = found.difference
    if found.interval.low is None or found.interval.high is None:
        sign = "+" if size >= 0 else ""
        return f"no interval for {sign}{shown(size)}{quantity.unit} ({found.why_not})"
    low, high = found.interval.low, found.interval.high
    if called:
        a_better = (size > 0) == quantity.higher
        ends = sorted((abs(low), abs(high)))
        return (
            f"{names[0] if a_better else names[1]} is better by {shown(abs(size))} "
            f"[{shown(ends[0])}, {shown(ends[1])}]{quantity.unit}"
        )
    if low == high == 0.0:
        return "no difference"
    why = "" if low <= 0.0 <= high else "; by itself it would be one, among so many quantities it is not"
    return f"no significant difference ({shown(size)} [{shown(low)}, {shown(high)}]{quantity.unit}{why})"


def comparison_table(differences: Sequence[Difference], names: tuple[str, str]) -> pd.DataFrame:
    """What compare.csv holds: one row a quantity and setting, SI units."""
    called = significant(differences)
    rows = [
        (
            found.quantity.name,
            found.a,
            found.b,
            found.difference,
            *found.interval,
            found.pairs,
            verdict(found, is_called, names),
            found.setting,
        )
        for found, is_called in zip(differences, called, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(FIELDS))


def comparison_text(differences: Sequence[Difference], names: tuple[str, str]) -> str:
    """What the command prints."""
    called = significant(differences)
    lines: list[str] = []
    setting = None
    for found, is_called in zip(differences, called, strict=True):
        if found.setting != setting:
            setting = found.setting
            lines.append(f"{setting or 'all pairs'}: {found.pairs} pair{'s' if found.pairs != 1 else ''}")
        quantity = found.quantity
        values = (f"{quantity.scale * value:.{quantity.digits}f}" for value in (found.a, found.b))
        both = " against ".join(values)
        lines.append(f"  {quantity.name:<19}{both + quantity.unit:<25}{verdict(found, is_called, names)}")
    if any(found.quantity.level is not None and found.pairs > 1 for found in differences):
        lines.append("quantiles: means over pairs of each run's own, not those of all frames together")
    tested = sum(found.p_value is not None for found in differences)
    lines.append(
        f"[ ]: 95 % intervals of paired differences, each by itself; verdicts hold together (Holm's, "
        f"{tested} tests)"
    )
    return "\n".join(lines)
