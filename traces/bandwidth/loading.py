"""Reading a bandwidth trace from a file: which format it is, and which part of it to use."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from traces.bandwidth.formats.cooked import Cooked
from traces.bandwidth.formats.delimited import Csv
from traces.bandwidth.formats.falcon import Falcon
from traces.bandwidth.formats.ghent import Ghent
from traces.bandwidth.formats.madrid import Madrid
from traces.bandwidth.formats.mahimahi import Mahimahi
from traces.bandwidth.formats.parsing import FileSample, is_number, read_text, sample_file, shorten
from traces.bandwidth.formats.rate_table import Parquet
from traces.bandwidth.formats.sigcomm21 import Sigcomm21
from traces.bandwidth.formats.ucc import Ucc
from traces.bandwidth.trace import BandwidthTrace, OpportunityTrace, RateTrace
from traces.bandwidth.trace_format import TraceFormat
from traces.errors import InputError, class_path, failure_in

SYNTHETIC_MARK = "synthetic"
DIRECTIONS = ("uplink", "downlink")

# The order is the order of detection: a header first, since the rest looks at rows alone.
_BUILT_IN: tuple[TraceFormat, ...] = (
    Csv(Csv.Options()),
    Mahimahi(Mahimahi.Options()),
    Cooked(Cooked.Options()),
    Ghent(Ghent.Options()),
    Falcon(Falcon.Options()),
    Sigcomm21(Sigcomm21.Options()),
    Madrid(Madrid.Options()),
    Parquet(Parquet.Options()),
    Ucc(Ucc.Options()),
)
FORMATS: dict[str, TraceFormat] = {known.name: known for known in _BUILT_IN}
_DETECTED = (FORMATS["ucc"], *_BUILT_IN)  # its header is a csv header, too, and says more


def load_trace(
    path: str | os.PathLike[str],
    format: str | TraceFormat | None = None,
    *,
    direction: str = "uplink",
    column: str | None = None,
    time_column: str | None = None,
    time_unit: str | None = None,
    rate_unit: str | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    offset_s: float = 0.0,
    loop_to_s: float | None = None,
    mean_bps: float | None = None,
    name: str | None = None,
) -> BandwidthTrace:
    """Read a trace file.

    path: the file.
    format: the name of a built-in format, or an object that reads another one (see `TraceFormat`); None or
        "auto" chooses among the built-in formats by the file's content.
    direction: "uplink" or "downlink", for the files that hold both (sigcomm21, madrid, falcon, ucc, and
        tables with columns such as download_mbps and upload_mbps).
    column: the rate column, for a table that has several.
    time_column, time_unit, rate_unit: what the header of a table (csv, parquet) does not say, or says
        wrongly: the column of times, their unit (ns, us, ms, s, min, h) and the unit of the rates (bps, kbps,
        mbps, gbps, bytes_per_s, kilobytes_per_s, ...). The units also serve cooked files, and all three any
        format of yours whose `Options` have them.
    start_s, end_s: keep this part of the recording (end_s None: to its end).
    offset_s: enter the loop this far in.
    loop_to_s: repeat (and cut) to this length; every trace loops anyway, this sets the length of a period.
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
    chosen = _with_options(
        _choose(path, format), path, time_column=time_column, time_unit=time_unit, rate_unit=rate_unit
    )
    trace = _read(chosen, path, direction, column)
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
    """The name of the built-in format that the file's content has.

    Raises:
        InputError: it has none of them.
    """
    return _choose(Path(path), None).name


def _choose(path: Path, format: str | TraceFormat | None) -> TraceFormat:
    """The format to read a file with; a file that looks like another format is refused here."""
    asked = None if format is None or format == "auto" else _resolve(format)
    sample = sample_file(path)
    if asked is not None and sample.lines and _matches(asked, path, sample):
        return asked
    found = next((known for known in _DETECTED if sample.lines and known.matches(sample.lines)), None)
    if asked is None:
        if found is None:
            raise _no_format(path, sample)
        return found
    if found is None or found is asked:
        return asked  # it names the offending line
    shown = "binary data" if sample.binary else repr(shorten(sample.lines[0]))
    raise InputError(
        f"{path}, line {sample.first_line}: expected the {asked.name} format ({asked.expects}), "
        f"found {shown}, which looks like the {found.name} format ({found.expects})"
    )


