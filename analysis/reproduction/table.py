"""The table of published beside simulated numbers, and what it amounts to.

``reproduction.csv`` has one row a published number. `relative_error` is simulated / published − 1,
`within_percent` the first of 10 and 25 that it lies within (empty: neither, or nothing simulated), `low` and
`high` the ends of the simulated value's 95 % interval over replicates; a number that nothing was simulated
for stays in with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.published.numbers import PublishedNumber, papers, read_published
from analysis.reproduction.cells import Simulated
from analysis.reproduction.mapping import PaperMapping, read_mapping
from analysis.results import write_whole
from analysis.tables import aligned
from traces.errors import InputError

COLUMNS = (
    *("paper", "item", "quantity", "unit", "published", "simulated", "low", "high"),
    *("relative_error", "within_percent", "held_out", "reason"),
)
WITHIN_PERCENT = (10, 25)
ACCURACY_POINTS = 2.0  # accuracies are judged by their distance in points, which is what readers compare
_NO_OUTCOME = {
    "setting": "an input (setting)",
    "background": "not of these systems (background)",
    "profiled": "an input (profile)",
}


@dataclass(frozen=True, slots=True)
class Reproduced:
    """One published number beside what was simulated; None where nothing was."""

    number: PublishedNumber
    kind: str | None
    simulated: Simulated | None
    reason: str

    @property
    def relative_error(self) -> float | None:
        """simulated / published − 1; None where nothing was simulated."""
        if self.simulated is None or self.number.value == 0:
            return None
        return self.simulated.value / self.number.value - 1.0

    @property
    def within_percent(self) -> int | None:
        """The first of 10 and 25 that the error lies within."""
        error = self.relative_error
        if error is None:
            return None
        return next((limit for limit in WITHIN_PERCENT if abs(error) <= limit / 100 + 1e-12), None)

    @property
    def hit(self) -> bool:
        """Whether it meets the target: within 25 %, an accuracy in per cent within 2 points."""
        if self.simulated is None:
            return False
        if self.kind == "accuracy" and self.number.unit == "%":
            return abs(self.simulated.value - self.number.value) <= ACCURACY_POINTS
        return self.within_percent is not None

    @property
    def counts(self) -> bool:
        """Whether it is one of the numbers that are judged: an outcome, stated for the first time."""
        return self.number.is_outcome and self.number.repeats is None


def compared(
    numbers: Mapping[str, PublishedNumber],
    mapping: PaperMapping,
    value_of: Callable[[str], Simulated | None],
    note: str = "",
) -> list[Reproduced]:
    """Every number of a paper beside what was simulated.

    Args:
        numbers: of the paper.
        mapping: what stands against them.
        value_of: id → what was simulated; None: its experiment was not run.
        note: on the data, for every simulated number.
    """
    rows = []
    for one in numbers.values():
        quantity = mapping.quantities.get(one.id)
        if quantity is None:
            reason = mapping.unsimulated.get(one.id) or _NO_OUTCOME[one.claim]
            rows.append(Reproduced(one, None, None, reason))
            continue
        found = value_of(one.id)
        missed = found is not None and not Reproduced(one, quantity.kind, found, "").hit
        known = [mapping.explained.get(one.id) if missed else None, mapping.stands_for.get(quantity.kind)]
        known += [note]
        known += [f"stated before: {numbers[one.repeats].place}"] if one.repeats else []
        known += ["contradicted by another number of the paper"] if one.contradicts else []
        reason = "; ".join(part for part in known if part)
        rows.append(
            Reproduced(one, quantity.kind, found, reason if found else f"not run: {quantity.experiment}")
        )
    return rows


def write_table(rows: Iterable[Reproduced], path: Path) -> None:
    """Write reproduction.csv."""
    table = pd.DataFrame([_row(one) for one in rows], columns=list(COLUMNS))
    write_whole(path, lambda part: table.to_csv(part, index=False, lineterminator="\n"))


def read_table(path: Path) -> list[Reproduced]:
    """What :func:`write_table` wrote, rounded as it is there.

    Raises:
        InputError: its rows are not the published numbers of its papers, in their order.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    chosen = set(table["paper"])
    numbers = {paper: read_published(paper) for paper in papers() if paper in chosen}
    kinds = {paper: read_mapping(paper, numbers[paper]).quantities for paper in numbers}
    published = [one for paper in numbers for one in numbers[paper].values()]
    if table["quantity"].tolist() != [one.quantity for one in published]:
        raise InputError(f"{path}: expected a row for each of {len(published)} numbers, found {len(table)}")
    rows = []
    for one, row in zip(published, table.to_dict("records"), strict=True):
        quantity = kinds[one.paper].get(one.id)
        value, low, high = (float(row[key]) if row[key] else None for key in ("simulated", "low", "high"))
        found = None if value is None else Simulated(value, low, high)
        rows.append(Reproduced(one, None if quantity is None else quantity.kind, found, str(row["reason"])))
    return rows


