"""Seeds that change nothing: their runs are one observation, however many rows they fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.results import file_digest
from analysis.settings import SEEDS, settings, split_overrides


def seeds_without_effect(rows: Sequence[Mapping[str, Any]], root: Path) -> str | None:
    """One line where a sweep's seeds gave the same frames, byte by byte; None where each gave others.

    Args:
        rows: of a sweep, as :func:`analysis.results.run_rows` makes them.
        root: the sweep's folder.
    """
    jobs = [
        (settings(split_overrides(row.get("overrides"))), row)
        for row in rows
        if row.get("status") == "completed"
    ]
    swept = [seed for seed in SEEDS if len({job.get(seed) for job, _ in jobs}) > 1]
    for seed in swept:
        groups: dict[tuple[tuple[str, str], ...], list[Mapping[str, Any]]] = {}
        for job, row in jobs:
            rest = tuple(sorted((key, value) for key, value in job.items() if key != seed))
            groups.setdefault(rest, []).append(row)
        alike = [members for members in groups.values() if len(members) > 1 and _alike(members, root)]
        if alike:
            systems = ", ".join(dict.fromkeys(str(members[0].get("system")) for members in alike))
            return (
                f"note: {seed} changes nothing here for {systems}: {len(alike[0])} seeds gave the same "
                "frames, so they are one run; replicates=N draws other networks and other starts in the video"
            )
    return None


def _alike(rows: Sequence[Mapping[str, Any]], root: Path) -> bool:
    digests = set()
    for row in rows:
        path = root / str(row["folder"]) / "frames.parquet"
        digests.add(file_digest(path))
        if len(digests) > 1:
            return False
    return True
