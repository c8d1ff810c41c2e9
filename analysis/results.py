"""Collecting what runs have left: a sweep's jobs in one table."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis.replicates import pooled_rows
from analysis.settings import join_overrides, settings, split_overrides, swept_keys
from traces.errors import InputError

# Swept keys whose value is that of the summary's column; others of its columns only describe the value.
_SAME = ("system", "seed", "replicate", "cameras", "edge", "cloud")


def run_rows(folder: Path) -> list[dict[str, Any]]:
    """A run as one row, or a sweep's jobs as one row each, in the order of their numbers.

    A row has `folder` (inside the given one), `overrides` (what the run was given), `status`, `error` and the
    keys of summary.json. A job without a summary is "unfinished": not begun, still running or cut short.

    Raises:
        FileNotFoundError: there is neither.
    """
    if (folder / "summary.json").is_file():
        return [_row(folder, ".", read_overrides(folder))]
    jobs = _jobs(folder)
    if not jobs:
        raise FileNotFoundError(f"{folder}: expected a run or the jobs of a sweep, found none")
    return [_row(folder, name, overrides) for name, overrides in jobs.items()]


def rows_in(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """The rows of :func:`run_rows` of several folders, with whole paths as `folder`, in the order they come.

    A run counts once, however often its folder is named.

    Raises:
        InputError: a folder has neither a run nor the jobs of a sweep.
    """
    rows: dict[Path, dict[str, Any]] = {}
    for folder in folders:
        try:
            found = run_rows(folder)
        except FileNotFoundError as error:
            raise InputError(str(error)) from None
        for row in found:
            place = folder / row["folder"]
            rows.setdefault(place.resolve(), {**row, "folder": str(place)})
    return list(rows.values())


def is_known(value: Any) -> bool:
    """Whether a value of a row is one: neither None, as in a summary, nor NaN, as in a table of them."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def read_overrides(folder: Path) -> list[str]:
    """What a run was given on its command line; nothing where Hydra has left no record."""
    path = folder / ".hydra" / "overrides.yaml"
    return list(yaml.safe_load(path.read_text(encoding="utf-8")) or []) if path.is_file() else []


def merge_results(folder: Path) -> pd.DataFrame:
    """Merge the jobs of a sweep into results.parquet and results.csv, and replicates into pooled.csv.

    One row a job (:func:`run_rows`), with a column more for each swept key, which holds numbers as numbers.
    Such a column has the key's name; where the summary has a column of that name with something else in it
    (the label of a trace), it is ``swept.KEY``.

    Args:
        folder: the sweep's folder.

    Raises:
        FileNotFoundError: there is no job in it.
    """
    if (folder / "summary.json").is_file():
        raise FileNotFoundError(f"{folder}: expected the jobs of a sweep, found a single run")
    rows = run_rows(folder)
    table = _table(folder, rows)
    pooled = pooled_rows(rows, folder)
    whole = {"results.parquet": table.to_parquet, "results.csv": table.to_csv}
    if len(pooled) < len(rows):
        whole["pooled.csv"] = _table(folder, pooled).drop(columns=["folder", "replicate"]).to_csv
    for name, write in whole.items():
        write_whole(folder / name, partial(write, index=False))
    return table


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file aside and put it in its place at once, so that it is whole or not there.

    Folders on the way to it are made.

    Args:
        path: of the file.
        write: writes it to the path that it is given.
    """
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def check_unused(path: Path, overwrite: bool, how: str) -> None:
    """Check that a file may be written: that it is not there, or may be replaced.

    Args:
        path: to be written.
        overwrite: whether it may be replaced.
        how: what says so, for the message.

    Raises:
        InputError: it may not, or its folder is not there.
    """
    if path.exists() and not (overwrite and path.is_file()):
        raise InputError(f"{path}: expected a file that is not there yet, found one; {how} replaces it")
    if not path.parent.is_dir():
        raise InputError(f"{path}: expected a folder {path.parent}, found none")


def _table(folder: Path, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as they are written: `ea_per_captured` of each that a version without it has left, swept keys."""
    table = with_swept(pd.DataFrame(rows), [folder / row["folder"] for row in rows])
    if "ea_per_captured" not in table:
        place = table.columns.get_loc("ea_mean") + 1 if "ea_mean" in table else len(table.columns)
        table.insert(place, "ea_per_captured", None)
    table["ea_per_captured"] = pd.array([ea_per_captured(row) for row in rows], dtype="Float64")
    # Of a failed job nothing is counted: 20 stays 20, not 20.0.
    for column in table.columns[table.isna().any()]:
        known = [row[column] for row in rows if row.get(column) is not None]
        if known and all(type(value) is int for value in known):
            table[column] = table[column].astype("Int64")
    return table


