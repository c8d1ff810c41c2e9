"""Fitting what a paper leaves open, once for all its figures, to the numbers that are not held out.

    python -m analysis calibrate [davis=FOLDER yolo11n_seg=FILE yolo11n=FILE] [run=true|false] …

Fitted are each system's codec (its block bytes), the similarity of one that reuses by it, FluxShard's rule
of salience ("task dependent" in the paper), and the one-way propagation delay. Nothing else: coding takes no
time, as in the paper's own time model (§IV-D). The paper's ``calibration_grid`` is run once at the project's
own delay, and every candidate is reckoned from it: with one frame under way, a delay longer by Δ makes each
result that crossed the link later by 2Δ, and the link carries the same bytes a frame at another rate of
frames,

    T' = T + 2·o·Δ,    r' = r·T/T',

with o the share of such frames. The loss is the mean of |ln(simulated / published)| over the published
latencies, bytes, hit ratios and accuracies that are not held out and that the grid's levels answer for. Every
combination of candidates and delays is tried; ties go to what comes first. What is found is written to
``conf/experiment/<paper>/calibration/fitted.yaml``, which the figures then really run with.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pandas as pd

from analysis.published.numbers import PublishedNumber, papers, read_published
from analysis.reproduction.cells import formed, read_runs
from analysis.reproduction.command import Choices, read_choices
from analysis.reproduction.experiments import Data, arguments, folder_of, run_missing
from analysis.reproduction.mapping import Counterpart, PaperExperiment, PaperMapping, read_mapping
from analysis.reproduction.mapping import cells as combinations
from analysis.results import write_whole
from traces.errors import InputError

TASKS = ("segment", "detect")
GRID_DELAY_S = 0.025  # link.delay_s of conf/config.yaml, which the grid runs with
DELAYS_S = tuple(milliseconds / 1e3 for milliseconds in range(0, 65, 5))
KINDS = ("latency", "bytes", "ratio", "accuracy")


class Variant(NamedTuple):
    """A candidate of a system; None where the system has no such option.

    Args:
        codec: of what it sends.
        similarity: above which it reuses a result.
        salience_rule: which blocks are critical.
        margin_px: around them.
    """

    codec: str
    similarity: float | None = None
    salience_rule: str | None = None
    margin_px: int | None = None


@dataclass(frozen=True, slots=True)
class GridCell:
    """What one candidate of a system was in one task; the names are those of columns of runs."""

    latency_mean_s: float
    critical_uplink_bps: float
    reuse_ratio_mean: float
    foreground_iou_mean: float
    offload_ratio: float


Place = tuple[str, str]  # a task's model, and the level of bandwidth
Grid = Mapping[tuple[str, Variant, Place], GridCell]  # by system and candidate
World = Mapping[tuple[str, Place], GridCell]  # by system


@dataclass(frozen=True, slots=True)
class Setting:
    """What is fitted.

    Args:
        variants: system → its candidate in the grid.
        delay_s: one way.
    """

    variants: Mapping[str, Variant]
    delay_s: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The best setting, its loss, that of the grid's first candidates and delay, and the numbers seen."""

    setting: Setting
    loss: float
    loss_before: float
    seen: tuple[str, ...]


def fit(grid: Grid, numbers: Mapping[str, PublishedNumber], mapping: PaperMapping) -> Fit:
    """The setting with the least loss.

    Args:
        grid: what each candidate of each system was in each task, the system's own default first.
        numbers: the paper's; those held out are not looked at.
        mapping: what stands against them.

    Raises:
        InputError: the grid answers for none of them.
    """
    candidates: dict[str, list[Variant]] = {}
    for system, variant, _ in grid:
        if variant not in candidates.setdefault(system, []):
            candidates[system].append(variant)
    before = Setting({system: of[0] for system, of in candidates.items()}, GRID_DELAY_S)
    seen = _answered(numbers, mapping, {(system, place) for system, _, place in grid})
    if not seen:
        raise InputError("calibrate: expected published numbers that the grid answers for, found none")

    asked = [(mapping.quantities[id], numbers[id].value) for id in seen]

    def loss(world: World) -> float:
        errors = [abs(math.log(max(value_in(world, one), 1e-3) / value)) for one, value in asked]
        return math.fsum(errors) / len(errors)

    best, best_loss = before, loss(reckoned(grid, before))
    loss_before = best_loss
    for delay_s in DELAYS_S:
        moved = {key: _moved(cell, delay_s) for key, cell in grid.items()}
        for chosen in itertools.product(*candidates.values()):
            variants = dict(zip(candidates, chosen, strict=True))
            found = loss(_world(moved, variants))
            if found < best_loss - 1e-12:
                best, best_loss = Setting(variants, delay_s), found
    return Fit(best, best_loss, loss_before, tuple(seen))


