"""``python -m analysis reproduce``: run what is missing, compare, write the table, print what it amounts to.

    python -m analysis reproduce [paper=NAME] [figure=NAME] [calibration=none|fitted] [run=true|false]
        [davis=FOLDER yolo11n_seg=FILE yolo11n=FILE] [folder=multirun/reproduce] [processes=2] [out=FILE]

Without `figure` every experiment that a published number is held against, or a figure drawn of, is run; with
it, only that one, and the numbers of the others stay unsimulated. ``run=false`` compares what is there. The
pictures are in ``<folder>/<paper>/<calibration>/figures``. The table is `out`; unless that is said, it is the
committed analysis/reproduction.csv for all of the papers with nothing fitted, and
``<folder>/reproduction.csv`` for less, which must not take its place.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.published.numbers import papers, read_published
from analysis.reproduction.cells import Simulated, read_runs, simulated
from analysis.reproduction.drawing import draw_compared, draw_figures
from analysis.reproduction.experiments import PROCESSES, Data, arguments, folder_of, run_missing
from analysis.reproduction.mapping import PaperExperiment, PaperMapping, read_mapping
from analysis.reproduction.table import Reproduced, compared, summary_text, write_table
from traces.errors import InputError

COMMITTED = Path("analysis/reproduction.csv")  # of all papers, nothing fitted


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command was told; the module says what each means."""

    paper: str | None = None
    figure: str | None = None
    calibration: str = "none"
    run: bool = True
    davis: Path | None = None
    yolo11n_seg: Path | None = None
    yolo11n: Path | None = None
    folder: Path = Path("multirun/reproduce")
    processes: int = PROCESSES
    out: Path | None = None

    @property
    def data(self) -> Data:
        """What is not bundled."""
        return Data(self.davis, self.yolo11n_seg, self.yolo11n)


def reproduce(choices: Choices) -> tuple[list[Reproduced], Path]:
    """Run, compare, draw and write; the comparisons of every paper chosen, and where they were written.

    Raises:
        InputError: an unknown paper or figure, or a run that failed.
    """
    _ = choices.data  # what is not there is refused before anything runs
    chosen = _papers(choices)
    rows: list[Reproduced] = []
    for paper in chosen:
        numbers = read_published(paper)
        mapping = read_mapping(paper, numbers, calibration=choices.calibration)
        folders = _folders(paper, mapping, choices)
        runs = _runs(mapping, folders)

        def value_of(
            id: str, mapping: PaperMapping = mapping, runs: dict[str, pd.DataFrame] = runs
        ) -> Simulated | None:
            quantity = mapping.quantities[id]
            return simulated(quantity, runs[quantity.experiment]) if quantity.experiment in runs else None

        on_davis = any("segment" in one.tasks for one in mapping.experiments.values())
        note = "Segment on the bundled scene in place of DAVIS" if on_davis and choices.data.bundled else ""
        compared_here = compared(numbers, mapping, value_of, note)
        target = choices.folder / paper / choices.calibration / "figures"
        drawn = [*draw_figures(mapping, folders, target), *draw_compared(compared_here, target)]
        print(f"{paper}: {len(drawn)} pictures in {target}", file=sys.stderr)
        rows += compared_here
    out = choices.out or default_out(choices, rows)
    write_table(rows, out)
    return rows, out


def default_out(choices: Choices, rows: Sequence[Reproduced]) -> Path:
    """Where the table goes unless `out` says: a part of the numbers must not replace the committed table."""
    whole = choices.paper is None and choices.figure is None and choices.calibration == "none"
    if whole and all(one.simulated is not None for one in rows if one.kind is not None):
        return COMMITTED
    return choices.folder / COMMITTED.name


