"""What faults cost: each system with a fault against itself without it, on the same realisations.

A sweep as an ablation's: the jobs without any further key are the world as it should be, the others have a
fault each. Differences are taken pair by pair (:mod:`analysis.ablation`), for several quantities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from analysis.ablation import Effect, effects
from analysis.tables import aligned

NONE = "none"  # the row of the world as it should be


class Quantity(NamedTuple):
    """What is compared: a column of summaries, how tables call it, and how many of its units one of theirs is."""

    column: str
    title: str
    scale: float
    digits: int


QUANTITIES = (
    Quantity("ea_mean", "EA", 1.0, 3),
    Quantity("ea_per_captured", "EA/captured", 1.0, 3),
    Quantity("latency_mean_s", "latency ms", 1e3, 1),
    Quantity("uplink_bps_mean", "uplink Mbit/s", 1e-6, 2),
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
        lines += [*_lines(quantity, found), ""]
    return "\n".join(
        [
            *lines,
            f"{NONE}: without faults; below, with the fault minus without; {_listed(pairs)} pairs, ± 95 % by",
            "itself; * a difference among all of its quantity (Holm); = the same to the last bit in every pair",
        ]
    )


def _listed(pairs: set[int]) -> str:
    return " or ".join(map(str, sorted(pairs)))


def _lines(quantity: Quantity, found: Sequence[Effect]) -> list[str]:
    systems = list(dict.fromkeys(effect.regime for effect in found))
    faults = list(dict.fromkeys(effect.without for effect in found))
    cells = {(effect.without, effect.regime): effect for effect in found}
    scale, digits = quantity.scale, quantity.digits
    whole = {effect.regime: f"{effect.whole * scale:.{digits}f} " for effect in found}
    table = [
        [quantity.title, *(system.removeprefix("system=") or "all" for system in systems)],
        [NONE, *(whole[system] for system in systems)],
        *(
            [fault, *(_cell(cells.get((fault, system)), scale, digits) for system in systems)]
            for fault in faults
        ),
    ]
    return aligned(table, left=(0,))


def _cell(effect: Effect | None, scale: float, digits: int) -> str:
    if effect is None:
        return "–"
    if effect.same:
        return "= "
    low, high = effect.interval
    half = "" if low is None or high is None else f" ±{(high - low) / 2.0 * scale:.{digits}f}"
    return f"{effect.difference * scale:+.{digits}f}{half}{'*' if effect.called else ' '}"
