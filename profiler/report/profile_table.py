"""All measured profiles of a folder as one Markdown table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from profiler.latency import Profile, available_profiles, load_profile
from profiler.latency.files import whole_file
from traces.errors import InputError

BEGIN, END = "<!-- measured profiles: python -m profiler table out=THIS FILE -->", "<!-- end -->"
HEADER = (
    "| device | model | a (ns/block²) | b (µs/block) | c (ms) | R² | held-out error | piecewise | dense (ms)"
    " | break-even | clock |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def measured_profiles(folder: Path | str | None = None) -> list[Profile]:
    """Profiles of a folder (None: along the search path) that were measured, by device and model."""
    folders = None if folder is None else [folder]
    found = available_profiles(folders)
    profiles = (load_profile(device, model, folders) for device, models in found.items() for model in models)
    return [one for one in profiles if one.provenance["kind"] == "measured"]


def markdown(profiles: Iterable[Profile]) -> str:
    """One row a profile: coefficients ± standard error, R², held-out errors, break-even."""
    return "\n".join([HEADER, *map(_row, profiles)])


def insert(table: str, path: Path | str) -> None:
    """Put a table between the two marks of a document, in place of what stands there.

    Raises:
        InputError: the document cannot be read or written, or lacks the marks.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: expected a document to put the table into, found {error}") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{path}: expected the marks {BEGIN} and {END}, found neither or one")
    with whole_file(path) as part:
        part.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def _row(profile: Profile) -> str:
    curve = profile.quadratic
    piecewise = profile.alternative.heldout_error if profile.alternative else None
    cells = (
        profile.device,
        profile.model,
        _value(curve.a_s, curve.a_stderr_s, 1e9, 2),
        _value(curve.b_s, curve.b_stderr_s, 1e6, 2),
        _value(curve.c_s, curve.c_stderr_s, 1e3, 2),
        "" if profile.r2 is None else f"{profile.r2:.3f}",
        _percent(profile.heldout_error),
        _percent(piecewise),
        f"{profile.dense_s * 1e3:.1f}",
        "none" if profile.breakeven_k is None else f"{profile.breakeven_k / profile.block_count:.0%}",
        str(profile.provenance.get("clock", "")),
    )
    return f"| {' | '.join(cells)} |"


def _value(value: float, error: float | None, unit: float, digits: int) -> str:
    shown = f"{value * unit:.{digits}f}"
    return shown if error is None else f"{shown} ± {error * unit:.{digits}f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
