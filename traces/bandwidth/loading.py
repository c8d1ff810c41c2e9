"""Reading a bandwidth trace from a file: which format it is, and which part of it to use."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from traces.bandwidth.formats import cooked, delimited, falcon, ghent, madrid, mahimahi, sigcomm21
from traces.bandwidth.formats.text import is_number, numbered_rows, read_text, sample_lines, shorten
from traces.bandwidth.trace import BandwidthTrace
from traces.errors import InputError

SYNTHETIC_MARK = "synthetic"
DIRECTIONS = ("uplink", "downlink")


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """A file format: how to know it, what it expects, how to read it.

    read: (path, direction, column) -> trace; formats without directions or columns ignore the two.
    """

    name: str
    expects: str
    matches: Callable[[list[str]], bool]
    read: Callable[[Path, str, str | None], BandwidthTrace]


# The order is the order of detection: a header first, since the rest looks at rows alone.
TEXT_FORMATS: tuple[TraceFormat, ...] = (
    TraceFormat(delimited.NAME, delimited.EXPECTS, delimited.matches, delimited.load),
    TraceFormat(mahimahi.NAME, mahimahi.EXPECTS, mahimahi.matches, lambda path, _d, _c: mahimahi.load(path)),
    TraceFormat(cooked.NAME, cooked.EXPECTS, cooked.matches, lambda path, _d, _c: cooked.load(path)),
    TraceFormat(ghent.NAME, ghent.EXPECTS, ghent.matches, lambda path, _d, _c: ghent.load(path)),
    TraceFormat(falcon.NAME, falcon.EXPECTS, falcon.matches, lambda path, d, _c: falcon.load(path, d)),
    TraceFormat(
        sigcomm21.NAME, sigcomm21.EXPECTS, sigcomm21.matches, lambda path, d, _c: sigcomm21.load(path, d)
    ),
)
MADRID = TraceFormat(
    madrid.NAME, madrid.EXPECTS, lambda _sample: False, lambda path, d, _c: madrid.load(path, d)
)
FORMATS: dict[str, TraceFormat] = {known.name: known for known in (*TEXT_FORMATS, MADRID)}


def load_trace(
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    direction: str = "uplink",
    column: str | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    offset_s: float = 0.0,
    loop_to_s: float | None = None,
    mean_bps: float | None = None,
    name: str | None = None,
) -> BandwidthTrace:
    """Read a trace file.

    path: the file.
    format: one of FORMATS; None or "auto" looks at the content.
    direction: "uplink" or "downlink", for the formats that hold both (sigcomm21, madrid, falcon).
    column: the rate column, for a csv that has several.
    start_s, end_s: keep this part of the recording (end_s None: to its end).
    offset_s: enter the loop this far in.
    loop_to_s: repeat (and cut) to this length; every trace loops anyway, this sets the length of a round.
    mean_bps: scale to this mean.
    name: what tables call it (default: the file's name).
    They apply in this order.

    Raises:
        InputError: the file cannot be read as that format, or an option is out of its range. The message
            names the file and line, what was expected with its unit, and what was found.
    """
    path = Path(path).expanduser()
    if direction not in DIRECTIONS:
        raise InputError(f"direction must be in {DIRECTIONS} (got {direction!r})")
    trace = _choose(path, format).read(path, direction, column)
    if start_s != 0.0 or end_s is not None:
        trace = trace.sliced(start_s, trace.duration_s if end_s is None else end_s)
    if offset_s != 0.0:
        trace = trace.shifted(offset_s)
    if loop_to_s is not None:
        trace = trace.looped_to(loop_to_s)
    if mean_bps is not None:
        trace = trace.scaled_to_mean(mean_bps)
    # A text trace has no place for a label, so the generator puts it into the file's name.
    synthetic = trace.synthetic or SYNTHETIC_MARK in path.name.lower()
    name = name or trace.name
    if synthetic and SYNTHETIC_MARK not in name.lower():
        name = f"{name} ({SYNTHETIC_MARK})"
    return replace(trace, name=name, synthetic=synthetic)


def detect_format(path: str | os.PathLike[str]) -> str:
    """The name of the format that the file's content has.

    Raises:
        InputError: it has none of them.
    """
    return _choose(Path(path), None).name


def _choose(path: Path, format: str | None) -> TraceFormat:
    asked = None
    if format is not None and format != "auto":
        if format not in FORMATS:
            raise InputError(f"format must be in {(*FORMATS, 'auto')} (got {format!r})")
        asked = FORMATS[format]
    if madrid.is_parquet(path):
        if asked is not None and asked is not MADRID:
            raise InputError(
                f"{path}: expected the {asked.name} format ({asked.expects}), found a parquet file, "
                f"which looks like the {MADRID.name} format ({MADRID.expects})"
            )
        return MADRID
    text = read_text(path)
    sample = sample_lines(text)
    if not sample:
        raise InputError(f"{path}: expected a trace, found only comments")
    line = next(numbered_rows(text))[0]
    if asked is not None and asked.matches(sample):
        return asked
    found = next((known for known in TEXT_FORMATS if known.matches(sample)), None)
    if found is None:
        if asked is not None:
            return asked  # its loader names the offending line
        raise InputError(
            f"{path}, line {line}: expected one of the formats {', '.join(FORMATS)}, "
            f"found {shorten(sample[0])!r}{_hint(sample[0])}"
        )
    if asked is not None:
        raise InputError(
            f"{path}, line {line}: expected the {asked.name} format ({asked.expects}), "
            f"found {shorten(sample[0])!r}, "
            f"which looks like the {found.name} format ({found.expects})"
        )
    return found


def _hint(line: str) -> str:
    """What a line that fits no format may have been meant as."""
    cells = line.replace(";", ",").split(",")
    if len(cells) > 1 and all(map(is_number, cells)):
        return " (a csv needs a header that names its units, such as time_s,rate_mbps)"
    if is_number(line):
        return " (mahimahi times are whole milliseconds >= 0, without a point)"
    return ""