def file_digest(path: Path) -> str:
    """What a file's content is known by: equal for equal frames."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ea_per_captured(summary: Mapping[str, Any]) -> float | None:
    """EA with every frame that gave no result counted as 0: what a system that skips frames really gives.

    Summaries of an earlier version do not have it; theirs had no start-up to leave out.
    """
    if "ea_per_captured" in summary:
        found = summary["ea_per_captured"]
        return None if found is None or pd.isna(found) else float(found)
    ea, completed, captured = (summary.get(key) for key in ("ea_mean", "frames_completed", "frames_captured"))
    return None if ea is None or not captured else ea * completed / captured


def _jobs(folder: Path) -> dict[str, list[str]]:
    """The jobs of a sweep, as its plan says; where there is none, the folders that Hydra made for them."""
    plan = folder / "sweep.json"
    if plan.is_file():
        content = json.loads(plan.read_text(encoding="utf-8"))
        return {job["folder"]: job["overrides"] for job in content["jobs"]}
    found = sorted({path.parent.parent for path in folder.glob("*/.hydra/config.yaml")}, key=_number)
    return {job.name: read_overrides(job) for job in found}


def _number(job: Path) -> tuple[int, str]:
    return (int(job.name) if job.name.isdigit() else -1, job.name)


def _row(folder: Path, name: str, overrides: Sequence[str]) -> dict[str, Any]:
    job = folder / name
    row: dict[str, Any] = {"folder": name, "overrides": join_overrides(overrides)}
    if (job / "summary.json").is_file():
        row.update(json.loads((job / "summary.json").read_text(encoding="utf-8")))
    else:
        begun = (job / ".hydra").is_dir()
        row.update(status="unfinished", error="running, or cut short" if begun else "not begun")
    row.setdefault("error", None)
    return row


def with_swept(table: pd.DataFrame, folders: Sequence[Path]) -> pd.DataFrame:
    """A table of runs with a column for each swept key, after the overrides.

    Args:
        table: with `folder` and `overrides` as its first columns, as :func:`run_rows` makes them.
        folders: of its runs.
    """
    jobs = [settings(split_overrides(text)) for text in table["overrides"]]
    swept = {key: [] for key in swept_keys(jobs)}
    for job, folder in zip(jobs, folders, strict=True):
        path = folder / ".hydra" / "config.yaml"
        config = yaml.load(path.read_text(encoding="utf-8"), _Loader) if path.is_file() else None
        for key, values in swept.items():
            values.append(_value(key, job[key], config) if key in job else None)
    place = 2
    for key, values in swept.items():
        if key in _SAME and key in table:
            filled = [
                new if old is None else old for old, new in zip(_plain(table[key]), values, strict=True)
            ]
            if all(new is None or old == new for old, new in zip(filled, values, strict=True)):
                table[key] = _typed(filled)
                continue
        table.insert(place, f"swept.{key}" if key in table else key, _typed(values))
        place += 1
    return table


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _value(key: str, text: str, config: Any) -> Any:
    """A job's value of a key: from its configuration, which knows the type; a choice of a group is a text."""
    found = config
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return text if config is not None else _guess(text)
        found = found[part]
    if isinstance(found, Mapping):
        return text
    return json.dumps(found) if isinstance(found, list) else found


def _guess(text: str) -> Any:
    """The value that a text stands for, of a job that has no configuration yet."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, (bool, int, float)) or value is None else text


def _plain(column: Any) -> list[Any]:
    """A column's values, None where there is none."""
    return [None if pd.isna(value) else value for value in column]


def _typed(values: Sequence[Any]) -> Any:
    """A column as narrow as its values allow: truth values, whole numbers, numbers, else texts."""
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {bool}:
        return pd.array(list(values), dtype="boolean")
    if kinds and kinds <= {int}:
        return pd.array(list(values), dtype="Int64")
    if kinds and kinds <= {int, float}:
        return pd.array([None if value is None else float(value) for value in values], dtype="Float64")
    return pd.array([None if value is None else _text(value) for value in values], dtype="object")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
