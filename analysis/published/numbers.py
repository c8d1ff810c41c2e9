"""The published numbers of a paper, checked.

``<paper>.csv`` lies beside this module, one row a number, `paper` being the stem of the paper's text file:

=============  ==========================================================================================
column         holds
=============  ==========================================================================================
paper, id      which number; ids are unique within a paper
section, item  where it is printed; item is a table, a figure or "text"
row, column    what it is a number of
value, unit    the number; units as in `UNITS`
claim          what is claimed by it, one of `CLAIMS`
printed, line  as it is printed, and in which line of the paper's text file
repeats        id of the number that this one states again (rounded, perhaps); such a number counts once
follows_from   ids of the numbers that it can be computed from
contradicts    id of a number of the same paper that cannot hold beside it
note           what a reader should know
=============  ==========================================================================================

A number is held out from every fit if it was drawn (:mod:`analysis.published.draw`), if it repeats one that
was, or if it follows from one that was.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from traces.errors import InputError

FOLDER = Path(__file__).parent
COLUMNS = (
    *("paper", "id", "section", "item", "row", "column", "value", "unit", "claim", "printed", "line"),
    *("repeats", "follows_from", "contradicts", "note"),
)
CLAIMS = {
    "measured": "a value that the paper reports of its experiments",
    "ratio": "one measured value over another",
    "up_to": "the best case of several",
    "profiled": "measured, and taken over here as a device's profile: an input",
    "setting": "chosen by the paper's authors: an input",
    "background": "of the world around, or of others' systems",
}
OUTCOMES = ("measured", "ratio", "up_to")  # claims that a simulation can be judged by
UNITS = (
    *("%", "x", "1", "s", "ms", "s/block", "s/block²", "MB", "MB/s", "Mbit/s", "mW", "px", "fps", "GB"),
    *("million", "cores", "devices", "cameras", "sequences", "version"),
)


@dataclass(frozen=True, slots=True)
class PublishedNumber:
    """One printed number; the module says what each field holds."""

    paper: str
    id: str
    section: str
    item: str
    row: str
    column: str
    value: float
    unit: str
    claim: str
    printed: str
    line: int
    repeats: str | None
    follows_from: tuple[str, ...]
    contradicts: str | None
    note: str
    held_out: bool

    @property
    def place(self) -> str:
        """Where it is printed, for a table's column."""
        return f"§{self.section} text" if self.item == "text" else self.item

    @property
    def quantity(self) -> str:
        """What it is, for a table's column."""
        return f"{self.row}: {self.column}"

    @property
    def is_outcome(self) -> bool:
        """Whether a simulation can be judged by it."""
        return self.claim in OUTCOMES


def papers(folder: Path = FOLDER) -> tuple[str, ...]:
    """The papers that have a file, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.csv") if path.stem != "held_out"))


def read_published(paper: str, folder: Path = FOLDER) -> dict[str, PublishedNumber]:
    """The numbers of a paper by their id, in the order of the file.

    Raises:
        InputError: no such paper, or a row that is not what this module says it is.
    """
    path = folder / f"{paper}.csv"
    if not path.is_file():
        raise InputError(f"paper: expected one of {', '.join(papers(folder))}, found {paper!r}")
    rows = _rows(path, COLUMNS)
    drawn = read_drawn(folder).get(paper, frozenset())
    found: dict[str, PublishedNumber] = {}
    for number, row in rows:
        made = _number(paper, row, f"{path.name}:{number}", drawn)
        if made.id in found:
            raise InputError(f"{path.name}:{number}: expected an id of its own, found {made.id!r} again")
        found[made.id] = made
    _check_links(found, path.name)
    return {id: _inheriting(one, found) for id, one in found.items()}


def read_drawn(folder: Path = FOLDER) -> dict[str, frozenset[str]]:
    """The ids of each paper that were drawn to be held out; empty before the draw.

    Raises:
        InputError: held_out.csv has other columns.
    """
    path = folder / "held_out.csv"
    drawn: dict[str, set[str]] = {}
    for _, row in _rows(path, ("paper", "id")) if path.is_file() else []:
        drawn.setdefault(row["paper"], set()).add(row["id"])
    return {paper: frozenset(ids) for paper, ids in drawn.items()}


def _rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV with the lines that they end in."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != columns:
            raise InputError(
                f"{path.name}:1: expected the columns {', '.join(columns)}, found {reader.fieldnames}"
            )
        return [(reader.line_num, row) for row in reader]


def _number(paper: str, row: Mapping[str, str], where: str, drawn: frozenset[str]) -> PublishedNumber:
    if row["paper"] != paper:
        raise InputError(f"{where}: paper: expected {paper!r}, found {row['paper']!r}")
    for column in ("id", "section", "item", "row", "column", "printed"):
        if not row[column]:
            raise InputError(f"{where}: {column}: expected a text, found none")
    for column, allowed in (("claim", tuple(CLAIMS)), ("unit", UNITS)):
        if row[column] not in allowed:
            raise InputError(
                f"{where}: {column}: expected one of {', '.join(allowed)}, found {row[column]!r}"
            )
    try:
        value, line = float(row["value"]), int(row["line"])
    except ValueError:
        value, line = math.nan, 0
    if not math.isfinite(value) or line < 1:
        raise InputError(
            f"{where}: expected a finite value and a line from 1, found {row['value']!r} and {row['line']!r}"
        )
    return PublishedNumber(
        **{key: row[key] for key in ("paper", "id", "section", "item", "row", "column", "unit", "claim")},
        value=value,
        printed=row["printed"],
        line=line,
        repeats=row["repeats"] or None,
        follows_from=tuple(row["follows_from"].split()),
        contradicts=row["contradicts"] or None,
        note=row["note"],
        held_out=row["id"] in drawn,
    )


def _check_links(numbers: Mapping[str, PublishedNumber], name: str) -> None:
    for one in numbers.values():
        for column, others in (
            ("repeats", (one.repeats,)),
            ("contradicts", (one.contradicts,)),
            ("follows_from", one.follows_from),
        ):
            for other in others:
                if other is not None and (other not in numbers or other == one.id):
                    raise InputError(f"{name}: {one.id}: {column}: expected another id, found {other!r}")


def _inheriting(one: PublishedNumber, numbers: Mapping[str, PublishedNumber]) -> PublishedNumber:
    """The number, held out if any that it restates or follows from is."""
    waiting, seen = [one], {one.id}
    while waiting:
        current = waiting.pop()
        if current.held_out:
            return replace(one, held_out=True)
        for other in (current.repeats, *current.follows_from):
            if other is not None and other not in seen:
                seen.add(other)
                waiting.append(numbers[other])
    return one
