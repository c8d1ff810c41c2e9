"""The runs that a figure is of: those of several sweeps that completed and are asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet

from analysis.figures.plot.request import PlotRequest
from analysis.replicates import counted_frames
from analysis.results import ea_per_captured, file_digest, rows_in, with_swept
from analysis.settings import REALISATION, no_matter, settings, split_overrides, swept_keys
from analysis.tables import system_name
from sim.records.intervals import interval_keys
from traces.errors import InputError

SWEEP = "sweep"  # which of several folders a run is of
# By these runs may be told apart though no command line gave them different values.
_NAMED = ("system", SWEEP, "trace", "video", "model", "network", "codec", "edge", "cloud", "cameras")
_SHOWN = 40  # names in a message
EVERY_FRAME = "streaming_"  # columns that say of each captured frame what was shown then, as summaries do


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its row, its folder, and which realisation of its setting it is."""

    row: Mapping[str, Any]
    folder: Path
    realisation: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Runs:
    """The completed runs that are asked for.

    Args:
        table: one row a run, in the order they come: keys of summaries, and a column for each swept key.
        swept: the keys that were.
        left_out: runs that have no result.
    """

    table: pd.DataFrame
    swept: tuple[str, ...]
    left_out: int

    def column(self, key: str) -> str:
        """The column with a key's values, by which runs are told apart.

        Raises:
            InputError: it was not swept.
        """
        for name in (f"swept.{key}", key):
            if name in self.table and (key in self.swept or key in _NAMED):
                return name
        raise InputError(
            f"{key}: expected a key that was swept ({', '.join(self.swept) or 'none was'}) or one of "
            f"{', '.join(_NAMED)}, found one that was not"
        )

    def quantity(self, key: str) -> str:
        """A column with numbers of each run.

        Raises:
            InputError: there is none of that name, or it has no numbers.
        """
        ends = {end for name in self.table for end in interval_keys(str(name))}
        numbers = [
            str(name)
            for name in self.table
            if name not in ends
            and pd.api.types.is_numeric_dtype(self.table[name])
            and not pd.api.types.is_bool_dtype(self.table[name])
            and bool(self.table[name].notna().any())
        ]
        if key not in numbers:
            raise unknown_column(key, "summaries", numbers)
        return key

    def cells(self, keys: Sequence[str], over: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], list[Run]]]:
        """Groups of runs that have the same values of some keys, with these values, in the order they come.

        Runs of a group are realisations of one setting, or differ in what is averaged over. One whose frames
        are those of another is left out: a seed that changes nothing makes no further observation.

        Raises:
            InputError: a key was not swept, or runs of a group differ in something else.
        """
        columns = [self.column(key) for key in keys]
        for key in over:
            self.column(key)
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in records(self.table):
            groups.setdefault(tuple(plain(row[name]) for name in columns), []).append(row)
        for values, rows in groups.items():
            self._check_alike(rows, keys, over)
            yield values, _distinct([_run(row) for row in rows])

    def _check_alike(
        self, rows: Sequence[Mapping[str, Any]], keys: Sequence[str], over: Sequence[str]
    ) -> None:
        jobs = [settings(split_overrides(row["overrides"])) for row in rows]
        for key in (
            key for key in swept_keys(jobs) if key not in (*REALISATION, *over) and not no_matter(key)
        ):
            # What an experiment's file chose has a name among the systems.
            if key.startswith("experiment") and "system" in keys:
                continue
            values = list(dict.fromkeys(job.get(key, "none") for job in jobs))
            raise InputError(
                f"{key} is not the same within a point ({', '.join(values[:5])}): name it as x=, by=, facet= "
                f"or over=, or choose one with where={key}={values[0]}"
            )


