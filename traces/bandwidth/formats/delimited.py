"""csv with a header that names units: `time_s,rate_mbps`, `timestamp_ms;uplink_kbps`, `time_ms,packets`.

Which column is what, and in what unit: see `traces.bandwidth.formats.columns`; dates with a time of day (ISO
8601) are times, too. A row's rate holds to the next row, however long that is; rows with one time count with
their mean. The last row holds for the median step, unless it has a time and an empty rate: then it only
marks the end. With a column `packets` the rows are delivery opportunities, that many in that millisecond,
and the last row's time is the period (0 packets there are allowed). An index column without a name and a
delimiter at the end of lines are left out. Lines starting with # are comments; `# synthetic: true` and
`# packet_bytes: 1500` are read.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from traces.bandwidth.formats.columns import ColumnOptions, find_rate_column, find_time_column, plain_name
from traces.bandwidth.formats.parsing import (
    is_number,
    is_unsigned_integer,
    merge_repeats,
    numbered_rows,
    parse_number,
    parse_rate,
    read_text,
    segments_from_timestamps,
    shorten,
)
from traces.bandwidth.formats.stamps import is_iso_time, iso_times_s, loop_start_ms
from traces.bandwidth.trace import MAX_OPPORTUNITIES, MS_PER_S, BandwidthTrace, OpportunityTrace, RateTrace
from traces.errors import InputError

MAX_DIGITS, MAX_TIME_MS = 15, 1e15  # far past any recording, far below the limit of 64-bit integers
_DELIMITERS = (",", ";", "\t")


class Csv:
    """Columns under a header that names their units (a `TraceFormat`)."""

    name = "csv"
    expects = "a header that names units, such as time_s,rate_mbps or time_ms,packets, and rows of numbers"

    Options = ColumnOptions

    def __init__(self, options: ColumnOptions) -> None:
        self.options = options

    def matches(self, sample_lines: list[str]) -> bool:
        """Whether the first line is a header of at least two words, the first of which may be empty."""
        cells = table_cells(sample_lines[0])
        words = cells[1:] if cells and not cells[0] else cells
        return (
            len(cells) >= 2
            and not any(map(is_number, words))
            and all(re.search("[A-Za-z]", word) for word in words)
        )

    def read(self, path: Path, direction: str = "uplink", column: str | None = None) -> BandwidthTrace:
        """Read a csv file.

        direction: chooses between rate columns whose names say uplink and downlink; column: names one.

        Raises:
            InputError: no time or rate column with a unit, several without a choice, or a bad row.
        """
        text = read_text(path)
        header_line, header, table = read_table(path, text, self.expects)
        notes = dict(re.findall(r"^#\s*(\w+):\s*(.*?)\s*$", text, flags=re.MULTILINE))
        place = f"{path}, line {header_line}"
        time_index, unit_s = find_time_column(
            place, header, lambda index: bool(table) and is_iso_time(table[0][1][index]), self.options
        )
        times = [(line, cells[time_index]) for line, cells in table]
        if column is None and "packets" in map(plain_name, header):
            packets_index = [plain_name(cell) for cell in header].index("packets")
            packets = [cells[packets_index] for _, cells in table]
            return _opportunities(path, header[time_index], times, unit_s, packets, notes)
        rate_index, factor = find_rate_column(place, header, time_index, direction, column, self.options)
        rates = [cells[rate_index] for _, cells in table]
        return _rates(path, header[time_index], times, unit_s, header[rate_index], rates, factor, notes)


def read_table(path: Path, text: str, expects: str) -> tuple[int, list[str], list[tuple[int, list[str]]]]:
    """(line of the header, header, (line, cells) of each row), every row as long as the header.

    Raises:
        InputError: no header, or a row of another length; empty cells at its end do not count.
    """
    rows = list(numbered_rows(text, strip=False))
    if not rows:
        raise InputError(f"{path}: expected {expects}, found only comments")
    header_line, header_text = rows[0]
    delimiter = _delimiter(header_text)
    header = table_cells(header_text)
    table: list[tuple[int, list[str]]] = []
    for line, row_text in rows[1:]:
        cells = _cells(row_text, delimiter)
        if len(cells) != len(header):
            extra = cells[len(header) :]
            if not extra or any(extra):
                raise InputError(f"{path}, line {line}: expected {len(header)} cells, found {len(cells)}")
            cells = cells[: len(header)]
        table.append((line, cells))
    return header_line, header, table


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
    time_name: str,
    times: list[tuple[int, str]],
    unit_s: float | None,
    rate_name: str,
    rates: list[str],
    factor: float,
    notes: dict[str, str],
) -> RateTrace:
    lines = [line for line, _ in times]
    stamps_s = _times_s(path, time_name, times, unit_s)
    has_end = len(rates) > 1 and rates[-1] == ""
    rates_bps = [
        factor * parse_rate(cell, rate_name, path, line)
        for line, cell in zip(lines[: len(rates) - has_end], rates, strict=False)
    ]
    written = dict(zip(lines, (cell for _, cell in times), strict=True))
    known = len(rates_bps)
    merged_lines, merged_s, merged_bps = merge_repeats(lines[:known], stamps_s[:known], rates_bps)
    if has_end:
        # As a last row of its own: the rows before it then need no guess at how long the last one holds.
        merged_lines, merged_s, merged_bps = (
            [*merged_lines, lines[-1]],
            [*merged_s, stamps_s[-1]],
            [*merged_bps, 0.0],
        )
    times_s, kept_bps, period_s = segments_from_timestamps(
        path, merged_lines, merged_s, merged_bps, lambda i: f"{written[merged_lines[i]]} {time_name}"
    )
    if has_end:
        times_s, kept_bps, period_s = times_s[:-1], kept_bps[:-1], float(times_s[-1])
    return RateTrace(
        name=notes.get("name", path.name),
        times_s=times_s,
        rates_bps=kept_bps,
        period_s=period_s,
        synthetic=notes.get("synthetic", "").lower() == "true",
        source=str(path),
    )


def _times_s(path: Path, name: str, times: list[tuple[int, str]], unit_s: float | None) -> list[float]:
    """The times in seconds; dates count from the first one."""
    if unit_s is None:
        return iso_times_s(path, [line for line, _ in times], [cell for _, cell in times], name)
    return [unit_s * parse_number(cell, name, path, line) for line, cell in times]


def _opportunities(
    path: Path,
    time_name: str,
    times: list[tuple[int, str]],
    unit_s: float | None,
    packets: list[str],
    notes: dict[str, str],
) -> OpportunityTrace:
    times_ms: list[int] = []
    counts: list[int] = []
    stamps_s = _times_s(path, time_name, times, unit_s)
    for (line, _), time_s, count in zip(times, stamps_s, packets, strict=True):
        time_ms = time_s * MS_PER_S
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
    start_ms = loop_start_ms(path, times[0][0], times_ms[0])
    if times_ms[-1] == start_ms:
        raise InputError(f"{path}: expected a last time > 0 ms (the trace loops there), found 0")
    packet_bytes = notes.get("packet_bytes", "1500")
    if not is_unsigned_integer(packet_bytes) or len(packet_bytes) > MAX_DIGITS:
        raise InputError(f"{path}: expected packet_bytes as a whole number, found {shorten(packet_bytes)!r}")
    return OpportunityTrace(
        name=notes.get("name", path.name),
        times_ms=np.repeat(np.array(times_ms, dtype=np.int64) - start_ms, counts),
        period_ms=times_ms[-1] - start_ms,
        packet_bytes=int(packet_bytes),
        synthetic=notes.get("synthetic", "").lower() == "true",
        source=str(path),
    )


def table_cells(header: str) -> list[str]:
    """The cells of a header, whatever separates them."""
    return _without_empty_end(_cells(header, _delimiter(header)))


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:  # a cell of more than 131072 characters: one cell, which its reader refuses by line
        return [line]


def _without_empty_end(cells: list[str]) -> list[str]:
    """The cells up to the last one that is not empty."""
    filled = [index for index, cell in enumerate(cells) if cell]
    return cells[: filled[-1] + 1] if filled else []
