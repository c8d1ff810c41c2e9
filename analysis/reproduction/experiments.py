"""Running what is missing, through the command ``python -m sim``, in a process of its own.

Each experiment of a paper has one folder; a sweep in it that was interrupted goes on, one that has finished
is checked and read. The check is the simulator's own (``--resume``): where the experiment's YAML or a
constant has changed since, it refuses, and the folder is to be removed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.reproduction.mapping import PaperExperiment
from traces.errors import InputError

PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Data:
    """What is not bundled, and where it lies; None where it does not.

    Args:
        davis: the folder of DAVIS sequences.
        yolo11n_seg, yolo11n: safetensors files of networks.
    """

    davis: Path | None = None
    yolo11n_seg: Path | None = None
    yolo11n: Path | None = None

    def __post_init__(self) -> None:
        given = [getattr(self, name) for name in ("davis", "yolo11n_seg", "yolo11n")]
        if any(given) and not all(given):
            raise InputError("davis, yolo11n_seg, yolo11n: expected all three or none of them")
        for name in ("davis", "yolo11n_seg", "yolo11n"):
            path = getattr(self, name)
            if path is not None and not path.exists():
                raise InputError(f"{name}: expected a file or folder, found none at {path}")

    @property
    def bundled(self) -> bool:
        """Whether there is nothing beside what is bundled."""
        return self.davis is None


def arguments(paper: str, experiment: PaperExperiment, data: Data, calibration: str) -> list[str]:
    """What ``python -m sim`` is told of an experiment, without where its results go."""
    told = ["-m", f"experiment={paper}/{experiment.name}"]
    tasks = [task for task in experiment.tasks if task]
    if tasks and not data.bundled:
        tasks = ["segment_davis" if task == "segment" else task for task in tasks]
    if tasks and tasks != list(experiment.tasks):
        told.append(f"experiment/{paper}/task={','.join(tasks)}")
    if "segment_davis" in tasks:
        told += [f"experiment.{name}={getattr(data, name)}" for name in ("davis", "yolo11n_seg", "yolo11n")]
    if calibration != "none":
        told.append(f"experiment/{paper}/calibration={calibration}")
    return told


def folder_of(root: Path, paper: str, name: str, data: Data, calibration: str) -> Path:
    """Where the results of an experiment lie."""
    return root / paper / calibration / (name if data.bundled else f"{name}_davis")


def run_missing(folder: Path, told: Sequence[str], processes: int = PROCESSES) -> None:
    """Run a sweep into its folder, or go on with the one that is there.

    Raises:
        InputError: the simulator refused, or a job failed.
    """
    launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={processes}"] if processes > 1 else []
    if (folder / "sweep.json").is_file():
        command = [sys.executable, "-m", "sim", "--resume", str(folder), *launcher]
    else:
        command = [sys.executable, "-m", "sim", *told, f"hydra.sweep.dir={folder}", *launcher]
    returned, last = _run_aloud(command)
    if returned:
        raise InputError(f"{folder}: {last} (python -m sim {' '.join(told)})")


def _run_aloud(command: Sequence[str]) -> tuple[int, str]:
    """Run a sweep and pass on the line that ends each job, since all of them take minutes; no other output.

    Returns:
        The exit code, and the last line of what was said of errors.
    """
    aloud = {**os.environ, "PYTHONUNBUFFERED": "1"}  # a line when it is printed, not when a buffer is full
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=aloud) as running,
    ):
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("job "):
                print(f"  {line.rstrip()}", file=sys.stderr, flush=True)
        returned = running.wait()
        errors.seek(0)
        said = errors.read().strip().splitlines() or ["no message"]
    return returned, said[-1].removeprefix("error: ")
