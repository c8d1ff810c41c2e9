"""What the runs of an experiment say: rows of runs, and a quantity of those meant, with its interval.

Columns are those of ``results.csv`` (``summary.json`` and what was swept), and these, over the frames that
count (captured after start-up):

- `counted_uplink_bps`: bits that crossed the uplink, opportunistic ones included, over the time from the end
  of start-up to the end of the run. The summary's `uplink_bps_mean` has the first frame in it, which a run of
  seconds would make a large part of.
- `critical_uplink_bps`: the same without opportunistic ones.
- `edge_compute_mean_s`, `cloud_compute_mean_s`, `extract_mean_s`: means over results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.reproduction.mapping import Counterpart
from analysis.reproduction.mapping import cells as combinations
from analysis.results import merge_results
from sim.records.intervals import replicate_interval
from traces.errors import InputError

_MEANS = {
    "edge_compute_mean_s": "edge_compute_s",
    "cloud_compute_mean_s": "cloud_compute_s",
    "extract_mean_s": "extract_s",
}
_NEEDED = ("captured_s", "outcome", "path", "blocks_computed", *_MEANS.values())
_BYTES = ("uplink_bytes", "uplink_opportunistic_bytes")


@dataclass(frozen=True, slots=True)
class Simulated:
    """A simulated value with the ends of its 95 % interval over replicates, where there are several."""

    value: float
    low: float | None
    high: float | None


def read_runs(folder: Path) -> pd.DataFrame:
    """The completed jobs of a sweep, one row each, with the columns above.

    Raises:
        InputError: a job that has not completed.
    """
    table = merge_results(folder)
    failed = table[table["status"] != "completed"]
    if len(failed):
        raise InputError(
            f"{folder}: expected completed jobs, found {len(failed)} others, first: {failed['error'].iloc[0]}"
        )
    derived = [_from_frames(folder / str(row["folder"]), row) for row in table.to_dict("records")]
    table = pd.concat([table.reset_index(drop=True), pd.DataFrame(derived)], axis=1)
    return table.assign(sweep=str(folder))


def simulated(quantity: Counterpart, runs: pd.DataFrame) -> Simulated:
    """What the runs say of a quantity, in the published unit.

    Of several cells the least or the most is picked by its mean over replicates, and keeps its own interval:
    an interval of an extreme is too narrow by what the picking adds.

    Raises:
        InputError: a cell without runs, or a value that is not known.
    """
    if quantity.fit is not None:
        selected = _selected(runs, combinations(quantity.where)[0], quantity)
        fitted = _coefficient(selected, quantity, quantity.fit)
        return Simulated(fitted * quantity.times, None, None)
    found = [
        _cell(runs, where, {**where, **over} if quantity.over else None, quantity)
        for where in combinations(quantity.where)
        for over in combinations(quantity.over)
    ]
    if quantity.pick == "mean" and len(found) > 1:
        return Simulated(float(np.mean([one.value for one in found])), None, None)
    return (
        min(found, key=lambda one: one.value)
        if quantity.pick != "most"
        else max(found, key=lambda one: one.value)
    )


def _cell(
    runs: pd.DataFrame, where: Mapping[str, Any], over: Mapping[str, Any] | None, quantity: Counterpart
) -> Simulated:
    """One cell: of the means over replicates, and of each replicate for the interval."""
    above = _by_replicate(_selected(runs, where, quantity), quantity)
    below = _by_replicate(_selected(runs, over, quantity), quantity) if over is not None else None
    value = formed(above.mean(), 1.0 if below is None else below.mean(), quantity)
    shared = above.index if below is None else above.index.intersection(below.index)
    if below is not None and (below == 0.0).any():
        return Simulated(
            value, None, None
        )  # a replicate in which the other had none of it: no ratio of pairs
    each = [formed(above[r], 1.0 if below is None else below[r], quantity) for r in shared]
    if len(each) < 2:
        return Simulated(value, None, None)
    return Simulated(value, *replicate_interval(each))


def formed(above: float, below: float, quantity: Counterpart) -> float:
    """What a counterpart makes of a value over another (1.0: it is not divided), in the published unit."""
    x = above / below
    formed = {"plain": x, "saved": 1.0 - x, "gain": x - 1.0}[quantity.form]
    return float(formed * quantity.times)


def _selected(runs: pd.DataFrame, where: Mapping[str, Any], quantity: Counterpart) -> pd.DataFrame:
    kept = runs
    for column, value in where.items():
        if column not in kept:
            raise InputError(f"{quantity.id}: {quantity.experiment} has no column {column!r}")
        kept = kept[kept[column].map(_text) == _text(value)]
    if kept.empty:
        asked = ", ".join(f"{column}={value}" for column, value in where.items())
        raise InputError(f"{quantity.id}: expected runs of {quantity.experiment} with {asked}, found none")
    return kept


def _by_replicate(selected: pd.DataFrame, quantity: Counterpart) -> pd.Series[float]:
    if quantity.column not in selected:
        raise InputError(f"{quantity.id}: {quantity.experiment} has no column {quantity.column!r}")
    values = pd.to_numeric(selected[quantity.column]).astype(float)
    if values.isna().any():
        raise InputError(f"{quantity.id}: expected {quantity.column} of every run, found some without")
    means = values.groupby(selected["replicate"].fillna(0).to_numpy()).mean()
    if means.size != len(selected):
        raise InputError(
            f"{quantity.id}: expected one run a replicate, found {len(selected)} of {means.size}"
        )
    return means


def _coefficient(selected: pd.DataFrame, quantity: Counterpart, power: int) -> float:
    """The coefficient of k^power of T(k) = a·k² + b·k + c through what frames were charged on one side."""
    side = quantity.column.partition("_")[0]
    frames = [
        pd.read_parquet(Path(row["sweep"]) / str(row["folder"]) / "frames.parquet", columns=list(_NEEDED))
        for _, row in selected.iterrows()
    ]
    together = pd.concat(frames)
    used = together[(together["outcome"] == "completed") & (together["path"] == side)]
    used = used[used["blocks_computed"] < together["blocks_computed"].max()]  # a run's first frame is dense
    blocks, times_s = used["blocks_computed"].astype(float), used[quantity.column].astype(float)
    if blocks.nunique() < 3:
        raise InputError(f"{quantity.id}: expected three different k on the {side}, found {blocks.nunique()}")
    scale = float(blocks.max())  # of order 1, so that the normal equations stay well conditioned
    fitted = np.polynomial.polynomial.polyfit(blocks.to_numpy() / scale, times_s.to_numpy(), 2)
    return float(fitted[power] / scale**power)


def _from_frames(folder: Path, row: Mapping[Any, Any]) -> dict[str, float | None]:
    frames = pd.read_parquet(folder / "frames.parquet", columns=[*_NEEDED, *_BYTES])
    warmup_s = float(row["warmup_s"])
    counted = frames[frames["captured_s"] >= warmup_s]
    done = counted[counted["outcome"] == "completed"]
    critical, unasked = (8.0 * float(counted[name].fillna(0).sum()) for name in _BYTES)
    counted_s = float(row["simulated_s"]) - warmup_s
    found: dict[str, float | None] = {
        "counted_uplink_bps": (critical + unasked) / counted_s,
        "critical_uplink_bps": critical / counted_s,
    }
    for name, column in _MEANS.items():
        found[name] = float(done[column].mean()) if len(done) else None
    return found


def _text(value: Any) -> str:
    """A value as it is compared: 4, 4.0 and "4" are the same, and so are true and "True"."""
    text = str(value)
    try:
        return f"{float(text):g}"
    except ValueError:
        return text.lower()
