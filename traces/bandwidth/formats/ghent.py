"""Download logs of the Ghent 4G and the Norwegian HSDPA recordings: one row an interval.

Columns: time (unix ms in Ghent, unix s in Norway), ms since the start, latitude, longitude, bytes since the
last row, ms since the last row. A row says what arrived in the interval that *ends* at it, so its rate
holds for the ms in its last column; intervals are laid end to end from 0, and the bytes of the log are the
bytes of the trace. van der Hooft et al., "HTTP/2-Based Adaptive Streaming of HEVC Video over 4G/LTE
Networks", IEEE Communications Letters 20(11), 2016; Riiser et al., "Commute Path Bandwidth Traces from 3G
Networks", ACM MMSys 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from traces.bandwidth.formats.parsing import (
    is_number,
    is_unsigned_integer,
    mostly,
    numbered_rows,
    parse_number,
    parse_rate,
    read_text,
    shorten,
)
from traces.bandwidth.trace import MS_PER_S, RateTrace
from traces.errors import InputError

COLUMNS = 6


class Ghent:
    """The log of a download over 4G or HSDPA (a `TraceFormat`)."""

    name = "ghent"
    expects = (
        "rows of six numbers: unix time, ms since the start, latitude, longitude, bytes since the last row, "
        "ms since the last row"
    )

    @dataclass(frozen=True, slots=True)
    class Options:
        """This format has no options."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def matches(self, sample_lines: list[str]) -> bool:
        """Whether the sampled lines have the log's six columns."""
        return mostly(sample_lines, _has_shape)

    def read(self, path: Path, direction: str = "uplink", column: str | None = None) -> RateTrace:
        """Read a Ghent or HSDPA log.

        Raises:
            InputError: a row that does not fit the columns, a negative value, times that go back, bytes in an
                interval of 0 ms, or no byte at all.
        """
        intervals_ms: list[float] = []
        received_bytes: list[float] = []
        previous_ms = -np.inf
        for line, text in numbered_rows(read_text(path)):
            cells = text.split()
            if len(cells) != COLUMNS:
                raise InputError(f"{path}, line {line}: expected {self.expects}, found {shorten(text)!r}")
            since_start_ms = parse_number(cells[1], "ms since the start", path, line)
            size_bytes = parse_rate(cells[4], "bytes since the last row", path, line)
            interval_ms = parse_rate(cells[5], "ms since the last row", path, line)
            if since_start_ms < previous_ms:
                raise InputError(
                    f"{path}, line {line}: expected times that do not go back, found {since_start_ms:g} ms "
                    f"after {previous_ms:g} ms"
                )
            previous_ms = since_start_ms
            if interval_ms == 0 and size_bytes > 0:
                raise InputError(
                    f"{path}, line {line}: expected an interval > 0 ms, found 0 with {cells[4]} bytes"
                )
            if interval_ms > 0:
                intervals_ms.append(interval_ms)
                received_bytes.append(size_bytes)
        if not any(received_bytes):
            raise InputError(f"{path}: expected at least one row with bytes > 0, found none")
        lengths_ms = np.array(intervals_ms)
        ends_s = np.cumsum(lengths_ms) / MS_PER_S
        return RateTrace(
            name=path.name,
            times_s=np.concatenate(([0.0], ends_s[:-1])),
            rates_bps=8.0 * MS_PER_S * np.array(received_bytes) / lengths_ms,
            period_s=float(ends_s[-1]),
            source=str(path),
        )


def _has_shape(line: str) -> bool:
    cells = line.split()
    return (
        len(cells) == COLUMNS
        and is_unsigned_integer(cells[0])
        and is_unsigned_integer(cells[1])
        and is_number(cells[2])
        and is_number(cells[3])
        and is_unsigned_integer(cells[5])
    )
