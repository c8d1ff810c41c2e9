"""Which simulated quantity stands against which published number: mapping.yaml, read and checked."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from analysis.published.numbers import FOLDER, PublishedNumber
from traces.errors import InputError

KINDS = ("latency", "bytes", "ratio", "accuracy", "profile")
FORMS = ("plain", "saved", "gain")
PICKS = ("least", "most", "mean")
Where = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Counterpart:
    """What stands against one published number.

    Args:
        id: of the number.
        kind: one of `KINDS`; what is judged together.
        experiment: whose runs are asked, a name below ``conf/experiment/<paper>/``.
        column: of the runs (:mod:`analysis.reproduction.cells`).
        where: column → values; each combination of values is a cell of its own.
        over: column → values that differ in the runs it is divided by; empty: it is not divided.
        pick: which of several cells.
        form: what is made of the value x: x, 1 − x (saved) or x − 1 (gain).
        times: into the published unit.
        fit: power of k whose coefficient is meant; None: the mean of the column.
    """

    id: str
    kind: str
    experiment: str
    column: str
    where: Where
    over: Where
    pick: str
    form: str
    times: float
    fit: int | None


@dataclass(frozen=True, slots=True)
class PaperExperiment:
    """An experiment that is run for a paper.

    Args:
        name: below ``conf/experiment/<paper>/``.
        jobs_of: the experiment that has the same jobs; None: it is run itself.
        tasks: of the paper, as in ``conf/experiment/<paper>/task/``; none: the experiment's own.
    """

    name: str
    jobs_of: str | None
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """A figure that is drawn of an experiment's runs.

    Args:
        name: of the figure, and of its file.
        experiment: whose runs it shows, one that is run itself.
        plot: what ``python -m analysis plot`` is told beside the runs.
    """

    name: str
    experiment: str
    plot: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PaperMapping:
    """All that stands against the numbers of one paper, and its figures."""

    quantities: Mapping[str, Counterpart]
    experiments: Mapping[str, PaperExperiment]
    unsimulated: Mapping[str, str]
    stands_for: Mapping[str, str]
    explained: Mapping[str, str]
    figures: Mapping[str, PaperFigure]
    grid: str | None


def read_mapping(
    paper: str,
    numbers: Mapping[str, PublishedNumber],
    path: Path = FOLDER / "mapping.yaml",
    calibration: str = "none",
) -> PaperMapping:
    """What stands against a paper's numbers; explanations are those of a calibration.

    Raises:
        InputError: an id that no number has or that two quantities claim, an outcome that neither a quantity
            nor `unsimulated` names, a word that is not known, or a figure of no experiment.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if paper not in content:
        raise InputError(f"{path.name}: expected a section {paper}, found {', '.join(content)}")
    section = content[paper]
    experiments = {
        name: PaperExperiment(name, entry.get("jobs_of"), tuple(str(entry.get("task") or "").split(",")))
        for name, entry in section["experiments"].items()
    }
    found: dict[str, Counterpart] = {}
    for entry in section["quantities"]:
        for made in _expanded(entry, section["words"], numbers, path.name):
            if made.id in found:
                raise InputError(f"{path.name}: {made.id}: expected one quantity, found two")
            if made.experiment not in experiments:
                raise InputError(f"{path.name}: {made.id}: unknown experiment {made.experiment!r}")
            found[made.id] = made
    if unknown := [id for id in section["unsimulated"] if id not in numbers]:
        raise InputError(f"{path.name}: unsimulated: expected ids of {paper}, found {', '.join(unknown)}")
    explained = {
        id: entry["because"]
        for entry in section["explained"]
        if entry.get("calibration", calibration) == calibration
        for pattern in entry["ids"]
        for id, _ in _ids(pattern, section["words"], numbers, path.name)
    }
    missing = [one.id for one in numbers.values() if one.is_outcome and one.id not in found]
    if missing := [id for id in missing if id not in section["unsimulated"]]:
        raise InputError(f"{path.name}: expected a quantity or a reason for {', '.join(missing)}, found none")
    figures = {
        figure: PaperFigure(figure, entry["of"], tuple(entry["plot"].split()))
        for figure, entry in section["figures"].items()
    }
    for figure, entry in figures.items():
        if entry.experiment not in experiments or experiments[entry.experiment].jobs_of is not None:
            raise InputError(
                f"{path.name}: figures.{figure}: expected an experiment that is run, found "
                f"{entry.experiment!r}"
            )
    return PaperMapping(
        found,
        experiments,
        section["unsimulated"],
        section["stands_for"],
        explained,
        figures,
        section.get("grid"),
    )


def cells(where: Where) -> list[dict[str, Any]]:
    """Each combination of the values of `where`, column by column."""
    return [dict(zip(where, values, strict=True)) for values in itertools.product(*where.values())]


def _expanded(
    entry: Mapping[str, Any],
    words: Mapping[str, Mapping[str, Any]],
    numbers: Mapping[str, PublishedNumber],
    name: str,
) -> Iterable[Counterpart]:
    """The quantities of an entry: one for each of its ids, words in braces taking every value."""
    for key, value, allowed in (
        ("kind", entry["kind"], KINDS),
        ("form", entry.get("form", "plain"), FORMS),
        ("pick", entry.get("pick", "mean"), PICKS),
    ):
        if value not in allowed:
            raise InputError(
                f"{name}: {entry['ids']}: {key}: expected one of {', '.join(allowed)}, found {value!r}"
            )
    for pattern in entry["ids"]:
        for id, said in _ids(pattern, words, numbers, name):
            meant = {f"{{{word}}}": words[word][value] for word, value in said.items()}
            yield Counterpart(
                id,
                entry["kind"],
                entry["experiment"],
                entry["column"],
                _where(entry.get("where", {}), meant),
                _where(entry.get("over", {}), meant),
                entry.get("pick", "mean"),
                entry.get("form", "plain"),
                float(entry.get("times", 1.0)),
                entry.get("fit"),
            )


def _ids(
    pattern: str,
    words: Mapping[str, Mapping[str, Any]],
    numbers: Mapping[str, PublishedNumber],
    name: str,
) -> list[tuple[str, dict[str, str]]]:
    """The published ids that a pattern means, each with what its words are there.

    Raises:
        InputError: there is none.
    """
    used = [word for word in words if f"{{{word}}}" in pattern]
    said = [
        dict(zip(used, values, strict=True)) for values in itertools.product(*(words[word] for word in used))
    ]
    found = [(pattern.format(**one), one) for one in said if pattern.format(**one) in numbers]
    if not found:
        raise InputError(f"{name}: {pattern}: expected an id of a published number, found none")
    return found


def _where(given: Mapping[str, Any], meant: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    listed = {key: value if isinstance(value, list) else [value] for key, value in given.items()}
    return {
        key: tuple(meant.get(value, value) if isinstance(value, str) else value for value in values)
        for key, values in listed.items()
    }