def reckoned(grid: Grid, setting: Setting) -> World:
    """What each system would have been in each task under a setting."""
    chosen = _world(grid, setting.variants)
    return {key: _moved(cell, setting.delay_s) for key, cell in chosen.items()}


def _world(grid: Grid, variants: Mapping[str, Variant]) -> World:
    return {
        (system, place): cell
        for (system, variant, place), cell in grid.items()
        if variants[system] == variant
    }


def _moved(cell: GridCell, delay_s: float) -> GridCell:
    """A cell at another delay; the equations stand at the top."""
    latency_s = cell.latency_mean_s + 2.0 * cell.offload_ratio * (delay_s - GRID_DELAY_S)
    rate_bps = cell.critical_uplink_bps * cell.latency_mean_s / latency_s
    return replace(cell, latency_mean_s=latency_s, critical_uplink_bps=rate_bps)


def value_in(world: World, asked: Counterpart) -> float:
    """A counterpart's value in a world, in the published unit."""
    found = [
        formed(
            _of(world, where, asked),
            _of(world, {**where, **over}, asked) if asked.over else 1.0,
            asked,
        )
        for where in combinations(asked.where)
        for over in combinations(asked.over)
    ]
    if asked.pick == "mean":
        return fmean(found)
    return min(found) if asked.pick == "least" else max(found)


def _of(world: World, where: Mapping[str, Any], asked: Counterpart) -> float:
    return float(getattr(world[_key(where)], asked.column))


def _key(where: Mapping[str, Any]) -> tuple[str, Place]:
    """The cell of a world that is meant; what names no level is of the medium one."""
    return where["system"], (where["model"], where.get("swept.trace", "medium"))


def grid_of(runs: pd.DataFrame) -> Grid:
    """The grid from its runs (:func:`analysis.reproduction.cells.read_runs`), replicates averaged."""
    found: dict[tuple[str, Variant, Place], GridCell] = {}
    keys = [
        (str(row["system"]), _variant(row), (str(row["model"]), str(row["swept.trace"])))
        for _, row in runs.iterrows()
    ]
    for key in dict.fromkeys(keys):
        same = runs[[one == key for one in keys]]
        means = {name: float(same[name].astype(float).mean()) for name in GridCell.__dataclass_fields__}
        found[key] = GridCell(**means)
    return found


def _variant(row: Mapping[Any, Any] | pd.Series[Any]) -> Variant:
    similarity, rule, margin = (
        None if pd.isna(value := row.get(f"system.{name}")) else value
        for name in ("similarity", "salience_rule", "margin_px")
    )
    return Variant(
        str(row["system.codec"]),
        None if similarity is None else float(similarity),
        None if rule is None else str(rule),
        None if margin is None else int(margin),
    )


def calibrate(choices: Choices) -> tuple[Fit, Path]:
    """Run the grid as far as it has not been, fit, and write fitted.yaml."""
    paper, numbers, mapping = _fitted_paper(choices)
    grid = PaperExperiment(str(mapping.grid), None, TASKS)
    folder = folder_of(choices.folder, paper, grid.name, choices.data, "grid").resolve()
    if choices.run:
        print(f"{paper}/{grid.name}: in {folder}", file=sys.stderr)
        run_missing(folder, arguments(paper, grid, choices.data, "none"), choices.processes)
    found = fit(grid_of(read_runs(folder)), numbers, mapping)
    target = Path(__file__).parents[2] / "conf" / "experiment" / paper / "calibration" / "fitted.yaml"
    write_fitted(found, choices.data, target)
    return found, target


