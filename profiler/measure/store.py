"""Samples on their way to disk: written whole after every round, found again by an interrupted run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from profiler.latency.files import check_writable
from profiler.measure.samples import Sample, read_samples, rows_of, write_samples
from traces.errors import InputError

RUN_KEYS = (
    "device",
    "model",
    "resolution_px",
    "block_px",
    "precision",
    "policy",
    "backend",
    "threads",
    "clock",
    "video",
    "weights",
)
"""What must not differ between the samples of one file."""


def check_same_run(path: Path, found: Mapping[str, Any], meta: Mapping[str, Any], way_out: str) -> None:
    """Raise InputError unless a file's samples are of what is measured now; `way_out` says what to do."""
    for key in RUN_KEYS:
        old, new = found.get(key), meta.get(key)
        if old != new:
            raise InputError(f"{path}: holds samples of {key} = {old!r}, this run has {new!r}: {way_out}")


class SampleStore:
    """The rows of one profiling run, and in ``previous`` the meta that an earlier part of it left.

    Args:
        path: of the samples file; continued where it exists.
        meta: of the run; ``complete`` is kept by the store.
        fresh: start over even where the file exists.

    Raises:
        InputError: the file holds samples of something else, or cannot be written: better said before the
            measurement than after it.
    """

    def __init__(self, path: Path | str, meta: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.path = Path(path)
        check_writable(self.path)
        self.meta: dict[str, Any] = {**meta, "complete": False}
        self.rows: list[Sample] = []
        self.resumed = 0
        self.previous: Mapping[str, Any] = {}
        if self.path.is_file() and not fresh:
            found = read_samples(self.path)
            check_same_run(
                self.path, found.meta, meta, "give out=<another folder>, or fresh=true to start over"
            )
            self.rows = rows_of(found)
            self.resumed, self.previous = len(self.rows), found.meta
            self.meta = {**found.meta, **self.meta}
        self._counts = Counter((row.op, row.k, row.mask) for row in self.rows)

    def __repr__(self) -> str:
        return f"SampleStore({self.path}, {len(self.rows)} samples)"

    def count(self, op: str, k: int | None, mask: str | None) -> int:
        """Samples taken so far of one operation."""
        return self._counts[op, k, mask]

    def add(self, rows: Iterable[Sample]) -> None:
        """Keep rows; they reach the disk with the next :meth:`flush`."""
        for row in rows:
            self.rows.append(row)
            self._counts[row.op, row.k, row.mask] += 1

    def flush(self, *, complete: bool = False) -> None:
        """Write everything; a reader sees the file before or after, never in between."""
        self.meta["complete"] = complete
        if self.rows:
            write_samples(self.path, self.rows, self.meta)
