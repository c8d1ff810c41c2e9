"""Trials: a system's replicates at a setting, run by ``python -m sim`` in a process apart, and judged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.capacity.question import Question
from analysis.replicates import pooled_rows
from analysis.results import run_rows
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a system at a setting.

    Args:
        system: as the command line calls it.
        value: of the key that is driven.
        met: of each replicate, whether it meets the requirement.
        pooled: the row of all replicates together: its p99 is that of all frames.
        folder: of its first run.
    """

    system: str
    value: float
    met: tuple[bool, ...]
    pooled: Mapping[str, Any]
    folder: Path


def run_trial(question: Question, system: str, value: float) -> Trial:
    """Run a system at a setting, or what is missing of it, and judge it.

    Raises:
        InputError: the simulator refuses, a job failed, or the folder holds another search.
    """
    folder = question.out / system / f"{value:g}"
    arguments = [
        "-m",
        f"system={system}",
        f"{question.driven.key}={value:g}",
        f"replicates={question.replicates}",
        *question.overrides,
        f"hydra.sweep.dir={folder}",
    ]
    plan = folder / "sweep.json"
    if plan.is_file():
        found = json.loads(plan.read_text(encoding="utf-8"))["arguments"]
        if found != arguments:
            raise InputError(
                f"{folder}: expected runs of {' '.join(arguments)}, found those of {' '.join(found)}; "
                "take another out="
            )
        arguments = ["--resume", str(folder)]
    if not plan.is_file() or any(row["status"] == "unfinished" for row in run_rows(folder)):
        _simulate(arguments)
    rows = run_rows(folder)
    for row in rows:
        if row["status"] != "completed":
            raise InputError(f"system={system} {question.driven.key}={value:g}: {row['error']}")
    (pooled,) = pooled_rows(rows, folder)
    met = tuple(meets(question, row) for row in rows)
    return Trial(system, value, met, pooled, folder / str(rows[0]["folder"]))


def meets(question: Question, row: Mapping[str, Any]) -> bool:
    """Whether a run does what is required; one without results does not."""
    p99_s, accuracy = row.get("latency_p99_s"), row.get("accuracy_mean")
    if p99_s is None or accuracy is None:
        return False
    answered = row["frames_completed"] / row["frames_captured"]
    return bool(p99_s <= question.p99_s and accuracy >= question.accuracy and answered >= question.answered)


def _simulate(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sim", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        last = said[-1].removeprefix("error: ") if said else f"exit code {done.returncode}"
        raise InputError(f"python -m sim {' '.join(arguments)}: {last}")
