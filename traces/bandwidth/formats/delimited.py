"""csv with a header that names units: `time_s,rate_mbps`, `timestamp_ms;uplink_kbps`, `time_ms,packets`.

A rate column ends in its unit (bps, kbps, mbps, gbps, bit/s, kbit/s, mbit/s, gbit/s, bytes_per_s,
kilobytes_per_s, megabytes_per_s), the time column in s, ms, us or min. A row's rate holds to the next row;
the last row holds for the median step, unless it has a time and an empty rate: then it only marks the end.
With a column `packets` the rows are delivery opportunities, that many in that millisecond, and the last
row's time is the period (0 packets there are allowed). Lines starting with # are comments; `# synthetic:
true` and `# packet_bytes: 1500` are read.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from traces.bandwidth.formats.parsing import (
    is_number,
    is_unsigned_integer,
    numbered_rows,
    parse_number,
    parse_rate,
    read_text,
    segments_from_timestamps,
    shorten,
)
from traces.bandwidth.trace import MAX_OPPORTUNITIES, MS_PER_S, BandwidthTrace, OpportunityTrace, RateTrace
from traces.errors import InputError

_BIT_UNITS = {"bps": 1.0, "kbps": 1e3, "mbps": 1e6, "gbps": 1e9}
_BIT_UNITS |= {
    f"{p}bit{s}_s": f for p, f in (("", 1.0), ("k", 1e3), ("m", 1e6), ("g", 1e9)) for s in ("", "s")
}
_BIT_UNITS |= {unit[:-2] + "_per_s": factor for unit, factor in _BIT_UNITS.items() if unit.endswith("_s")}
_BYTE_UNITS = {"bytes": 8.0, "kilobytes": 8e3, "megabytes": 8e6}
RATE_UNITS = _BIT_UNITS | {f"{u}_{end}": f for u, f in _BYTE_UNITS.items() for end in ("s", "per_s")}
TIME_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0, "milliseconds": 1e-3, "min": 60.0}
MAX_DIGITS, MAX_TIME_MS = 15, 1e15  # far past any recording, far below the limit of 64-bit integers
_DELIMITERS = (",", ";", "\t")
_AMBIGUOUS = re.compile(r"[KkMG]B(ps|/s)")  # kilobytes or kilobits? 1000 or 1024?


class Csv:
    """Columns under a header that names their units (a `TraceFormat`)."""

    name = "csv"
    expects = "a header that names units, such as time_s,rate_mbps or time_ms,packets, and rows of numbers"

    @dataclass(frozen=True, slots=True)
    class Options:
        """This format has no options."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def matches(self, sample_lines: list[str]) -> bool:
        """Whether the first line is a header of at least two words."""
        cells = _cells(sample_lines[0], _delimiter(sample_lines[0]))
        return (
            len(cells) >= 2
            and not any(map(is_number, cells))
            and all(re.search("[A-Za-z]", c) for c in cells)
        )

    def read(self, path: Path, direction: str = "uplink", column: str | None = None) -> BandwidthTrace:
        """Read a csv file.

        direction: chooses between rate columns whose names say uplink and downlink; column: names one.

        Raises:
            InputError: no time or rate column with a unit, several without a choice, or a bad row.
        """
        text = read_text(path)
        rows = list(numbered_rows(text))
        if not rows:
            raise InputError(f"{path}: expected {self.expects}, found only comments")
        header_line, header_text = rows[0]
        delimiter = _delimiter(header_text)
        header = _cells(header_text, delimiter)
        table: list[tuple[int, list[str]]] = []
        for line, row_text in rows[1:]:
            cells = _cells(row_text, delimiter)
            if len(cells) != len(header):
                raise InputError(f"{path}, line {line}: expected {len(header)} cells, found {len(cells)}")
            table.append((line, cells))
        notes = dict(re.findall(r"^#\s*(\w+):\s*(.*?)\s*$", text, flags=re.MULTILINE))
        time_index, seconds = _time_column(path, header_line, header)
        lowered = [_plain(cell) for cell in header]
        if column is None and "packets" in lowered:
            return _opportunities(
                path, header[time_index], time_index, lowered.index("packets"), seconds, table, notes
            )
        rate_index, factor = _rate_column(path, header_line, header, direction, column)
        return _rates(path, header, time_index, seconds, rate_index, factor, table, notes)


def dumps(trace: BandwidthTrace) -> str:
    """The trace as csv: numbers in full precision, so that reading it back gives the same trace."""
    lines = [f"# name: {trace.name}", f"# synthetic: {str(trace.synthetic).lower()}"]
    if isinstance(trace, OpportunityTrace):
        lines += [f"# packet_bytes: {trace.packet_bytes}", "time_ms,packets"]
        times_ms, counts = np.unique(trace.times_ms, return_counts=True)
        lines += [f"{t},{n}" for t, n in zip(times_ms.tolist(), counts.tolist(), strict=True)]
        if times_ms[-1] < trace.period_ms:
            lines.append(f"{trace.period_ms},0")
    else:
        lines.append("time_s,rate_bps")
        pairs = zip(trace.times_s.tolist(), trace.rates_bps.tolist(), strict=True)
        lines += [f"{time_s!r},{rate_bps!r}" for time_s, rate_bps in pairs]
        lines.append(f"{trace.period_s!r},")
    return "\n".join(lines) + "\n"


