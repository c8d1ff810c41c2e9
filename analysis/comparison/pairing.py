"""Which runs of two sides met the same network and the same frames, and are valued by the same ruler.

A side is a run, a sweep, or those jobs of a sweep that have one value of a key. What was not the same within
a side was swept; what is the same within each but differs between them is what is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from analysis.results import file_digest, rows_in
from analysis.settings import NO_MATTER, REALISATION, no_matter, settings, split_overrides, swept_keys
from analysis.tables import system_name
from traces.errors import InputError

# Keys and sections in which two runs must be the same to have met the same.
_MET = ("trace", "video", "arrival", "frames", "fps", "cameras", "seed", "replicate", "link.outages_s")
# And in which their results are valued alike: EA 0.8 at one λ, or by one ruler, is not EA 0.8 at another.
_RULER = "accuracy_ruler"  # of the summary: what `accuracy.mode` came to
_VALUED = (
    _RULER,
    *("accuracy.dense", "accuracy.coverage_threshold", "accuracy.reference", "accuracy.classes"),
    *("accuracy.mask_ids", "scheduler.lambda_per_s", "warmup_s"),
)
_NO_MATTER = ("trace.name", "video.name", *NO_MATTER)
_SYSTEMS_OWN = ("system._target_", "system.name", "system.display")  # follow from which system it is
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs on the same realisation: rows of :func:`analysis.results.run_rows` with whole folders."""

    a: dict[str, Any]
    b: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PairedRuns:
    """All pairs of one setting of what was swept beside."""

    setting: str
    pairs: tuple[Pair, ...]

    def distinct(self) -> list[Pair]:
        """The pairs without those whose frames are, on both sides, those of another: a seed that changes
        nothing makes no further observation.
        """
        kept: dict[tuple[str, str], Pair] = {}
        for pair in self.pairs:
            kept.setdefault((_digest(pair.a), _digest(pair.b)), pair)
        return list(kept.values())


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its runs with their configurations."""

    name: str
    rows: tuple[dict[str, Any], ...]
    configs: tuple[Mapping[str, Any], ...]


def read_side(folder: Path, key: str | None = None, value: str | None = None) -> Side:
    """The completed runs of a folder, or those of them whose key has this value.

    Raises:
        InputError: there is none, or some have not completed.
    """
    rows = rows_in([folder])
    if key is not None:
        if all(_chosen(row, key) is None for row in rows):
            given = sorted({"system", *(name for row in rows for name in settings(_given(row)))})
            raise InputError(
                f"--by: expected one of the keys {', '.join(given)}, which the runs in {folder} were given, "
                f"found {key!r}"
            )
        found = {str(_chosen(row, key)) for row in rows}
        rows = [row for row in rows if str(_chosen(row, key)) == value]
        if not rows:
            raise InputError(
                f"--by {key}: expected one of {', '.join(sorted(found))} in {folder}, found {value!r}"
            )
    unfinished = [row for row in rows if row["status"] != "completed"]
    if unfinished:
        raise InputError(
            f"{folder}: expected completed runs, found {len(unfinished)} of {len(rows)} that have not "
            f"({unfinished[0]['folder']})"
        )
    configs = [
        {**_flat(_config(Path(row["folder"]))), _RULER: repr(row.get("accuracy_ruler"))} for row in rows
    ]
    name = value if value is not None else (_common_system(rows) or str(folder))
    return Side(name, tuple(rows), tuple(configs))


def _chosen(row: Mapping[str, Any], key: str) -> Any:
    """What a run was given for a key: the name of its system, else what its command line says."""
    given = _given(row)
    return system_name(row, given) if key == "system" else settings(given).get(key)


def _given(row: Mapping[str, Any]) -> list[str]:
    return split_overrides(row.get("overrides"))


def _common_system(rows: Sequence[Mapping[str, Any]]) -> str | None:
    names = {str(_chosen(row, "system")) for row in rows}
    return names.pop() if len(names) == 1 else None


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / ".hydra" / "config.yaml"
    if not path.is_file():
        raise InputError(f"{path}: expected the configuration of a run, found none")
    content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    return content if isinstance(content, Mapping) else {}


def _flat(content: Any, before: str = "") -> dict[str, str]:
    """Nested keys joined by dots, values as text."""
    if not isinstance(content, Mapping) or not content:
        return {before: repr(content)}
    return {
        key: value
        for name, part in content.items()
        for key, value in _flat(part, f"{before}.{name}" if before else str(name)).items()
    }


def pair_up(a: Side, b: Side) -> list[PairedRuns]:
    """Pair the runs of two sides, in the order of the first.

    Raises:
        InputError: a run of one side has no partner on the other, or several; or is on both.
    """
    if {row["folder"] for row in a.rows} & {row["folder"] for row in b.rows}:
        raise InputError(f"compare: expected two sides, found {a.rows[0]['folder']} on both")
    tell = _telling(a, b)
    partners: dict[tuple[str | None, ...], list[int]] = {}
    for place, config in enumerate(b.configs):
        partners.setdefault(_signature(config, tell), []).append(place)
    labels = _settings(a)
    groups: dict[str, list[Pair]] = {}
    taken = set()
    for row, config, label in zip(a.rows, a.configs, labels, strict=True):
        found = partners.get(_signature(config, tell), [])
        if len(found) != 1 or found[0] in taken:
            raise InputError(f"compare: {row['folder']} {_why_not(config, b, tell, len(found))}")
        taken.add(found[0])
        groups.setdefault(label, []).append(Pair(row, b.rows[found[0]]))
    if len(taken) < len(b.rows):
        place = next(place for place in range(len(b.rows)) if place not in taken)
        why = _why_not(b.configs[place], a, tell, 0)
        raise InputError(f"compare: {b.rows[place]['folder']} {why}")
    return [PairedRuns(setting, tuple(pairs)) for setting, pairs in groups.items()]


def without_strays(a: Side, b: Side) -> tuple[Side, Side, list[str]]:
    """Both sides without the runs that nothing on the other met or is valued as, and why each is left out.

    For pages over whatever there is: one run with an outage must not keep a sweep beside it from being
    compared. Sides that share nothing are given back as they are, for :func:`pair_up` to refuse.
    """
    tell = _telling(a, b)
    signatures = [[_signature(config, tell) for config in side.configs] for side in (a, b)]
    if not set(signatures[0]) & set(signatures[1]):
        return a, b, []
    kept: list[Side] = []
    left_out: list[str] = []
    for here, side, other in ((0, a, b), (1, b, a)):
        met = [signature in set(signatures[1 - here]) for signature in signatures[here]]
        chosen = [place for place, partner in enumerate(met) if partner]
        kept.append(
            replace(
                side,
                rows=tuple(side.rows[place] for place in chosen),
                configs=tuple(side.configs[place] for place in chosen),
            )
        )
        left_out += [
            f"{side.rows[place]['folder']} {_why_not(side.configs[place], other, tell, 0)}"
            for place, partner in enumerate(met)
            if not partner
        ]
    return kept[0], kept[1], left_out


def differing(paired: Sequence[PairedRuns], a: Side, b: Side) -> list[tuple[str, str, str]]:
    """What the runs of a pair do not share beside the system: key, value of the first, of the second.

    Keys that only one of two systems has are part of which system it is.
    """
    configs = {
        row["folder"]: config for side in (a, b) for row, config in zip(side.rows, side.configs, strict=True)
    }
    found: dict[tuple[str, str, str], None] = {}
    for pair in (pair for runs in paired for pair in runs.pairs):
        one, other = configs[pair.a["folder"]], configs[pair.b["folder"]]
        same_system = one.get("system._target_") == other.get("system._target_")
        for key in dict.fromkeys((*one, *other)):
            missing = key not in one or key not in other
            if _is_of(key, (*_NO_MATTER, *_SYSTEMS_OWN)) or (
                missing and key.startswith("system.") and not same_system
            ):
                continue
            values = one.get(key, "none"), other.get(key, "none")
            if _comparable(values[0]) != _comparable(values[1]):
                found[(key, *values)] = None
    return sorted(found)


def _telling(a: Side, b: Side) -> list[str]:
    """The keys in which two runs must be the same to be a pair."""
    keys = {key for side in (a, b) for config in side.configs for key in config}
    return sorted(
        key
        for key in keys
        if not _is_of(key, _NO_MATTER)
        and (_is_of(key, (*_MET, *_VALUED)) or _varies(key, a) or _varies(key, b))
    )


def _is_of(key: str, sections: Sequence[str]) -> bool:
    """Whether a key is one of these, or lies in one of them."""
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _varies(key: str, side: Side) -> bool:
    return len({_comparable(config.get(key)) for config in side.configs}) > 1


def _signature(config: Mapping[str, str], keys: Sequence[str]) -> tuple[str | float | None, ...]:
    return tuple(_comparable(config.get(key)) for key in keys)


def _comparable(value: str | None) -> str | float | None:
    """A value as it is compared: 1 and 1.0 are one number."""
    try:
        return value if value is None else float(value)
    except ValueError:
        return value


def _settings(side: Side) -> list[str]:
    """What was swept on a side, run by run, but for what only draws another realisation."""
    given = [settings(split_overrides(row.get("overrides"))) for row in side.rows]
    shown = [key for key in swept_keys(given) if key not in REALISATION and not no_matter(key)]
    return [", ".join(f"{key}={job[key]}" for key in shown if key in job) for job in given]


def _why_not(config: Mapping[str, str], other: Side, tell: Sequence[str], found: int) -> str:
    """Why a run has no partner: the keys in which the nearest run of the other side differs."""
    if found:
        return (
            f"is not told apart from others by what it met: expected one partner on the side of {other.name}"
        )
    apart, nearest = min(
        (
            ([key for key in tell if _comparable(config.get(key)) != _comparable(one.get(key))], one)
            for one in other.configs
        ),
        key=lambda entry: len(entry[0]),
    )
    said = ", ".join(f"{key}={config.get(key)} here, {nearest.get(key)} there" for key in apart[:3])
    met = "met the same" if any(not _is_of(key, _VALUED) for key in apart) else "is valued alike"
    return f"has no partner on the side of {other.name}: expected a run that {met}, found {said}"


def _digest(row: Mapping[str, Any]) -> str:
    return file_digest(Path(row["folder"]) / "frames.parquet")
