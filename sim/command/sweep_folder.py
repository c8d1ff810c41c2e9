"""A sweep's folder: which jobs it is made of, which of them have finished, and how to go on with the rest.

``sweep.json`` is written before the first job begins. Whatever happens then, it tells what the sweep was, so
that an interrupted one can be shown, merged and resumed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from traces.errors import InputError

PLAN = "sweep.json"
FILE_KEYS = ("path", "weights")  # the last parts of keys whose values are files that a run reads
_HASHED_BYTES = 2**24  # at either end of a file: a video of gigabytes is not read whole
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
        files: what its jobs read, by path, as :func:`file_state` says it.
    """

    arguments: tuple[str, ...]
    cwd: str
    jobs: tuple[PlannedJob, ...]
    files: Mapping[str, str] = field(default_factory=dict)


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
        files = {str(path): str(state) for path, state in content.get("files", {}).items()}
        return SweepPlan(tuple(content["arguments"]), content["cwd"], jobs, files)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected what a sweep wrote there, found {error!r}") from None


def file_states(paths: Iterable[str]) -> dict[str, str]:
    """What is to be found at each path now."""
    return {path: file_state(Path(path).expanduser()) for path in sorted(set(paths))}


def file_state(path: Path) -> str:
    """What lies at a path, in a text that another content changes; of a folder, names and sizes count."""
    digest = hashlib.sha256()
    if path.is_dir():
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                file = Path(folder, name)
                size = file.stat().st_size if file.exists() else -1
                digest.update(
                    f"{file.relative_to(path).as_posix()}\n{size}\n".encode(errors="surrogateescape")
                )
        return f"folder {digest.hexdigest()}"
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            digest.update(stream.read(_HASHED_BYTES))
            stream.seek(max(0, size - _HASHED_BYTES))
            digest.update(stream.read())
    except OSError:
        return "nothing"
    return f"{size} bytes {digest.hexdigest()}"


def check_files(plan: SweepPlan) -> None:
    """Check that what a sweep's finished jobs have read is what the others would read.

    Raises:
        InputError: a file has changed since the sweep began.
    """
    for path, then in plan.files.items():
        now = file_states([path])[path]
        if now != then:
            found = "none" if now == "nothing" else "another one"
            raise InputError(
                f"--resume: expected {path} as it was when the sweep began, found {found}; a new sweep "
                "needs a folder of its own"
            )


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
