"""Measure what codecs take on a device's processor, and put it beside the device's profiles.

    python -m profiler codecs name=DEVICE [video=PATH] [resolution=640] [clock=wall|thread] [repeats=15]
        [out=FOLDER]

Codecs do not depend on the model, so that one measurement serves all profiles of a device: its samples are
``<out>/<DEVICE>/codecs.parquet``, the times that follow ``codecs.yaml`` beside them, which every profile of
the device goes by. A measured profile with an older section ``codecs`` of its own loses that. A run of the
profiler measures them itself where there are no samples yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from conf.search_path import writable_folder
from profiler.fit.codec_fit import fit_codecs
from profiler.latency import (
    CODECS_FILE,
    CodecTable,
    read_codecs_file,
    read_profile,
    save_codecs_file,
    save_profile,
)
from profiler.measure.codec_samples import measure_codecs, read_codec_samples, write_codec_samples
from profiler.measure.devices import background_cores, clock_for, describe
from profiler.measure.masks import FramePairs, collect_frame_pairs
from traces.errors import InputError

FILE = "codecs.parquet"
LIBRARIES = ("pillow", "av", "numpy")  # what codes the pixels


@dataclasses.dataclass(frozen=True, slots=True)
class CodecOptions:
    """What to measure; the fields are the command's keys.

    Attributes:
        name: folder of the device's profiles; from the processor's own name when None.
        video: clip or folder that is encoded; the embedded scene when None.
        clock: ``wall``, or ``thread`` where the machine cannot be kept quiet.
        out: folder that holds a folder for each device; the checkout's own, or the user's.
    """

    name: str | None = None
    video: str | None = None
    resolution_px: tuple[int, int] = (640, 640)
    clock: str = "wall"
    repeats: int = 15
    seed: int = 0
    out: str = dataclasses.field(default_factory=lambda: str(writable_folder("profile")))


def profile_codecs(
    options: CodecOptions, say: Callable[[str], None] = print, pairs: FramePairs | None = None
) -> tuple[CodecTable, Path]:
    """Measure, and keep the samples.

    Args:
        options: what to measure.
        say: told what goes on.
        pairs: the video's frames, where they have been read already.

    Returns:
        The table, and the file of the samples.

    Raises:
        InputError: the video cannot be read, or the file not be written; the device's times are assumed ones.
    """
    info = describe("cpu", 1)
    path = Path(options.out) / (options.name or info.slug) / FILE
    _refuse_assumed(path.parent)
    clock = clock_for("cpu", options.clock, 1)
    if pairs is None:
        pairs = collect_frame_pairs(options.video, options.resolution_px, 16)
    say(f"timing codecs on {info.name}, {options.repeats} repeats")
    busy = background_cores()
    samples = measure_codecs(pairs, clock, repeats=options.repeats, seed=options.seed)
    provenance = {
        "kind": "measured",
        "source": _command(options),
        "hardware": info.name,
        "clock": options.clock,
        "background_cores": None if busy is None else round(busy, 2),
        "repeats": options.repeats,
        "samples": len(samples),
        "video": f"{pairs.name} (composed)" if pairs.synthetic else pairs.name,
        "resolution_px": list(options.resolution_px),
        "versions": {name: version(name) for name in LIBRARIES},
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
    }
    write_codec_samples(samples, provenance, path)
    return CodecTable(provenance, fit_codecs(samples)), path


def codecs_beside(folder: Path) -> CodecTable | None:
    """The times of a device by the samples in its folder; None where there are none.

    Raises:
        InputError: they cannot be read or do not determine the times.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    samples, provenance = read_codec_samples(path)
    return CodecTable(provenance, fit_codecs(samples))


def write_for_device(table: CodecTable, folder: Path) -> list[Path]:
    """Write the times into a device's folder, once; returns the files that have changed.

    Measured profiles there that have a section of their own would not go by them, and lose it.
    """
    changed = [save_codecs_file(table, folder)]
    for path in sorted(set(folder.glob("*.yaml")) - set(changed)):
        profile = read_profile(path)
        if profile.provenance["kind"] == "measured" and profile.codecs != table:
            save_profile(dataclasses.replace(profile, codecs=table), path)
            changed.append(path)
    return changed


def _refuse_assumed(folder: Path) -> None:
    """Refuse to overwrite what was assumed of a published board: a machine of its kind has the same name."""
    table = read_codecs_file(folder)
    if table is not None and table.provenance["kind"] != "measured":
        raise InputError(
            f"{folder / CODECS_FILE}: holds {table.provenance['kind']} times: give name=<another device "
            "name> or out="
        )


def summary(table: CodecTable, pixels: int = 640 * 640) -> str:
    """The times as text, with what a frame of so many pixels takes at a tenth of a byte a pixel."""
    lines = [
        f"{'codec':18s}{'way':8s}{'c0 ms':>9s}{'ns/px':>9s}{'ns/byte':>9s}{'error':>8s}{'frame ms':>10s}"
    ]
    for name, times in table.times.items():
        for way in ("encode", "decode"):
            time = getattr(times, way)
            if time is not None:
                error = "–" if time.error is None else f"{time.error:.1%}"
                lines.append(
                    f"{name:18s}{way:8s}{1e3 * time.base_s:9.3f}{1e9 * time.per_pixel_s:9.2f}"
                    f"{1e9 * time.per_byte_s:9.2f}{error:>8s}{1e3 * time.seconds(pixels, 0.1 * pixels):10.2f}"
                )
    return "\n".join(lines)


def _command(options: CodecOptions) -> str:
    """The command with these options; of files only the names."""
    words = ["python -m profiler codecs"]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name == "out" or value == field.default:
            continue
        if field.name == "resolution_px":
            words.append("resolution={}x{}".format(*value))
        else:
            words.append(f"{field.name}={Path(value).name if field.name == 'video' else value}")
    return " ".join(words)


def run(options: CodecOptions, say: Callable[[str], None] = print) -> int:
    """The command.

    Raises:
        InputError: as for :func:`profile_codecs`.
    """
    table, path = profile_codecs(options, say)
    written = write_for_device(table, path.parent)
    say("\n".join([summary(table), "", str(path), *map(str, written)]))
    return 0
