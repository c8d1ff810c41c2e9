"""A board's samples on the desk: from the kit's file to the tables that everything else reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from profiler.codecs import FILE as CODEC_FILE
from profiler.codecs import write_for_device
from profiler.fit.codec_fit import MESSAGES, CodecSample, fit_codecs
from profiler.kit.samples_file import LoggedSamples, read_log
from profiler.latency import CodecTable, read_codecs_file, read_profile
from profiler.measure.codec_samples import write_codec_samples
from profiler.measure.samples import Sample, read_samples, rows_of, write_samples
from traces.errors import InputError


def keep_samples(path: Path | str, profile: Path) -> tuple[Path, tuple[str, ...]]:
    """Write a board's samples where those of a profile belong: ``<device>/<model>/samples.parquet``.

    Codecs, if any were timed, go to ``<device>/codecs.parquet`` where the device has none yet.

    Args:
        path: the kit's file.
        profile: the profile to come, ``<device>/<model>.yaml``.

    Returns:
        The samples' new place, and what a reader should know of them, a line each.

    Raises:
        InputError: the file cannot be read or holds nothing to fit, or other samples would be overwritten.
    """
    found = read_log(path)
    if not any(row.op == "sparse" for row in found.rows):
        raise InputError(
            f"{path}: expected samples of sparse inference, found {len(found.rows)} samples and none"
        )
    _check_head(path, found)
    _refuse_published(profile)
    place = profile.with_suffix("") / "samples.parquet"
    if place.is_file() and not _continues(found.rows, rows_of(read_samples(place))):
        raise InputError(
            f"{place}: holds samples of another run: give device=<another name> or out=<another file>"
        )
    notes = _remarks(found)
    meta = {**found.meta, "notes": [*found.meta.get("notes", ()), *notes], "sensors": sensor_ranges(found)}
    kept, short = enough_messages(found.codecs)
    if short:
        notes.append(f"codecs left out, as too few of their messages were timed: {', '.join(short)}")
    times = fit_codecs(kept)
    write_samples(place, found.rows, meta)
    codecs = profile.parent / CODEC_FILE
    if kept and (codecs.is_file() or read_codecs_file(profile.parent) is not None):
        notes.append(f"the device's codec times are kept as they are ({codecs.parent}), the board's left out")
    elif kept:
        write_codec_samples(kept, _codec_provenance(found), codecs)
        write_for_device(CodecTable(_codec_provenance(found), times), profile.parent)
    return place, tuple(notes)


def enough_messages(samples: Sequence[CodecSample]) -> tuple[list[CodecSample], list[str]]:
    """The samples of codecs that a fit has enough messages of, both ways, and the names of the others."""
    messages: dict[str, dict[str, set[int]]] = {}
    for one in samples:
        messages.setdefault(one.codec, {"encode": set(), "decode": set()})[one.way].add(one.message)
    short = [name for name, ways in messages.items() if min(map(len, ways.values())) < MESSAGES]
    return [one for one in samples if one.codec not in short], sorted(short)


def target(path: Path | str, folder: Path, device: str | None, model: str | None) -> Path:
    """The profile that a board's file makes: ``<folder>/<device>/<model>.yaml``.

    Args:
        path: the kit's file, whose head names both.
        folder: of profiles.
        device, model: other names; None for those of the head.

    Raises:
        InputError: the file cannot be read, or lacks a key.
    """
    found = read_log(path)
    _check_head(path, found)
    meta = found.meta
    return folder / (device or str(meta["device"])) / f"{model or meta['model']}.yaml"


def _check_head(path: Path | str, found: LoggedSamples) -> None:
    """Raise InputError unless the head says what a profile needs, and no sample has more blocks than that."""

    def is_name(value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value) is not None

    def are_layers(value: Any) -> bool:
        return isinstance(value, list) and all(
            isinstance(one, dict)
            and isinstance(one.get("name"), str)
            and type(one.get("output_bytes")) is int
            for one in value
        )

    def is_power(value: Any) -> bool:
        return isinstance(value, dict) and all(
            watts is None or type(watts) in (int, float) for watts in map(value.get, ("idle_w", "busy_w"))
        )

    def is_side(value: Any) -> bool:
        return type(value) is int and value > 0

    checks: tuple[tuple[str, str, bool, Callable[[Any], bool]], ...] = (
        ("device", "a name that can be a folder", True, is_name),
        ("model", "a name that can be a folder", True, is_name),
        (
            "resolution_px",
            "height and width (px)",
            True,
            lambda value: isinstance(value, list) and len(value) == 2 and all(map(is_side, value)),
        ),
        ("block_px", "the side of a block (px)", True, is_side),
        (
            "notes",
            "lines of text",
            False,
            lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
        ),
        ("layers", "a name and output_bytes for each", False, are_layers),
        ("power_w", "idle_w and busy_w (W)", False, is_power),
        ("margin_computed", "blocks by margin, mask and k", False, lambda value: isinstance(value, dict)),
        ("board", "power_mode and gpu_clock", False, lambda value: isinstance(value, dict)),
    )
    for key, expected, needed, sound in checks:
        value = found.meta.get(key)
        if (needed or value is not None) and not sound(value):
            said = "none" if key not in found.meta else repr(value)
            raise InputError(f"{path}: {key}: expected {expected}, found {said}")
    (height, width), block = found.meta["resolution_px"], found.meta["block_px"]
    blocks = -(-height // block) * -(-width // block)
    most = max((row.k for row in found.rows if row.k is not None), default=0)
    if most > blocks:
        raise InputError(
            f"{path}: k: expected at most {blocks} blocks ({height}x{width} px in blocks of {block}),"
            f" found {most}"
        )


def _refuse_published(profile: Path) -> None:
    if profile.is_file() and read_profile(profile).provenance["kind"] != "measured":
        raise InputError(
            f"{profile}: holds published figures: give device=<another name> or out=<another file>"
        )


def _continues(rows: Sequence[Sample], earlier: Sequence[Sample]) -> bool:
    """Whether a run has gone on from an earlier copy of its file."""
    return list(rows[: len(earlier)]) == list(earlier)


def _codec_provenance(found: LoggedSamples) -> dict[str, Any]:
    taken = ("source", "hardware", "clock", "background_cores", "resolution_px", "versions", "date")
    return {
        "kind": "measured",
        **{key: found.meta.get(key) for key in taken},
        "repeats": 1 + max(one.repeat for one in found.codecs),
        "samples": len(found.codecs),
        "video": "made frames (profiler/kit/frames.py)",
        "missing": found.meta.get("codecs_missing"),
    }


def _remarks(found: LoggedSamples) -> list[str]:
    notes = []
    if found.damaged:
        notes.append(f"{found.damaged} damaged lines of the board's file were left out")
    if not found.meta.get("complete"):
        notes.append(
            f"the board's run was not finished: {len(found.rows)} samples; the kit's command resumes it"
        )
    return notes


def sensor_ranges(found: LoggedSamples) -> dict[str, list[float]]:
    """Smallest and largest reading of each sensor over the run: whether a clock held, how warm it became."""
    values: dict[str, list[float]] = {}
    for reading in found.sensors:
        flat = {f"{name}_celsius": value for name, value in reading.get("celsius", {}).items()}
        if "gpu_hz" in reading:
            flat["gpu_hz"] = reading["gpu_hz"]
        for name, value in flat.items():
            values.setdefault(name, []).append(float(value))
    return {name: [float(np.min(all_)), float(np.max(all_))] for name, all_ in sorted(values.items())}