def read_runs(request: PlotRequest) -> Runs:
    """The runs of a request.

    Raises:
        InputError: a folder holds none, none has completed, or none is as `where` wants them.
    """
    rows: dict[Path, dict[str, Any]] = {}
    names = _sweep_names(request.folders)
    for folder, sweep in zip(request.folders, names, strict=True):
        for row in rows_in([folder]):
            rows.setdefault(Path(row["folder"]).resolve(), {**row, SWEEP: sweep})
    done = [row for row in rows.values() if row["status"] == "completed"]
    if not done:
        raise InputError(f"{request.folders[0]}: expected completed runs, found none")
    for row in done:
        row["yaml"] = row["system"]  # whose display it is
        row["system"] = system_name(row, split_overrides(row["overrides"]))
        row["ea_per_captured"] = ea_per_captured(row)
    swept = swept_keys([settings(split_overrides(row["overrides"])) for row in done])
    keys = tuple(key for key in swept if not key.startswith("experiment") and not no_matter(key))
    table = with_swept(pd.DataFrame(done), [Path(row["folder"]) for row in done])
    table = _with_frame_means(table, request, keys)
    runs = Runs(table, keys, len(rows) - len(done))
    for key, values in (request.where or {}).items():
        runs = _chosen(runs, key, values)
    return runs


def _with_frame_means(table: pd.DataFrame, request: PlotRequest, swept: Sequence[str]) -> pd.DataFrame:
    """The table with a column for each number of frames that is asked for and that summaries do not have.

    Such a column is its mean over the results that count, those captured after start-up; of what was shown
    at each capture, over all captured frames.
    """
    if request.kind in ("cdf", "series", "composition"):  # which show frames themselves
        return table
    asked = [key for key in (request.x, *request.y, request.z) if key and key not in (*table, *swept)]
    for key in asked:
        means = [_frame_mean(Path(folder), key) for folder in table["folder"]]
        if any(mean is not None for mean in means):
            table[key] = pd.Series(means, index=table.index, dtype="float64")
    return table


def frame_columns(folder: Path) -> list[str]:
    """The columns of a run's frames that hold numbers."""
    schema = pyarrow.parquet.read_schema(folder / "frames.parquet")
    return [
        field.name
        for field in schema
        if pyarrow.types.is_integer(field.type) or pyarrow.types.is_floating(field.type)
    ]


def _frame_mean(folder: Path, column: str) -> float | None:
    if column not in frame_columns(folder):
        return None
    frames = counted_frames(folder, list(dict.fromkeys(["captured_s", "outcome", column])))
    if not column.startswith(EVERY_FRAME):
        frames = frames[frames["outcome"] == "completed"]
    values = frames[column].dropna()
    return float(values.mean()) if len(values) else None


def _sweep_names(folders: Sequence[Path]) -> list[str]:
    """The folders' names; whole paths where two have one name."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _chosen(runs: Runs, key: str, values: Sequence[str]) -> Runs:
    column = runs.table[runs.column(key)]
    wanted = {_comparable(value) for value in values}
    kept = column.map(lambda value: _comparable(plain(value)) in wanted)
    missing = wanted - {_comparable(plain(value)) for value in column}
    if missing:
        there = ", ".join(dict.fromkeys(str(plain(value)) for value in column))
        raise InputError(f"where={key}={','.join(values)}: expected values that runs have ({there})")
    return Runs(runs.table[kept.to_numpy(bool)], runs.swept, runs.left_out)


def _comparable(value: Any) -> str | float:
    """A value as it is compared: 1 and 1.0 are one number, true and True one truth."""
    try:
        return str(value).lower() if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return str(value).lower() if str(value).lower() in ("true", "false", "none", "null") else str(value)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def plain(value: Any) -> Any:
    """A cell's value as Python has it; None where there is none."""
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def unknown_column(key: str, place: str, names: Sequence[str]) -> InputError:
    """What is said of a column that there is not: the nearest ones, and those that there are."""
    near = difflib.get_close_matches(key, names, n=3)
    hint = f" (near: {', '.join(near)})" if near else ""
    shown = ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
    return InputError(
        f"{key}: expected a column of {place} with numbers{hint}: {shown}; found none of that name"
    )


def _run(row: Mapping[str, Any]) -> Run:
    job = settings(split_overrides(row["overrides"]))
    return Run(row, Path(row["folder"]), tuple(job.get(key) for key in REALISATION))


def _distinct(runs: list[Run]) -> list[Run]:
    """The runs without those whose seed changed nothing; a replicate is one observation, whatever it gave."""
    if len(runs) < 2:
        return runs
    kept: dict[Any, Run] = {}
    for run in runs:
        drawn = run.realisation[REALISATION.index("replicate")]
        kept.setdefault((drawn, file_digest(run.folder / "frames.parquet")), run)
    return list(kept.values())
