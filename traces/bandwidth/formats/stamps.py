"""Time stamps that are no seconds from a start: dates with a time of day, and Unix times in milliseconds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from traces.bandwidth.formats.parsing import shorten
from traces.errors import InputError

_ISO = re.compile(
    r"(\d{4})([-/])(\d\d)\2(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?"
    r"\s*(?:(Z|UTC)|([+-])(\d\d):?(\d\d)?)?",
    flags=re.IGNORECASE,
)
# A first stamp of an hour or more is no start of a recording: it is a Unix time (1e11 ms are in 1973), or
# what a machine counts since it was started.
_LATEST_MS, _UNIX_S_FROM, _UNIX_MS_FROM, _UNIX_MS_TO = 3_600_000, 10**9, 10**11, 10**13


def is_iso_time(cell: str) -> bool:
    """Whether a cell is a date with a time of day, as ISO 8601 writes them: 2024-01-16T09:56:56.25+01:00."""
    return _ISO.fullmatch(cell) is not None


def iso_times_s(path: Path, lines: list[int], cells: list[str], what: str, word: str = "line") -> list[float]:
    """Seconds from the first of ISO times to each, exact to the nanosecond.

    Raises:
        InputError: a cell that is no such time, or a time with a zone beside one without.
    """
    times_ns: list[int] = []
    zoned: bool | None = None
    for line, cell in zip(lines, cells, strict=True):
        found = _ISO.fullmatch(cell)
        place = f"{path}, {word} {line}"
        if found is None:
            raise InputError(
                f"{place}: expected {what} as a date with a time of day (2024-01-16T09:56:56), found "
                f"{shorten(cell)!r}"
            )
        year, _, month, day, hour, minute, second, fraction, utc, sign, hours, minutes = found.groups()
        has_zone = utc is not None or sign is not None
        if zoned is not None and has_zone != zoned:
            raise InputError(
                f"{place}: expected a time zone in every row or in none, found {shorten(cell)!r} after "
                f"{shorten(cells[0])!r}"
            )
        zoned = has_zone
        offset_s = 60 * (60 * int(hours or 0) + int(minutes or 0)) * (-1 if sign == "-" else 1)
        whole_s = whole_seconds(place, what, cell, (year, month, day, hour, minute, second or "0"))
        fraction_ns = int(((fraction or "") + "000000000")[:9])
        times_ns.append((whole_s - offset_s) * 10**9 + fraction_ns)
    return [(time_ns - times_ns[0]) / 1e9 for time_ns in times_ns]


def whole_seconds(place: str, what: str, cell: str, parts: Iterable[str]) -> int:
    """Seconds since 1970 of year, month, day, hour, minute and second.

    Raises:
        InputError: there is no such day or time.
    """
    try:
        year, month, day, hour, minute, second = map(int, parts)
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError as error:
        raise InputError(
            f"{place}: expected {what} as a date with a time of day, found {shorten(cell)!r} ({error})"
        ) from None
    return (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(seconds=1)


def loop_start_ms(path: Path, line: int, first_ms: int) -> int:
    """When the loop of a list of milliseconds starts: at 0, or at the first one where these are Unix times.

    Raises:
        InputError: a first stamp that is neither in milliseconds from a start nor in Unix milliseconds.
    """
    if first_ms < _LATEST_MS:
        return 0
    if _UNIX_MS_FROM <= first_ms < _UNIX_MS_TO:
        return first_ms
    guess = " (Unix seconds?)" if _UNIX_S_FROM <= first_ms < 10 * _UNIX_S_FROM else ""
    raise InputError(
        f"{path}, line {line}: expected milliseconds from the start or since 1970, found {first_ms}{guess}: "
        f"nothing could leave for the first {first_ms / _LATEST_MS:.0f} hours"
    )
