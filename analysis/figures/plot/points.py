"""Points of a figure: means over replicates with the project's intervals, one a cell of keys."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.comparison.frontier import frontier
from analysis.figures.plot.quantities import higher_is_better, is_rated
from analysis.figures.plot.request import PlotRequest
from analysis.figures.plot.runs import Run, Runs
from analysis.replicates import Estimate, pooled_quantiles
from analysis.settings import REALISATION
from sim.records.intervals import QUANTILE_LEVELS, UNKNOWN, Interval, interval_keys
from traces.errors import InputError

RULER = "accuracy_ruler"
FRONT = "on_front"


def points(runs: Runs, keys: Sequence[str], quantities: Sequence[str], over: Sequence[str]) -> pd.DataFrame:
    """One row a cell: its values of the keys, each quantity with its interval, replicates, runs.

    Means are over replicates, each the mean over what is averaged; a quantile is that of all replicates'
    frames together (:mod:`analysis.replicates`).

    Args:
        runs: what is drawn.
        keys: that tell cells apart.
        quantities: columns of summaries.
        over: keys that are averaged over.

    Raises:
        InputError: as :meth:`Runs.cells`; a quantity is none, depends on a ruler that is not the same in all
            runs, or is a quantile that would be averaged over something.
    """
    for quantity in quantities:
        runs.quantity(quantity)
    rated = any(map(is_rated, quantities))
    rulers = list(dict.fromkeys(str(value) for value in runs.table.get(RULER, ())))
    if rated and len(rulers) > 1:
        raise InputError(
            f"{', '.join(quantities)}: expected accuracies by one ruler, found {' and '.join(rulers)}; "
            "draw them apart"
        )
    rows = []
    for values, members in runs.cells(keys, over):
        row = dict(zip(keys, values, strict=True))
        for quantity in quantities:
            found = _estimate(members, quantity, over)
            if found is not None:
                row[quantity] = found.mean
            row.update(zip(interval_keys(quantity), found.interval if found else UNKNOWN, strict=True))
        row["replicates"] = len({run.realisation for run in members})
        row["runs"] = len(members)
        if rated:
            row[RULER] = rulers[0]
        rows.append(row)
    columns = [
        *keys,
        *(name for quantity in quantities for name in (quantity, *interval_keys(quantity))),
        *("replicates", "runs", *([RULER] if rated else [])),
    ]
    return pd.DataFrame(rows, columns=columns)


def _estimate(runs: Sequence[Run], quantity: str, over: Sequence[str]) -> Estimate | None:
    if quantity in QUANTILE_LEVELS and len(runs) > 1:
        if len({run.realisation for run in runs}) < len(runs):
            raise InputError(
                f"{quantity}: expected a mean where it is averaged over {', '.join(over)}, found a quantile"
            )
        found = pooled_quantiles([run.folder for run in runs])
        value = found[quantity]
        low, high = interval_keys(quantity)
        return None if value is None else Estimate(value, Interval(found[low], found[high]))
    known = [run for run in runs if not pd.isna(run.row[quantity])]
    if not known:
        return None
    rows = [{**run.row, "realisation": run.realisation} for run in known]
    found_mean = Estimate.over(rows, quantity)
    if len(known) < len(runs):  # of those that have a value: what the others would have is not known
        return Estimate(found_mean.mean, UNKNOWN)
    ends = found_mean.interval
    return Estimate(found_mean.mean, UNKNOWN) if any(pd.isna(end) for end in ends) else found_mean


def point_table(runs: Runs, request: PlotRequest) -> pd.DataFrame:
    """The points of lines, bars and heat maps.

    Raises:
        InputError: as :func:`points`; something is missing that the kind needs.
    """
    if request.kind == "heat":
        if request.x is None or request.z is None:
            raise InputError("heat: expected x=KEY y=KEY z=COLUMN, found one of them missing")
        keys = [*_facet(request), request.only_y(), request.x]
        return points(runs, keys, [request.z], request.over)
    if request.kind == "lines" and request.x is None:
        raise InputError("lines: expected x=KEY, a key that was swept, found none")
    keys = [*_facet(request), *request.by, *([request.x] if request.x else [])]
    return points(runs, list(dict.fromkeys(keys)), [request.only_y()], request.over)


def pareto_table(runs: Runs, request: PlotRequest) -> pd.DataFrame:
    """Every setting as a point, and which of them no other of its panel beats in both quantities.

    Raises:
        InputError: as :func:`points`.
    """
    x, y = request.x or "latency_mean_s", (request.only_y() if request.y else "accuracy_mean")
    used = (*_facet(request), *request.by)
    rest = [key for key in runs.swept if key not in (*used, *request.over, *REALISATION)]
    table = points(runs, [*used, *rest], [x, y], request.over)
    panels = [[request.facet]] if request.facet else []
    table[FRONT] = False
    groups = table.groupby(panels[0], sort=False, dropna=False).groups.values() if panels else [table.index]
    for index in groups:
        panel = table.loc[index].dropna(subset=[x, y])
        costs = panel[x] * (-1.0 if higher_is_better(x) else 1.0)
        values = panel[y] * (1.0 if higher_is_better(y) else -1.0)
        table.loc[panel.index[frontier(costs.tolist(), values.tolist())], FRONT] = True
    return table


def _facet(request: PlotRequest) -> list[str]:
    return [request.facet] if request.facet else []
