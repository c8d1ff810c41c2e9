"""The search for every system, its table and its picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.capacity.bisection import hardest, needed, not_monotone, share_reached
from analysis.capacity.question import Question
from analysis.capacity.trials import Trial, run_trial
from analysis.figures.axes import plain_axis
from analysis.figures.display import system_display
from analysis.figures.plot.canvas import add_legend, new_figure, save, template
from analysis.figures.plot.quantities import axis_of
from analysis.figures.styles import run_styles
from analysis.results import check_unused, write_whole
from analysis.tables import aligned

NAME = "capacity"


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a system bears.

    Args:
        system: as the command line calls it.
        found: the trial at the hardest setting that is met; None where even the easiest is not.
        beyond: the trial at the next setting; None where there is none.
        trials: all, the easiest first.
    """

    system: str
    found: Trial | None
    beyond: Trial | None
    trials: tuple[Trial, ...]


def search(question: Question, said: Callable[[str], None]) -> list[Capacity]:
    """The capacity of each system.

    Args:
        question: what is asked.
        said: told a line after each trial.

    Raises:
        InputError: as :func:`analysis.capacity.trials.run_trial`.
    """
    return [_search(question, system, said) for system in question.systems]


def _search(question: Question, system: str, said: Callable[[str], None]) -> Capacity:
    values = question.values()
    need = needed(question.replicates, question.share)
    trials: dict[int, Trial] = {}

    def meets(place: int) -> bool:
        trial = trials[place] = run_trial(question, system, values[place])
        said(f"{system}, {question.driven.key}={trial.value:g}: {_held(trial)}")
        return sum(trial.met) >= need

    place = hardest(len(values), meets)
    found = None if place is None else trials[place]
    beyond = trials.get(0 if place is None else place + 1)
    return Capacity(system, found, beyond, tuple(trials[at] for at in sorted(trials)))


def _held(trial: Trial) -> str:
    return f"{sum(trial.met)} of {len(trial.met)}"


def capacity_table(question: Question, found: Sequence[Capacity]) -> str:
    """One row a system: what it bears, what it does there, and how it is beyond."""
    driven = question.driven
    title = f"{driven.title} ({driven.unit})" if driven.unit else driven.title
    rows = [["system", title, "holds on", "p99 ms", "accuracy", "by", "answered %", "beyond", "holds on"]]
    last = question.values()[-1]
    for one in found:
        trial = one.found
        if trial is None:
            cells = ["none", *["–"] * 5]
        else:
            row = trial.pooled
            at_end = "≥ " if trial.value == last and not driven.least else ""
            at_end = "≤ " if trial.value == last and driven.least else at_end
            answered = 100.0 * row["frames_completed"] / row["frames_captured"]
            cells = [
                f"{at_end}{trial.value:g}",
                _held(trial),
                f"{1e3 * row['latency_p99_s']:.1f}",
                f"{row['accuracy_mean']:.3f}",
                str(row.get("accuracy_ruler")),
                f"{answered:.0f}",
            ]
        beyond = ["–", "–"] if one.beyond is None else [f"{one.beyond.value:g}", _held(one.beyond)]
        rows.append([one.system, *cells, *beyond])
    return "\n".join([*aligned(rows, left=(0, 5)), *_notes(question, found)])


def _notes(question: Question, found: Sequence[Capacity]) -> list[str]:
    need = needed(question.replicates, question.share)
    share = share_reached(question.replicates, need)
    notes = [
        f"required of each run: {question.requirement()}; on {need} of {question.replicates} replicates,",
        f"at 95 % confidence then on at least {100 * share:.0f} % of such networks; p99 is of all replicates",
    ]
    for one in found:
        count = not_monotone([trial.met for trial in one.trials])
        if count:
            notes.append(
                f"{one.system}: {count} of {question.replicates} replicates fail at an easier setting than "
                "one they pass, which the search takes not to happen"
            )
    return notes


def trials_table(question: Question, found: Sequence[Capacity]) -> pd.DataFrame:
    """All that was tried, one row a system and setting, in SI units."""
    rows = [
        {
            "system": one.system,
            question.driven.key: trial.value,
            "replicates_met": sum(trial.met),
            "replicates": len(trial.met),
            "share_met": sum(trial.met) / len(trial.met),
            "is_capacity": trial is one.found,
            "latency_p99_s": trial.pooled["latency_p99_s"],
            "accuracy_mean": trial.pooled["accuracy_mean"],
            "accuracy_ruler": trial.pooled.get("accuracy_ruler"),
            "answered": trial.pooled["frames_completed"] / trial.pooled["frames_captured"],
        }
        for one in found
        for trial in one.trials
    ]
    return pd.DataFrame(rows)


def check_out(question: Question, overwrite: bool) -> None:
    """Check that the table and the picture may be written, before anything is run.

    Raises:
        InputError: they are there already.
    """
    question.out.mkdir(parents=True, exist_ok=True)
    for suffix in (".png", ".csv", ".txt"):
        check_unused(question.out / f"{NAME}{suffix}", overwrite, "overwrite=true")


def write(question: Question, found: Sequence[Capacity]) -> list[Path]:
    """Write table, picture, and what it was drawn from."""
    picture, table, text = (question.out / f"{NAME}{suffix}" for suffix in (".png", ".csv", ".txt"))
    tried = trials_table(question, found)
    write_whole(table, partial(tried.to_csv, index=False))
    told = capacity_table(question, found) + "\n"
    write_whole(text, lambda part: part.write_text(told, encoding="utf-8"))
    with template("text"):
        save(_figure(question, found, tried), picture)
    return [picture, table, text]


def _figure(question: Question, found: Sequence[Capacity], tried: pd.DataFrame) -> Any:
    """On how many replicates the requirement holds, against how hard it was made."""
    driven = question.driven
    displays = [system_display(one.trials[0].folder, one.system) for one in found]
    figure, grid = new_figure("text", 1, 1, 0.42, [display.label for display in displays])
    (axes,) = grid[0]
    handles = []
    for one, display, style in zip(found, displays, run_styles(displays), strict=True):
        own = tried[tried["system"] == one.system]
        at, share = own[driven.key].to_numpy(float), 100.0 * own["share_met"].to_numpy(float)
        look = {"color": style.colour, "marker": style.marker, "markeredgewidth": 0.0}
        handles += axes.plot(at, share, linestyle=style.dashes, label=display.label, **look)
        if one.found is not None:
            axes.plot(
                [one.found.value],
                [100.0 * sum(one.found.met) / len(one.found.met)],
                marker="o",
                markersize=11,
                markerfacecolor="none",
                markeredgecolor=style.colour,
            )
    plain_axis(axes, tried[driven.key].tolist())
    if driven.whole:
        axes.minorticks_off()
    axes.set_ylim(-4.0, 108.0)
    axes.set_xlabel(axis_of(driven.key).label)
    axes.set_ylabel("replicates that meet\nthe requirement (%)")
    axes.set_title(f"{question.requirement()}; ringed: the hardest that is met", loc="left")
    add_legend(figure, "text", handles, [display.label for display in displays])
    return figure
