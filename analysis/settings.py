"""What runs and commands were given on their command lines, and what of it tells runs apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from traces.errors import InputError

_LABELLED = {"trace.path": "trace", "video.path": "video"}  # a file, and the column that names it
SEEDS = ("seed", "trace.seed", "video.seed")
#: What tells runs of one setting apart: each draws another realisation of the same.
REALISATION = ("replicate", *SEEDS, "trace.offset_s")
#: What a run leaves beside its results, and how they are computed; of no setting's name.
NO_MATTER = ("replicates", "timeline", "overlay", "inspect", "inspection", "cache", "regret")
LONGEST = 44  # characters of a value in a table or picture


def join_overrides(overrides: Sequence[str]) -> str:
    """A run's overrides as one text; those with spaces or other signs are quoted, as a shell wants them."""
    return shlex.join(overrides)


def split_overrides(text: Any) -> list[str]:
    """The overrides in a text of :func:`join_overrides`; none where there is no text."""
    if not isinstance(text, str):
        return []
    try:
        return shlex.split(text)
    except ValueError:  # of an earlier version, which did not quote
        return text.split()


def settings(overrides: Sequence[str]) -> dict[str, str]:
    """Overrides as keys and values, without the signs and quotes of the command line."""
    pairs = (part.lstrip("+~").partition("=") for part in overrides if "=" in part)
    return {key: _unquoted(value) for key, _, value in pairs}


def without_replicate(overrides: Sequence[str]) -> list[str]:
    """Overrides but for that which tells replicates of a configuration apart."""
    return [part for part in overrides if not part.lstrip("+").startswith("replicate=")]


def swept_keys(jobs: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys that are not the same in all runs, in the order they come."""
    keys = dict.fromkeys(key for job in jobs for key in job)
    return [key for key in keys if len({job.get(key) for job in jobs}) > 1]


def no_matter(key: str) -> bool:
    """Whether a key makes no difference to a result: it is one of :data:`NO_MATTER`, or lies in one."""
    return key.partition(".")[0] in NO_MATTER


def swept_settings(
    overrides: Sequence[Sequence[str]], rows: Sequence[Mapping[str, Any]] | None = None
) -> list[str]:
    """What tells runs apart beside system, trace and video: "seed=1, cameras=4"; empty where nothing does.

    Args:
        overrides: of each run.
        rows: their summaries; a path is left out where its trace or video already has a name of its own.
    """
    jobs = [settings(job) for job in overrides]
    differing = [
        key
        for key in swept_keys(jobs)
        if key not in ("system", "trace", "video")
        and not no_matter(key)
        and not key.startswith("experiment")  # its system and video have columns
        and not (key in _LABELLED and rows and _names_all(_LABELLED[key], key, rows, jobs))
    ]
    shown = {key: short([job[key] for job in jobs if key in job]) for key in differing}
    return [", ".join(f"{key}={shown[key][job[key]]}" for key in differing if key in job) for job in jobs]


def short(values: Sequence[str]) -> dict[str, str]:
    """What is shown of each value, all as different as they were: paths without the folders they share."""
    distinct = list(dict.fromkeys(values))
    paths = [value for value in distinct if "/" in value]
    shared = _shared_folders(paths)
    names = {value: value[len(shared) :] if value in paths else value for value in distinct}
    cut = {value: _middle_out(name) for value, name in names.items()}
    return cut if len(set(cut.values())) == len(cut) else names


def _shared_folders(paths: Sequence[str]) -> str:
    """The beginning that all paths share, up to a slash."""
    if not paths:
        return ""
    first, last = min(paths), max(paths)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: first.rfind("/", 0, length) + 1]


def _middle_out(text: str) -> str:
    """A text that is too long, without its middle."""
    kept = (LONGEST - 1) // 2
    return text if len(text) <= LONGEST else f"{text[:kept]}…{text[-kept:]}"


def _names_all(
    column: str, key: str, rows: Sequence[Mapping[str, Any]], jobs: Sequence[Mapping[str, str]]
) -> bool:
    """Whether runs with different values of a key have different names in a column."""
    pairs = {(str(row.get(column)), job.get(key)) for row, job in zip(rows, jobs, strict=True)}
    return len({name for name, _ in pairs}) == len(pairs)


def _unquoted(value: str) -> str:
    """A value without Hydra's quotes."""
    if len(value) < 2 or value[0] not in "'\"" or value[-1] != value[0]:
        return value
    quote = value[0]
    return re.sub(rf"(\\+)({quote}|$)", lambda found: found[1][: len(found[1]) // 2] + found[2], value[1:-1])


# -- what a command of analysis is given --------------------------------------------------------------


def folders_and_options(
    words: Sequence[str], command: str, known: Collection[str], repeated: str | None = None
) -> tuple[list[Path], dict[str, str], list[str]]:
    """Tell folders from options. A word that is a folder is one, whatever signs it has in it.

    Args:
        words: as typed.
        command: for messages.
        known: the options that there are.
        repeated: the one that may be given as often as wanted.

    Returns:
        The folders; the options with their values; the values of the repeated one.

    Raises:
        InputError: an option that there is not, one given twice, or no folder.
    """
    folders: list[Path] = []
    given: dict[str, str] = {}
    again: list[str] = []
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or Path(word).exists():
            folders.append(Path(word))
        elif key == repeated:
            again.append(value)
        elif key not in known:
            raise InputError(f"{command}: expected one of {', '.join(known)}, found {key!r} ({word})")
        elif key in given:
            raise InputError(f"{key}: expected once, found {key}={given[key]} and {word}")
        else:
            given[key] = value
    if not folders:
        raise InputError(f"{command}: expected folders of runs or sweeps, found none")
    return folders, given, again
