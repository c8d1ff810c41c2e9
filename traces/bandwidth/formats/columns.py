"""Which column of a table is the time axis, which the rate, and in what units: from the names of the columns.

A rate column ends in its unit: bps, kbps, mbps, gbps; bit/s, kbit/s, mbit/s, gbit/s; Bps or B/s (a capital B
is bytes) or bytes/s, kilobytes/s, kibibytes/s and so on; `/s` may be spelled `_s`, `_per_s` or `/sec`. kB/s
leaves open whether 1000 or 1024, and whoever writes KBps may mean bits, so neither is taken. A time column
ends in ns, us, ms, s, min or h, or holds dates with a time of day (ISO 8601). Of several the one named as
time counts (time_s before rtt_ms). Names that stand for a duration (rtt_ms, latency_ms) are never the time
axis, unless somebody says so: whoever reads a table may name the columns and units.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from traces.bandwidth.formats.parsing import shorten
from traces.errors import InputError
from traces.notices import warn_once

_BITS = {f"{p}bps": f for p, f in (("", 1.0), ("k", 1e3), ("m", 1e6), ("g", 1e9))}
_BITS |= {
    f"{prefix}{bit}{per}": factor
    for prefix, factor in (("", 1.0), ("k", 1e3), ("m", 1e6), ("g", 1e9))
    for bit in ("bit", "bits")
    for per in ("_s", "_sec", "_per_s", "_per_sec", "_per_second")
}
_BYTES = {
    f"{prefix}{byte}{per}": 8 * factor
    for prefix, factor in (
        ("", 1.0),
        ("kilo", 1e3),
        ("mega", 1e6),
        ("giga", 1e9),
        ("kibi", 2.0**10),
        ("mebi", 2.0**20),
        ("gibi", 2.0**30),
    )
    for byte in ("byte", "bytes")
    for per in ("_s", "_sec", "_per_s", "_per_sec", "_per_second")
}
RATE_UNITS = _BITS | _BYTES
TIME_UNITS = {
    **dict.fromkeys(("ns", "nsec", "nanoseconds"), 1e-9),
    **dict.fromkeys(("us", "usec", "microseconds"), 1e-6),
    **dict.fromkeys(("ms", "msec", "milliseconds"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "minutes"), 60.0),
    **dict.fromkeys(("h", "hours"), 3600.0),
}
_SAID_RATE = "bps, kbps, mbps, gbps, bytes_per_s, kilobytes_per_s, megabytes_per_s, kibibytes_per_s"
_SAID_TIME = "ns, us, ms, s, min, h"
_AMBIGUOUS = re.compile(r"[KkMGT]B(ps|/s)")  # kilobytes or kilobits? 1000 or 1024?
_CAPITAL_BYTES = re.compile(r"(?:^|[^A-Za-z])B(?:ps|[/_]s|[/_]sec|_per_s)[^A-Za-z0-9]*$")
_TIME_NAMES = ("time", "timestamp", "timestamps", "ts", "t", "datetime", "date_time")
_TIME_WORDS = {*_TIME_NAMES, "date", "stamp", "clock", "epoch", "unix", "elapsed", "since"}
_DURATION_WORDS = {
    *("rtt", "srtt", "latency", "delay", "owd", "ping", "jitter", "duration", "dur", "interval", "lag"),
    *("trip", "response", "timeout", "age", "gap", "per", "step"),
}
_RATE_WORDS = {"rate", "bitrate", "bandwidth", "bw", "throughput", "goodput", "capacity"}
_DIRECTION_WORDS = {
    "uplink": {"uplink", "upload", "upstream", "up", "ul"},
    "downlink": {"downlink", "download", "downstream", "down", "dl"},
}


@dataclass(frozen=True, slots=True)
class ColumnOptions:
    """What the header of a table does not say, or says wrongly.

    time_column: name of the column of times; None: the one whose name says so.
    time_unit: unit of its numbers; None: its name ends in it, or they are dates.
    rate_unit: unit of the rates; None: the column's name ends in it.

    Raises:
        ValueError: a unit that there is not.
    """

    time_column: str | None = None
    time_unit: str | None = None
    rate_unit: str | None = None

    def __post_init__(self) -> None:
        if self.time_unit is not None and self.time_unit not in TIME_UNITS:
            raise ValueError(f"time_unit: expected one of {_SAID_TIME}, found {self.time_unit!r}")
        if self.rate_unit is not None and rate_factor(self.rate_unit) is None:
            raise ValueError(f"rate_unit: expected one of {_SAID_RATE}, found {self.rate_unit!r}")


def find_time_column(
    place: str, header: Sequence[str], is_date: Callable[[int], bool], options: ColumnOptions
) -> tuple[int, float | None]:
    """(index, seconds a unit) of the time axis; None for the unit where the column holds dates.

    place: what messages name; is_date: whether the column of that index holds dates with a time of day.

    Raises:
        InputError: there is no such column, several, or one without a unit.
    """
    given = None if options.time_unit is None else TIME_UNITS[options.time_unit]
    if options.time_column is not None:
        index = _named(place, header, options.time_column)
        unit_s = given or _time_unit_s(header[index])
        if unit_s is None and not is_date(index):
            raise InputError(
                f"{place}: expected the unit of {options.time_column!r} in its name or as time_unit "
                f"({_SAID_TIME}), found none"
            )
        return index, None if given is None and is_date(index) else unit_s
    ranked: dict[int, list[int]] = {}
    for index, cell in enumerate(header):
        usable = is_date(index) or _time_unit_s(cell) is not None or (given is not None and _says_time(cell))
        rank = _time_rank(cell, is_date(index)) if usable and rate_factor(cell) is None else None
        if rank is not None:
            ranked.setdefault(rank, []).append(index)
    if not ranked:
        raise InputError(
            f"{place}: expected a time column that ends in its unit (time_s, time_ms, ...) or holds dates, "
            f"found {shorten(', '.join(header), 60)!r}; time_column and time_unit name one"
        )
    candidates = ranked[min(ranked)]
    bare = [cell for cell in header if plain_name(cell) in _TIME_NAMES]
    if min(ranked) == 2 and bare:
        raise InputError(
            f"{place}: expected the unit of {bare[0]!r} in its name or as time_unit ({_SAID_TIME}), "
            "found none"
        )
    if len(candidates) > 1:
        names = ", ".join(header[index] for index in candidates)
        raise InputError(f"{place}: expected one time column, found {names}; choose with time_column")
    index = candidates[0]
    if given is None and is_date(index):
        return index, None
    return index, given or _time_unit_s(header[index])


def find_rate_column(
    place: str,
    header: Sequence[str],
    time_index: int,
    direction: str,
    column: str | None,
    options: ColumnOptions,
) -> tuple[int, float]:
    """(index, bit/s a unit) of the rate column to use.

    direction: chooses between columns whose names say uplink and downlink; column: names one.

    Raises:
        InputError: there is no such column, several, or one without a unit.
    """
    given = None if options.rate_unit is None else rate_factor(options.rate_unit)
    others = [index for index in range(len(header)) if index != time_index]
    if column is not None:
        candidates = [_named(place, header, column)]
    else:
        candidates = [index for index in others if rate_factor(header[index]) is not None]
        if not candidates and given is not None:
            named = [index for index in others if header[index]]
            candidates = [index for index in named if _words(header[index]) & _RATE_WORDS] or (
                named if len(named) == 1 else []
            )
        candidates = _in_direction(place, header, candidates, others, direction)
    if len(candidates) > 1:
        names = ", ".join(header[index] for index in candidates)
        raise InputError(f"{place}: expected one rate column, found {names}; choose with column=")
    factor = (given or rate_factor(header[candidates[0]])) if candidates else None
    if factor is None:
        raise InputError(
            f"{place}: expected a rate column that ends in its unit (rate_bps, rate_mbps, bytes_per_s, ...), "
            f"found {shorten(', '.join(header), 60)!r}; column and rate_unit name one"
        )
    return candidates[0], factor


def rate_factor(cell: str) -> float | None:
    """Bit/s that 1 stands for in a column of this name; None where the name ends in no unit of a rate."""
    if _AMBIGUOUS.search(cell):
        return None
    if _CAPITAL_BYTES.search(cell):
        return 8.0
    plain = plain_name(cell)
    units = [unit for unit in RATE_UNITS if plain == unit or plain.endswith("_" + unit)]
    return RATE_UNITS[max(units, key=len)] if units else None


def plain_name(cell: str) -> str:
    """Lower case with single underscores: `Rate (Mbit/s)` becomes rate_mbit_s."""
    return re.sub(r"[^a-z0-9]+", "_", cell.lower()).strip("_")


def _words(cell: str) -> set[str]:
    return set(plain_name(cell).split("_"))


def _named(place: str, header: Sequence[str], name: str) -> int:
    if name not in header:
        raise InputError(f"{place}: expected a column {name!r}, found {', '.join(header)}")
    return list(header).index(name)


def _time_unit_s(cell: str) -> float | None:
    """Seconds that 1 stands for in a column of this name; speeds (`m/s`) end in a unit of time, too."""
    words = plain_name(cell).split("_")
    if words[-1] not in TIME_UNITS or (len(words) > 1 and words[-2] in ("m", "km", "mi", "per")):
        return None
    return TIME_UNITS[words[-1]]


def _says_time(cell: str) -> bool:
    return bool(_words(cell) & _TIME_WORDS)


def _time_rank(cell: str, is_date: bool) -> int | None:
    """How surely a column is the time axis: 0 by its name, 1 by a word in it or its dates, 2 by its unit."""
    plain = plain_name(cell)
    head, _, tail = plain.rpartition("_")
    if (head if tail in TIME_UNITS else plain) in _TIME_NAMES:
        return 0
    if _words(cell) & _DURATION_WORDS:
        return None
    if is_date or _says_time(cell) or plain in TIME_UNITS:
        return 1
    return None if tail in ("min", "h") else 2  # `rate_min` is the least rate


def _in_direction(
    place: str, header: Sequence[str], candidates: list[int], others: list[int], direction: str
) -> list[int]:
    """The candidates of a direction, all of them where none says one."""

    def says(index: int, which: str) -> bool:
        return which in plain_name(header[index]) or bool(_words(header[index]) & _DIRECTION_WORDS[which])

    opposite = "downlink" if direction == "uplink" else "uplink"
    if len(candidates) > 1:
        return [index for index in candidates if says(index, direction)] or candidates
    if len(candidates) == 1 and says(candidates[0], opposite):
        for index in others:
            rate_like = _AMBIGUOUS.search(header[index]) or _words(header[index]) & _RATE_WORDS
            if index not in candidates and rate_like and says(index, direction):
                raise InputError(
                    f"{place}: expected the unit of {header[index]!r} in its name or as rate_unit "
                    f"({_SAID_RATE}), found none; column={header[candidates[0]]} takes the {opposite}"
                )
        warn_once(
            f"{place}: has rates of the {opposite} only, {header[candidates[0]]}: they are taken for the "
            f"{direction}'s"
        )
    return candidates