def _row(one: Reproduced) -> tuple[object, ...]:
    simulated, number = one.simulated, one.number
    return (
        number.paper,
        number.place,
        number.quantity,
        number.unit,
        f"{number.value:g}",
        None if simulated is None else _digits(simulated.value),
        None if simulated is None or simulated.low is None else _digits(simulated.low),
        None if simulated is None or simulated.high is None else _digits(simulated.high),
        None if one.relative_error is None else f"{one.relative_error:.3f}",
        one.within_percent,
        str(number.held_out).lower(),
        one.reason,
    )


def _digits(value: float) -> str:
    return f"{value:.4g}"


def counts_text(rows: Sequence[Reproduced]) -> str:
    """How many numbers, how many within what, held-out ones apart, kind by kind."""
    judged = [one for one in rows if one.counts]
    lines = [
        ["what", "held out", "numbers", "simulated", "within 10 %", "within 25 %", "beyond", "on target"]
    ]
    for kind in ("latency", "bytes", "ratio", "accuracy"):
        for held_out in (False, True):
            chosen = [one for one in judged if one.kind == kind and one.number.held_out is held_out]
            if chosen:
                lines.append([kind, "yes" if held_out else "no", *_counts(chosen)])
    for held_out in (False, True):
        chosen = [one for one in judged if one.number.held_out is held_out]
        if chosen:
            lines.append(["all", "yes" if held_out else "no", *_counts(chosen)])
    target = f"within 25 %, accuracies in per cent within {ACCURACY_POINTS:g} points; unsimulated ones miss"
    return "\n".join([*aligned(lines, left=(0, 1)), f"on target: {target}"])


def summary_text(rows: Sequence[Reproduced], worst: int = 10) -> str:
    """:func:`counts_text`, and the worst with their reasons."""
    judged = [one for one in rows if one.counts]
    errors = [one for one in judged if one.relative_error is not None]
    errors.sort(key=lambda one: -abs(one.relative_error or 0.0))
    table = [["paper", "item", "quantity", "unit", "published", "simulated", "error", "reason"]]
    for one in errors[:worst]:
        simulated, number = one.simulated, one.number
        shown = "–" if simulated is None else _digits(simulated.value)
        told = (f"{number.value:g}", shown, f"{one.relative_error:+.0%}", one.reason)
        table.append([number.paper, number.place, number.quantity, number.unit, *told])
    parts = [counts_text(rows)]
    inputs = [one for one in rows if not one.number.is_outcome and one.simulated is not None]
    if inputs:
        met = sum(one.hit for one in inputs)
        parts.append(
            f"not judged: {len(inputs)} inputs read back from what frames were charged, {met} as printed"
        )
    if errors:
        listed = "\n".join(aligned(table, left=(0, 1, 2, 3, 7)))
        parts.append(f"\nthe worst {len(errors[:worst])}\n{listed}")
    else:
        parts.append("nothing that is judged was simulated")
    return "\n".join(parts)


def _counts(chosen: Sequence[Reproduced]) -> list[str]:
    simulated = [one for one in chosen if one.simulated is not None]
    within = [
        sum(one.within_percent is not None and one.within_percent <= limit for one in simulated)
        for limit in WITHIN_PERCENT
    ]
    on_target = sum(one.hit for one in chosen)
    return [str(n) for n in (len(chosen), len(simulated), *within, len(simulated) - within[-1])] + [
        f"{on_target} ({on_target / len(chosen):.0%})"
    ]
