"""Collecting what runs have left: a multirun's jobs in one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of one run.

    Raises:
        FileNotFoundError: the folder holds none.
    """
    path = folder / "summary.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: expected a run's folder with summary.json, found none")
    summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return summary


def run_folders(folder: Path) -> list[Path]:
    """The completed runs in a folder: itself, or the jobs of a multirun.

    Raises:
        FileNotFoundError: there is none.
    """
    candidates = [folder] if (folder / "summary.json").is_file() else _jobs(folder)
    runs = [run for run in candidates if read_summary(run)["status"] == "completed"]
    if not runs:
        raise FileNotFoundError(f"{folder}: expected completed runs, found none")
    return runs


def read_overrides(folder: Path) -> list[str]:
    """What a run was given on its command line; nothing where Hydra has left no record."""
    path = folder / ".hydra" / "overrides.yaml"
    return list(yaml.safe_load(path.read_text(encoding="utf-8")) or []) if path.is_file() else []


def _jobs(folder: Path) -> list[Path]:
    return sorted({path.parent.parent for path in folder.glob("*/.hydra/config.yaml")}, key=_number)


def merge_results(folder: Path) -> pd.DataFrame:
    """Merge the jobs of a multirun into results.parquet and results.csv.

    One row a job, in the order of their numbers: `folder` (inside the multirun's), `overrides` (what the job
    was given), and the keys of its summary.json. A job that left no summary is there as failed.

    Args:
        folder: the multirun's folder.

    Raises:
        FileNotFoundError: there is no job in it.
    """
    jobs = _jobs(folder)
    if not jobs:
        raise FileNotFoundError(f"{folder}: expected jobs of a multirun, found none")
    table = pd.DataFrame([_row(job) for job in jobs])
    for name, write in (("results.parquet", table.to_parquet), ("results.csv", table.to_csv)):
        part = folder / f"{name}.part"
        write(part, index=False)
        part.replace(folder / name)
    return table


def _number(job: Path) -> tuple[int, str]:
    return (int(job.name) if job.name.isdigit() else -1, job.name)


def _row(job: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"folder": job.name, "overrides": " ".join(read_overrides(job))}
    if (job / "summary.json").is_file():
        row.update(read_summary(job))
    else:
        row.update(status="failed", error="the job ended without a summary")
    row.setdefault("error", None)
    return row
