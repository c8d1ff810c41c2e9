"""A board's samples on the desk: from the kit's file to the tables that everything else reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from profiler.codecs import FILE as CODEC_FILE
from profiler.codecs import write_for_device
from profiler.fit.codec_fit import fit_codecs
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
    _refuse_published(profile)
    place = profile.with_suffix("") / "samples.parquet"
    if place.is_file() and not _continues(found.rows, rows_of(read_samples(place))):
        raise InputError(
            f"{place}: holds samples of another run: give device=<another name> or out=<another file>"
        )
    notes = _remarks(found)
    meta = {**found.meta, "notes": [*found.meta.get("notes", ()), *notes], "sensors": sensor_ranges(found)}
    write_samples(place, found.rows, meta)
    codecs = profile.parent / CODEC_FILE
    if found.codecs and (codecs.is_file() or read_codecs_file(profile.parent) is not None):
        notes.append(f"the device's codec times are kept as they are ({codecs.parent}), the board's left out")
    elif found.codecs:
        write_codec_samples(found.codecs, _codec_provenance(found), codecs)
        write_for_device(CodecTable(_codec_provenance(found), fit_codecs(found.codecs)), profile.parent)
    return place, tuple(notes)


def target(path: Path | str, folder: Path, device: str | None, model: str | None) -> Path:
    """The profile that a board's file makes: ``<folder>/<device>/<model>.yaml``.

    Args:
        path: the kit's file, whose head names both.
        folder: of profiles.
        device, model: other names; None for those of the head.

    Raises:
        InputError: the file cannot be read, or lacks a key.
    """
    meta = read_log(path).meta
    missing = [key for key in ("device", "model", "resolution_px", "block_px") if key not in meta]
    if missing:
        raise InputError(f"{path}:1: expected {missing[0]} in the head, found none")
    for key in ("device", "model"):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(meta[key])):
            raise InputError(f"{path}:1: {key}: expected a name that can be a folder, found {meta[key]!r}")
    return folder / (device or str(meta["device"])) / f"{model or meta['model']}.yaml"


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
