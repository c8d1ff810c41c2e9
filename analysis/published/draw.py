"""Which published numbers no fit may see: a seeded half of each table, figure and section's text.

    python -m analysis.published.draw        # writes held_out.csv

Drawn are outcomes that stand for themselves: a number that repeats another one, or that follows from others,
is held out where those are, and inputs (settings, profiles) are no outcomes. Of an odd number the larger half
is held out. The order is that of a hash, so that it depends on the seed, the paper and the id alone, and a
number added later moves few others. The seed was fixed, and the file committed, before anything was fitted.

What a draw by number cannot keep apart: neighbours in a table resemble each other (a hit ratio at three
levels of bandwidth), so a held-out number is not independent of those that are seen.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path

from analysis.published.numbers import FOLDER, PublishedNumber, papers, read_published
from analysis.results import write_whole

SEED = 1


def draw(numbers: Iterable[PublishedNumber], seed: int = SEED) -> list[str]:
    """The ids to hold out, in the order of the numbers.

    Args:
        numbers: of one paper.
        seed: of the order.
    """
    groups: dict[str, list[PublishedNumber]] = {}
    for one in numbers:
        if one.is_outcome and one.repeats is None and not one.follows_from:
            groups.setdefault(one.place, []).append(one)
    chosen = {
        one.id
        for group in groups.values()
        for one in sorted(group, key=lambda one: _order(one, seed))[: (len(group) + 1) // 2]
    }
    return [one.id for group in groups.values() for one in group if one.id in chosen]


def write_drawn(folder: Path = FOLDER) -> Path:
    """Draw for every paper of a folder and write held_out.csv there."""
    rows = [(paper, id) for paper in papers(folder) for id in draw(read_published(paper, folder).values())]

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("paper", "id"))
            writer.writerows(rows)

    write_whole(folder / "held_out.csv", write)
    return folder / "held_out.csv"


def _order(one: PublishedNumber, seed: int) -> str:
    return hashlib.sha256(f"{seed} {one.paper} {one.id}".encode()).hexdigest()


if __name__ == "__main__":
    print(f"written to {write_drawn()}")
