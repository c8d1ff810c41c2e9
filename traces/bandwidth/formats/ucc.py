"""G-NetTrack logs of the UCC 4G and 5G recordings: a header, a row a second, rates in kbit/s.

Columns: Timestamp, Longitude, Latitude, Speed, Operatorname, CellID, NetworkMode, RSRP, RSRQ, SNR, CQI, RSSI,
DL_bitrate, UL_bitrate, State, ... Times are 2020.01.16_09.56.56 in whole seconds, and `-` is a missing value.
The logger repeats a second now and then and skips another: rows of one second count with their mean, and a
rate holds until the next row that has one. Rows before the first rate are left out. The recordings are
downloads, so their uplink is little more than acknowledgements. Raca et al., "Beyond Throughput: a 4G LTE
Dataset with Channel and Context Metrics", ACM MMSys 2018, and "Beyond Throughput, the Next Generation: a 5G
Dataset with Channel and Context Metrics", ACM MMSys 2020.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from traces.bandwidth.formats.delimited import read_table, table_cells
from traces.bandwidth.formats.parsing import (
    merge_repeats,
    parse_rate,
    read_text,
    segments_from_timestamps,
    shorten,
)
from traces.bandwidth.formats.stamps import whole_seconds
from traces.bandwidth.trace import RateTrace
from traces.errors import InputError

TIME_COLUMN = "Timestamp"
RATE_COLUMN = {"downlink": "DL_bitrate", "uplink": "UL_bitrate"}
MARK = "NetworkMode"  # a column of this log alone, where others have the three above, in units of their own
MISSING = ("-", "")
BPS_PER_KBPS = 1e3
_STAMP = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)_(\d\d)\.(\d\d)\.(\d\d)")


class Ucc:
    """The log of a download over 4G or 5G (a `TraceFormat`)."""

    name = "ucc"
    expects = (
        "a header with Timestamp, NetworkMode, DL_bitrate and UL_bitrate, and rows with stamps such as "
        "2020.01.16_09.56.56 and rates in kbit/s"
    )

    @dataclass(frozen=True, slots=True)
    class Options:
        """This format has no options."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def matches(self, sample_lines: list[str]) -> bool:
        """Whether the first line is the log's header."""
        return {TIME_COLUMN, MARK, *RATE_COLUMN.values()} <= set(table_cells(sample_lines[0]))

    def read(self, path: Path, direction: str = "uplink", column: str | None = None) -> RateTrace:
        """Read one direction of a log.

        column: DL_bitrate or UL_bitrate, whatever the direction.

        Raises:
            InputError: missing columns, a bad row, times that go back, or no rate > 0.
        """
        header_line, header, table = read_table(path, read_text(path), self.expects)
        rate_name = column or RATE_COLUMN[direction]
        missing = [name for name in (TIME_COLUMN, rate_name) if name not in header]
        if missing or rate_name not in RATE_COLUMN.values():
            raise InputError(
                f"{path}, line {header_line}: expected the columns {TIME_COLUMN} and "
                f"{' or '.join(RATE_COLUMN.values())}, found {(missing or [rate_name])[0]!r} to use among "
                f"{shorten(', '.join(header), 60)!r}"
            )
        time_index, rate_index = header.index(TIME_COLUMN), header.index(rate_name)
        lines: list[int] = []
        timestamps_s: list[float] = []
        rates_bps: list[float] = []
        stamps: dict[int, str] = {}
        for line, cells in table:
            if cells[rate_index] in MISSING:
                continue
            lines.append(line)
            stamps[line] = cells[time_index]
            timestamps_s.append(_seconds(path, line, cells[time_index]))
            rates_bps.append(
                BPS_PER_KBPS * parse_rate(cells[rate_index], f"{rate_name} in kbit/s", path, line)
            )
        lines, timestamps_s, rates_bps = merge_repeats(lines, timestamps_s, rates_bps)
        times_s, rates, period_s = segments_from_timestamps(
            path, lines, timestamps_s, rates_bps, lambda i: stamps[lines[i]]
        )
        return RateTrace(
            name=f"{path.name} {direction if column is None else column}",
            times_s=times_s,
            rates_bps=rates,
            period_s=period_s,
            source=str(path),
        )


def _seconds(path: Path, line: int, cell: str) -> float:
    found = _STAMP.fullmatch(cell)
    if found is None:
        raise InputError(
            f"{path}, line {line}: expected a stamp such as 2020.01.16_09.56.56, found {shorten(cell)!r}"
        )
    return float(whole_seconds(f"{path}, line {line}", "a stamp", cell, found.groups()))
