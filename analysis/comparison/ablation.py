"""What each part of a system is worth: runs without it against runs with it, in several regimes.

Of a sweep's keys, those that only some jobs were given are what was left out, and the jobs without any of
them are the whole system. Those that all jobs were given, with different values, are the regimes. A
difference is taken pair by pair on the same network and video (the same replicate and seeds), so that it
loses what both met alike.

What faults cost is the same question, asked of several quantities: the jobs without any further key are the
world as it should be, the others have a fault each (:func:`faults_table`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.comparison.compare import difference_over_pairs, holm
from analysis.settings import REALISATION, settings, split_overrides
from analysis.tables import ShownColumn, aligned
from sim.records.intervals import Interval
from traces.errors import InputError

QUANTITY = "ea_per_captured"
WHOLE = ""  # nothing left out


@dataclass(frozen=True, slots=True)
class Effect:
    """What leaving something out changes in a regime.

    Args:
        regime: "payload.codec=raw, trace.mean_mbps=5".
        without: what was left out: "system.opportunistic=false".
        whole: mean of the whole system over the pairs.
        difference: mean of with it left out minus whole.
        interval: of the difference, at 95 %; unknown of fewer than two pairs.
        called: whether it is called a difference among all of the table (Holm's procedure).
        same: whether every pair is the same to the last bit.
        pairs: how many.
    """

    regime: str
    without: str
    whole: float
    difference: float
    interval: Interval
    called: bool
    same: bool
    pairs: int


def effects(rows: Sequence[Mapping[str, Any]], quantity: str = QUANTITY) -> list[Effect]:
    """The effects in a sweep, regime by regime.

    Args:
        rows: one a job, as :func:`analysis.results.run_rows` makes them.
        quantity: of their columns, the one that is compared.

    Raises:
        InputError: there is no whole system to compare with, or a job that has no result or no partner.
    """
    jobs = [settings(split_overrides(row["overrides"])) for row in rows]
    given = {key for job in jobs for key in job} - {*REALISATION, "experiment"}
    left_out = sorted(key for key in given if any(key not in job for job in jobs))
    shared = [key for key in dict.fromkeys(key for job in jobs for key in job) if key in given]
    regimes = [key for key in shared if key not in left_out and len({job[key] for job in jobs}) > 1]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row, job in zip(rows, jobs, strict=True):
        if row["status"] != "completed" or row.get(quantity) is None:
            found_instead = row["status"] if row["status"] != "completed" else f"no {quantity}"
            raise InputError(f"{row['overrides']}: expected a completed run, found {found_instead}")
        regime = ", ".join(f"{key}={job[key]}" for key in regimes)
        without = ", ".join(f"{key}={job[key]}" for key in left_out if key in job)
        drawn = ", ".join(f"{key}={job[key]}" for key in REALISATION if key in job)
        found.setdefault(regime, {}).setdefault(without, {})[drawn] = float(row[quantity])
    made = [
        _effect(regime, without, variants)
        for regime, variants in found.items()
        for without in variants
        if without != WHOLE
    ]
    if not made:
        raise InputError("ablation: expected runs that leave something out, found none")
    called = holm([p_value for _, p_value in made])
    return [replace(effect, called=one) for (effect, _), one in zip(made, called, strict=True)]


def _effect(
    regime: str, without: str, variants: Mapping[str, Mapping[str, float]]
) -> tuple[Effect, float | None]:
    whole, changed = variants.get(WHOLE, {}), variants[without]
    if set(whole) != set(changed):
        raise InputError(
            f"ablation: expected the replicates of {without} ({regime}) with nothing left out, too: "
            f"{' and '.join(sorted(changed))}; found {' and '.join(sorted(whole)) or 'none'}"
        )
    differences = [changed[name] - whole[name] for name in changed]
    mean, interval, p_value = difference_over_pairs(differences)
    same = all(value == 0.0 for value in differences)
    reference = sum(whole.values()) / len(whole)
    return Effect(regime, without, reference, mean, interval, False, same, len(differences)), p_value


def ablation_table(found: Sequence[Effect]) -> str:
    """Regimes as rows, what was left out as columns: the change of EA/captured, and what is known of it.

    The other way round where more was left out than there are regimes: tables are to be higher than wide.
    """
    columns = list(dict.fromkeys(effect.without for effect in found))
    regimes = list(dict.fromkeys(effect.regime for effect in found))
    cells = {(effect.regime, effect.without): effect for effect in found}
    rows: list[list[str]] = [["regime", "EA/captured", *columns]]
    for regime in regimes:
        whole = next(effect.whole for effect in found if effect.regime == regime)
        rows.append([regime or "all", f"{whole:.3f}", *(_cell(cells.get((regime, one))) for one in columns)])
    if len(columns) > len(regimes):
        rows = [list(row) for row in zip(*rows, strict=True)]
    pairs = sorted({effect.pairs for effect in found})
    return "\n".join(
        [
            *aligned(rows, left=(0,)),
            f"EA/captured with the part left out minus with it; {' or '.join(map(str, pairs))} pairs, "
            "± 95 % by itself; * a difference",
            "among all of the table (Holm); = the same to the last bit in every pair",
        ]
    )


def _cell(effect: Effect | None) -> str:
    if effect is None:
        return "–"
    if effect.same:
        return "="
    low, high = effect.interval
    half = "" if low is None or high is None else f" ±{(high - low) / 2.0:.4f}".replace("±0.", "±.")
    return f"{effect.difference:+.4f}{half}{'*' if effect.called else ' '}"


# -- faults ----------------------------------------------------------------------------------

NONE = "none"  # the row of the world as it should be


QUANTITIES = (
    ShownColumn("ea_mean", "EA", 1.0, 3),
    ShownColumn("ea_per_captured", "EA/captured", 1.0, 3),
    ShownColumn("latency_mean_s", "latency ms", 1e3, 1),
    ShownColumn("uplink_bps_mean", "uplink Mbit/s", 1e-6, 2),
)


def faults_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table a quantity: faults as rows, systems as columns.

    The first row is what each system has without faults, the others what a fault adds to that.

    Args:
        rows: one a job, as :func:`analysis.results.run_rows` makes them.

    Raises:
        InputError: as :func:`analysis.ablation.effects`.
    """
    lines: list[str] = []
    pairs: set[int] = set()
    for quantity in QUANTITIES:
        found = effects(rows, quantity.column)
        pairs |= {effect.pairs for effect in found}
        lines += [*_fault_lines(quantity, found), ""]
    return "\n".join(
        [
            *lines,
            f"{NONE}: without faults; below, with the fault minus without; {_listed(pairs)} pairs, ± 95 % by",
            "itself; * a difference among all of its quantity (Holm); = the same to the last bit in every",
            "pair",
        ]
    )


def _listed(pairs: set[int]) -> str:
    return " or ".join(map(str, sorted(pairs)))


def _fault_lines(quantity: ShownColumn, found: Sequence[Effect]) -> list[str]:
    systems = list(dict.fromkeys(effect.regime for effect in found))
    faults = list(dict.fromkeys(effect.without for effect in found))
    cells = {(effect.without, effect.regime): effect for effect in found}
    scale, digits = quantity.scale, quantity.digits
    whole = {effect.regime: f"{effect.whole * scale:.{digits}f} " for effect in found}
    table = [
        [quantity.title, *(system.removeprefix("system=") or "all" for system in systems)],
        [NONE, *(whole[system] for system in systems)],
        *(
            [fault, *(_fault_cell(cells.get((fault, system)), scale, digits) for system in systems)]
            for fault in faults
        ),
    ]
    return aligned(table, left=(0,))


def _fault_cell(effect: Effect | None, scale: float, digits: int) -> str:
    if effect is None:
        return "–"
    if effect.same:
        return "= "
    low, high = effect.interval
    half = "" if low is None or high is None else f" ±{(high - low) / 2.0 * scale:.{digits}f}"
    return f"{effect.difference * scale:+.{digits}f}{half}{'*' if effect.called else ' '}"