def _fitted_paper(choices: Choices) -> tuple[str, dict[str, PublishedNumber], PaperMapping]:
    """The paper that was chosen, or the first that has a grid.

    Raises:
        InputError: it has none.
    """
    for paper in papers() if choices.paper is None else (choices.paper,):
        numbers = read_published(paper)
        mapping = read_mapping(paper, numbers)
        if mapping.grid is not None:
            return paper, numbers, mapping
    raise InputError(f"paper: expected one that mapping.yaml has a grid for, found {choices.paper!r}")


def run_command(given: Sequence[str]) -> None:
    """The command, with its arguments as ``key=value``."""
    found, target = calibrate(read_choices(given))
    print(fitted_text(found))
    print(f"written to {target}")


def fitted_text(found: Fit) -> str:
    """What was found, in a few lines."""
    setting = found.setting
    lines = [
        f"mean |ln(simulated / published)| over {len(found.seen)} numbers: {found.loss_before:.3f} before, "
        f"{found.loss:.3f} after",
        f"delay {setting.delay_s * 1e3:g} ms one way",
    ]
    for system, variant in setting.variants.items():
        parts = [
            variant.codec,
            "" if variant.similarity is None else f"similarity {variant.similarity:g}",
            "" if variant.salience_rule is None else f"salience by {variant.salience_rule}",
            "" if variant.margin_px is None else f"margin {variant.margin_px} px",
        ]
        lines.append(f"{system}: " + ", ".join(part for part in parts if part))
    return "\n".join(lines)


def write_fitted(found: Fit, data: Data, target: Path) -> None:
    """Write fitted.yaml, with what it was fitted to."""
    setting = found.setting
    variants = setting.variants
    codecs = ", ".join(f'{system}: "{one.codec}"' for system, one in variants.items())
    lines = [f"  codecs: {{{codecs}}}"]
    for name in ("similarity", "salience_rule", "margin_px"):
        values = {
            system: value for system, one in variants.items() if (value := getattr(one, name)) is not None
        }
        lines.append(f"  {name}: {{{', '.join(f'{system}: {value}' for system, value in values.items())}}}")
    video = "the bundled scenes" if data.bundled else "DAVIS and the bundled scene"
    text = f"""# @package _global_
# Fitted by `python -m analysis calibrate` on {video} to {len(found.seen)} of the paper's numbers,
# none of them held out: mean |ln(simulated / published)| {found.loss:.3f}, before it {found.loss_before:.3f}.
# analysis/reproduction/calibration.py says how. Made by that command: change nothing by hand.
link:
  delay_s: {setting.delay_s:g}
downlink:
  delay_s: {setting.delay_s:g}
codec_time: none

experiment:
"""
    write_whole(target, lambda part: part.write_text(text + "\n".join(lines) + "\n", encoding="utf-8"))


def _answered(
    numbers: Mapping[str, PublishedNumber], mapping: PaperMapping, known: set[tuple[str, Place]]
) -> list[str]:
    """The numbers that may be seen and that a grid of one camera answers for."""
    return [
        one.id
        for one in numbers.values()
        if one.is_outcome and not one.held_out and one.repeats is None and one.contradicts is None
        if (asked := mapping.quantities.get(one.id)) is not None
        if asked.kind in KINDS and _answers(asked, known)
    ]


def _answers(asked: Counterpart, known: set[tuple[str, Place]]) -> bool:
    for where in combinations(asked.where):
        for cell in (where, *({**where, **over} for over in combinations(asked.over) if over)):
            if not {"system", "model"} <= cell.keys() or _key(cell) not in known:
                return False
            beside = {
                key: value for key, value in cell.items() if key not in ("system", "model", "swept.trace")
            }
            if beside not in ({}, {"cameras": 1}):
                return False
    return True