def _rates(
    path: Path,
    header: list[str],
    time_index: int,
    seconds: float,
    rate_index: int,
    factor: float,
    table: list[tuple[int, list[str]]],
    notes: dict[str, str],
) -> RateTrace:
    end_s: float | None = None
    if table and table[-1][1][rate_index] == "" and len(table) > 1:
        line, cells = table.pop()
        end_s = seconds * parse_number(cells[time_index], f"{header[time_index]}, the end", path, line)
    lines = [line for line, _ in table]
    timestamps_s = [
        seconds * parse_number(cells[time_index], header[time_index], path, line) for line, cells in table
    ]
    rates_bps = [
        factor * parse_rate(cells[rate_index], header[rate_index], path, line) for line, cells in table
    ]
    if end_s is not None:
        # As a last row of its own: the rows before it then need no guess at how long the last one holds.
        lines.append(lines[-1] + 1)
        timestamps_s.append(end_s)
        rates_bps.append(0.0)
    times_s, rates, period_s = segments_from_timestamps(
        path, lines, timestamps_s, rates_bps, lambda i: f"{timestamps_s[i] / seconds:g} {header[time_index]}"
    )
    if end_s is not None:
        times_s, rates, period_s = times_s[:-1], rates[:-1], float(times_s[-1])
    return RateTrace(
        name=notes.get("name", path.name),
        times_s=times_s,
        rates_bps=rates,
        period_s=period_s,
        synthetic=notes.get("synthetic", "").lower() == "true",
        source=str(path),
    )


def _opportunities(
    path: Path,
    time_name: str,
    time_index: int,
    packets_index: int,
    seconds: float,
    table: list[tuple[int, list[str]]],
    notes: dict[str, str],
) -> OpportunityTrace:
    times_ms: list[int] = []
    counts: list[int] = []
    for line, cells in table:
        time_ms = parse_number(cells[time_index], time_name, path, line) * seconds * MS_PER_S
        if not 0 <= time_ms <= MAX_TIME_MS or abs(time_ms - round(time_ms)) > 1e-6:
            most = f" and at most {MAX_TIME_MS:.0e}" if time_ms > MAX_TIME_MS else ""
            raise InputError(
                f"{path}, line {line}: expected whole milliseconds >= 0{most}, found {time_ms:g} ms"
            )
        if times_ms and time_ms < times_ms[-1]:
            raise InputError(
                f"{path}, line {line}: expected times that do not go back, found {time_ms:g} ms "
                f"after {times_ms[-1]} ms"
            )
        count = cells[packets_index]
        if not is_unsigned_integer(count) or len(count) > MAX_DIGITS:
            raise InputError(
                f"{path}, line {line}: expected a whole number of packets >= 0, found {shorten(count)!r}"
            )
        times_ms.append(round(time_ms))
        counts.append(int(count))
    if sum(counts) > MAX_OPPORTUNITIES:
        raise InputError(f"{path}: expected at most {MAX_OPPORTUNITIES:.0e} packets, found {sum(counts):.3g}")
    if not any(counts):
        raise InputError(f"{path}: expected at least one packet, found none")
    if times_ms[-1] == 0:
        raise InputError(f"{path}: expected a last time > 0 ms (the trace loops there), found 0")
    packet_bytes = notes.get("packet_bytes", "1500")
    if not is_unsigned_integer(packet_bytes) or len(packet_bytes) > MAX_DIGITS:
        raise InputError(f"{path}: expected packet_bytes as a whole number, found {shorten(packet_bytes)!r}")
    return OpportunityTrace(
        name=notes.get("name", path.name),
        times_ms=np.repeat(np.array(times_ms, dtype=np.int64), counts),
        period_ms=times_ms[-1],
        packet_bytes=int(packet_bytes),
        synthetic=notes.get("synthetic", "").lower() == "true",
        source=str(path),
    )


def _time_column(path: Path, line: int, header: list[str]) -> tuple[int, float]:
    """(index, seconds a unit) of the first column that ends in a time unit."""
    for index, cell in enumerate(header):
        if _rate_factor(cell) is None:
            unit = _plain(cell).rpartition("_")[2]
            if unit in TIME_UNITS:
                return index, TIME_UNITS[unit]
    raise InputError(
        f"{path}, line {line}: expected a time column that ends in its unit (time_s, time_ms, ...), "
        f"found {shorten(', '.join(header), 60)!r}"
    )


def _rate_column(
    path: Path, line: int, header: list[str], direction: str, column: str | None
) -> tuple[int, float]:
    """(index, bit/s a unit) of the rate column to use."""
    if column is not None:
        if column not in header:
            raise InputError(f"{path}, line {line}: expected a column {column!r}, found {', '.join(header)}")
        candidates = [header.index(column)]
    else:
        candidates = [index for index, cell in enumerate(header) if _rate_factor(cell) is not None]
        if len(candidates) > 1:
            candidates = [i for i in candidates if direction in _plain(header[i])] or candidates
    if len(candidates) > 1:
        names = ", ".join(header[index] for index in candidates)
        raise InputError(f"{path}, line {line}: expected one rate column, found {names}; choose with column=")
    factor = _rate_factor(header[candidates[0]]) if candidates else None
    if factor is None:
        raise InputError(
            f"{path}, line {line}: expected a rate column that ends in its unit (rate_bps, rate_mbps, "
            f"bytes_per_s, ...), found {shorten(', '.join(header), 60)!r}"
        )
    return candidates[0], factor


def _rate_factor(cell: str) -> float | None:
    if _AMBIGUOUS.search(cell):
        return None  # kB/s leaves open 8 or 1, 1000 or 1024: the header must spell kilobytes_per_s
    plain = _plain(cell)
    units = [unit for unit in RATE_UNITS if plain == unit or plain.endswith("_" + unit)]
    return RATE_UNITS[max(units, key=len)] if units else None


def _plain(cell: str) -> str:
    """Lower case with single underscores: `Rate (Mbit/s)` becomes rate_mbit_s."""
    return re.sub(r"[^a-z0-9]+", "_", cell.lower()).strip("_")


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:  # a cell of more than 131072 characters: one cell, which its reader refuses by line
        return [line]