def _resolve(format: str | TraceFormat) -> TraceFormat:
    """The format that a name or an object stands for."""
    if isinstance(format, str):
        if format not in FORMATS:
            raise InputError(f"format must be in {(*FORMATS, 'auto')} (got {format!r})")
        return FORMATS[format]
    if isinstance(format, type):
        raise InputError(
            f"format: expected an object, {format.__name__}(options), found the class {class_path(format)}"
        )
    missing = [part for part in ("name", "expects", "matches", "read") if not hasattr(format, part)]
    if missing:
        raise InputError(
            f"format: expected a trace format with name, expects, matches and read, found "
            f"{class_path(type(format))} without {', '.join(missing)}"
        )
    return format


def _with_options(format: TraceFormat, path: Path, **values: str | None) -> TraceFormat:
    """The format with those options replaced that are not None.

    Raises:
        InputError: it has no such option, or not with that value.
    """
    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        return format
    options: Any = getattr(format, "options", None)
    known = [field.name for field in fields(options)] if is_dataclass(options) else []
    for name in given:
        if name not in known:
            having = [other.name for other in _BUILT_IN if hasattr(getattr(other, "options", None), name)]
            raise InputError(
                f"{path}: expected a format that takes {name} ({', '.join(having)}), found the {format.name} "
                f"format ({format.expects})"
            )
    remade: Any = type(format)
    try:
        made: TraceFormat = remade(replace(options, **given))
    except ValueError as error:  # a check of the options: "<option>: expected …"
        raise InputError(str(error)) from None
    return made


def _matches(format: TraceFormat, path: Path, sample: FileSample) -> bool:
    try:
        return bool(format.matches(sample.lines))
    except Exception as error:
        raise _failed(format, "matches", path, error) from error


def _read(format: TraceFormat, path: Path, direction: str, column: str | None) -> BandwidthTrace:
    try:
        trace = format.read(path, direction, column)
    except InputError:
        raise
    except Exception as error:
        raise _failed(format, "read", path, error) from error
    if not isinstance(trace, (OpportunityTrace, RateTrace)):
        raise InputError(
            f"{path}: expected {class_path(type(format))}.read to return an OpportunityTrace or a RateTrace, "
            f"found {trace!r:.40}"
        )
    return trace


def _failed(format: TraceFormat, method: str, path: Path, error: Exception) -> InputError:
    cls = type(format)
    return InputError(
        f"{path}: expected a trace from {class_path(cls)}.{method}, found {failure_in(cls, error)}"
    )


def _no_format(path: Path, sample: FileSample) -> InputError:
    if not sample.lines:
        return InputError(f"{path}: expected a trace, found only comments")
    read_text(path)  # says so if it is no text at all
    for known in _BUILT_IN:
        # Half a file or more in one format: the first line that is not in it is the mistake.
        fits = [known.matches([line]) for line in sample.lines]
        if known.name != "csv" and 2 * sum(fits) >= len(fits) > 1:
            i = fits.index(False)
            return InputError(
                f"{path}, line {sample.numbers[i]}: expected {known.expects} (as in {sum(fits)} of the "
                f"{len(fits)} lines looked at), found {shorten(sample.lines[i])!r}"
            )
    return InputError(
        f"{path}, line {sample.first_line}: expected one of the formats {', '.join(FORMATS)}, "
        f"found {shorten(sample.lines[0])!r}{_hint(sample.lines[0])}"
    )


def _hint(line: str) -> str:
    """What a line that fits no format may have been meant as."""
    cells = line.replace(";", ",").split(",")
    if len(cells) > 1 and all(map(is_number, cells)):
        return " (a csv needs a header that names its units, such as time_s,rate_mbps)"
    if is_number(line):
        return " (mahimahi times are whole milliseconds >= 0, without a point)"
    return ""