def _papers(choices: Choices) -> tuple[str, ...]:
    """The papers that are asked for: all, the one that is named, or those that have the figure.

    Raises:
        InputError: an unknown paper, or a figure that none of them has.
    """
    chosen = tuple(papers()) if choices.paper is None else (choices.paper,)
    if choices.figure is None:
        return chosen
    known = {paper: _figures(read_mapping(paper, read_published(paper))) for paper in chosen}
    having = tuple(paper for paper in chosen if choices.figure in known[paper])
    if not having:
        listed = "; ".join(f"{', '.join(names)} of {paper}" for paper, names in known.items())
        raise InputError(f"figure: expected one of {listed}, found {choices.figure!r}")
    return having


def run_command(given: Sequence[str]) -> None:
    """The command, with its arguments as ``key=value``."""
    choices = read_choices(given)
    rows, out = reproduce(choices)
    print(summary_text(rows))
    print(f"written to {out}")


def read_choices(given: Sequence[str]) -> Choices:
    """What ``key=value`` arguments mean.

    Raises:
        InputError: an unknown key, or a value of another kind.
    """
    known = Choices.__dataclass_fields__
    values: dict[str, object] = {}
    for part in given:
        key, equals, text = part.partition("=")
        if not equals or key not in known:
            raise InputError(f"reproduce: expected KEY=VALUE with one of {', '.join(known)}, found {part!r}")
        if key in ("davis", "yolo11n_seg", "yolo11n", "folder", "out"):
            values[key] = Path(text).expanduser()
        elif key == "run":
            if text not in ("true", "false"):
                raise InputError(f"run: expected true or false, found {text!r}")
            values[key] = text == "true"
        elif key == "processes":
            if not text.isdecimal() or int(text) < 1:
                raise InputError(f"processes: expected a whole number >= 1, found {text!r}")
            values[key] = int(text)
        else:
            values[key] = text
    return Choices(**values)  # type: ignore[arg-type]


def _folders(paper: str, mapping: PaperMapping, choices: Choices) -> dict[str, Path]:
    """Where the runs of each experiment that was asked for lie, by its name; of those that have any."""
    folders: dict[str, Path] = {}
    for name in dict.fromkeys(_runner(mapping, name).name for name in _chosen(mapping, choices.figure)):
        experiment = mapping.experiments[name]
        data = choices.data if any("segment" in task for task in experiment.tasks) else Data()
        folder = folder_of(choices.folder, paper, name, data, choices.calibration).resolve()
        if choices.run:
            print(f"{paper}/{name}: in {folder}", file=sys.stderr)
            run_missing(folder, arguments(paper, experiment, data, choices.calibration), choices.processes)
        if (folder / "sweep.json").is_file():
            folders[name] = folder
    return folders


def _runs(mapping: PaperMapping, folders: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """The runs that answer for each experiment, by its name."""
    tables = {name: read_runs(folder) for name, folder in folders.items()}
    runners = {name: _runner(mapping, name).name for name in mapping.experiments}
    return {name: tables[runner] for name, runner in runners.items() if runner in tables}


def _runner(mapping: PaperMapping, name: str) -> PaperExperiment:
    """The experiment whose jobs answer for another's."""
    experiment = mapping.experiments[name]
    return experiment if experiment.jobs_of is None else mapping.experiments[experiment.jobs_of]


def _asked(mapping: PaperMapping) -> list[str]:
    """The experiments that a number is held against, or that a figure shows."""
    asked = [one.experiment for one in mapping.quantities.values()]
    return list(dict.fromkeys([*asked, *(one.experiment for one in mapping.figures.values())]))


def _figures(mapping: PaperMapping) -> list[str]:
    """What `figure` may be: an experiment, or a figure that is drawn of one."""
    return list(dict.fromkeys([*_asked(mapping), *mapping.figures]))


def _chosen(mapping: PaperMapping, figure: str | None) -> list[str]:
    """The experiments to run: all that are asked of anything, or that of one figure."""
    asked = _asked(mapping)
    if figure is None:
        return asked
    return [figure if figure in asked else mapping.figures[figure].experiment]
