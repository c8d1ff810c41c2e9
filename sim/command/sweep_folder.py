"""A sweep's folder: which jobs it is made of, which of them have finished, and how to go on with the rest.

``sweep.json`` is written before the first job begins. Whatever happens then, it tells what the sweep was, so
that an interrupted one can be shown, merged and resumed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from traces.errors import InputError

PLAN = "sweep.json"
_LEFT_BY_A_SWEEP = (PLAN, "multirun.yaml", "results.parquet", "results.csv", "summary.json")


class SweepInterrupted(KeyboardInterrupt):
    """A sweep that was interrupted; the text says how to go on with it."""


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """One job of a sweep.

    Args:
        folder: inside the sweep's.
        overrides: what the job is given.
    """

    folder: str
    overrides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep is made of.

    Args:
        arguments: of the command line that began it.
        cwd: the folder that it was called in; relative paths among the arguments start there.
        jobs: in the order of their numbers.
    """

    arguments: tuple[str, ...]
    cwd: str
    jobs: tuple[PlannedJob, ...]


def check_unused(folder: Path) -> None:
    """Check that a new sweep may use a folder.

    Raises:
        InputError: there are results in it, which must not become part of the new ones.
    """
    used = [name for name in _LEFT_BY_A_SWEEP if (folder / name).exists()]
    used += [str(path.relative_to(folder)) for path in folder.glob("*/.hydra/config.yaml")]
    if not used:
        return
    hint = ""
    if (folder / PLAN).is_file():
        plan = read_plan(folder)
        done = sum(has_finished(folder / job.folder) for job in plan.jobs)
        hint = f" ({done} of {len(plan.jobs)} jobs have finished; to go on with it: {resume_command(folder)})"
    raise InputError(f"hydra.sweep.dir: expected a folder without results, found {used[0]} in {folder}{hint}")


def write_plan(folder: Path, plan: SweepPlan) -> None:
    """Begin a sweep in its folder.

    Raises:
        InputError: two jobs would share a folder, or another sweep has just begun in this one.
    """
    for name, count in Counter(job.folder for job in plan.jobs).items():
        if count > 1:
            raise InputError(
                f"hydra.sweep.subdir: expected a folder of its own for each job, found {name!r} for {count}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder / PLAN).open("x", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(plan), indent=1) + "\n")
    except FileExistsError:
        raise InputError(
            f"hydra.sweep.dir: expected a folder without a sweep, found one in {folder}"
        ) from None


def read_plan(folder: Path) -> SweepPlan:
    """The plan of the sweep in a folder.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = folder / PLAN
    if not path.is_file():
        raise InputError(f"--resume: expected a sweep's folder with {PLAN}, found none in {folder}")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        jobs = tuple(PlannedJob(job["folder"], tuple(job["overrides"])) for job in content["jobs"])
        return SweepPlan(tuple(content["arguments"]), content["cwd"], jobs)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected what a sweep wrote there, found {error!r}") from None


def has_finished(folder: Path) -> bool:
    """Whether a job's folder holds its results."""
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(summary.get("status") == "completed") and (folder / "frames.parquet").is_file()


def resume_command(folder: Path) -> str:
    """The command that goes on with a sweep."""
    text = str(folder)
    return f"python -m sim --resume {text if text.isprintable() and ' ' not in text else repr(text)}"


def progress(folder: Path, jobs: Sequence[PlannedJob]) -> str:
    """How far a sweep has got, and how to go on with it."""
    done = sum(has_finished(folder / job.folder) for job in jobs)
    return f"{done} of {len(jobs)} jobs have finished; to go on: {resume_command(folder)}"
