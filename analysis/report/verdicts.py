"""Every pair of systems of a report, measure by measure, and which differences hold together.

The pairs, their differences and intervals are those of :mod:`analysis.comparison.compare`. A page shows all
pairs at once, and names the best of each measure after having looked at all, so Holm's procedure is over
everything on the page, not over one pair as in `python -m analysis compare`: fewer differences are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from analysis.comparison.compare import QUANTITIES, Difference, compare, significant, verdict
from analysis.comparison.pairing import Side, differing, pair_up, read_side, without_strays
from analysis.report.packing import rounded
from analysis.report.runs import ReportedRuns
from analysis.settings import REALISATION, settings, split_overrides, swept_keys
from traces.errors import InputError

MOST_VALUES = 12  # of a key whose values are compared pair by pair: 66 pairs


def comparisons(runs: ReportedRuns, folders: Sequence[Path]) -> dict[str, Any]:
    """All pairs of what was compared: systems, or where there is one, the values of what was swept.

    Returns `key`, the `names` that were compared, `tests` that Holm's procedure was over, `rows` (one a pair,
    setting and quantity), `refused`, the pairs that did not meet the same, with the reason, and
    `left_out`, the runs of other pairs that have no partner.
    """
    key, names = _compared(runs)
    found: list[tuple[str, str, Difference, list[str]]] = []
    refused, left_out = [], []
    sides: dict[str, Side | str] = {name: _side(folders, key, name) for name in names}
    for a, b in combinations(names, 2):
        one, other = sides[a], sides[b]
        if isinstance(one, str) or isinstance(other, str):
            refused.append({"a": a, "b": b, "why": one if isinstance(one, str) else other})
            continue
        try:
            one, other, strays = without_strays(one, other)
            paired = pair_up(one, other)
        except InputError as error:
            refused.append({"a": a, "b": b, "why": str(error).removeprefix("compare: ")})
            continue
        if strays:
            left_out.append({"a": a, "b": b, "why": strays})
        beside = [f"{name}: {left} against {right}" for name, left, right in differing(paired, one, other)]
        found += [(a, b, difference, beside) for difference in compare(paired)]
    called = significant([difference for _, _, difference, _ in found])
    rows = [
        {
            "a": a,
            "b": b,
            "quantity": difference.quantity.key,
            "setting": difference.setting,
            "mean_a": rounded(difference.a),
            "mean_b": rounded(difference.b),
            "low": rounded(difference.interval.low),
            "high": rounded(difference.interval.high),
            "pairs": difference.pairs,
            "called": is_called,
            "verdict": verdict(difference, is_called, (a, b)),
        }
        for (a, b, difference, _), is_called in zip(found, called, strict=True)
    ]
    differ = {(a, b): beside for a, b, _, beside in found if beside}
    return {
        "key": key,
        "names": names,
        "quantities": [
            {
                "key": quantity.key,
                "name": quantity.name,
                "higher": quantity.higher,
                "digits": quantity.digits,
                "scale": quantity.scale,
                "unit": quantity.unit.strip(),
            }
            for quantity in QUANTITIES
        ],
        "tests": sum(difference.p_value is not None for _, _, difference, _ in found),
        "rows": rows,
        "refused": refused,
        "left_out": left_out,
        "differ": [{"a": a, "b": b, "keys": keys} for (a, b), keys in differ.items()],
    }


def _compared(runs: ReportedRuns) -> tuple[str, list[str]]:
    """Which key's values are compared, and these: systems where there are several."""
    if len(runs.systems) > 1:
        return "system", runs.systems
    jobs = [settings(split_overrides(row["overrides"])) for row in runs.rows]
    for key in swept_keys(jobs):
        values = list(dict.fromkeys(job[key] for job in jobs if key in job))
        if key not in REALISATION and 2 <= len(values) <= MOST_VALUES:
            return key, values
    return "system", runs.systems


def _side(folders: Sequence[Path], key: str, value: str) -> Side | str:
    """The runs of all folders that have this value; why there is no such side, where there is none."""
    rows, configs, why = [], [], "no run has it"
    for folder in folders:
        try:
            side = read_side(folder, key, value)
        except InputError as error:
            why = str(error)
            if "expected completed runs" in why:
                return why
            continue  # of the other folders
        known = {row["folder"] for row in rows}
        for row, config in zip(side.rows, side.configs, strict=True):
            if row["folder"] not in known:
                rows.append(row)
                configs.append(config)
    return Side(value, tuple(rows), tuple(configs)) if rows else why
