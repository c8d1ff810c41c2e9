"""The 5G walking logs of the SIGCOMM'21 measurement: comma-separated, no header, 1 Hz.

Columns: time [s], state, LTE RSRP, NR RSRP, NR SINR, downlink [Mbit/s], uplink [Mbit/s], power readings. A
row's rate holds to the next row, also across the gaps of up to 17 s that the recordings have; the last row
holds for the median step. Narayanan et al., "A Variegated Look at 5G in the Wild", ACM SIGCOMM 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from traces.bandwidth.formats.parsing import (
    is_number,
    mostly,
    numbered_rows,
    parse_number,
    parse_rate,
    read_text,
    segments_from_timestamps,
    shorten,
)
from traces.bandwidth.trace import RateTrace
from traces.errors import InputError

RATE_COLUMN = {"downlink": 5, "uplink": 6}
LEAST_COLUMNS = 7


class Sigcomm21:
    """The log of a 5G walk (a `TraceFormat`)."""

    name = "sigcomm21"
    expects = (
        "comma-separated rows of time [s], state, three signal readings, downlink [Mbit/s], "
        "uplink [Mbit/s], ..."
    )

    @dataclass(frozen=True, slots=True)
    class Options:
        """This format has no options."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def matches(self, sample_lines: list[str]) -> bool:
        """Whether the sampled lines are a time, a word and numbers."""
        return mostly(sample_lines, _has_shape)

    def read(self, path: Path, direction: str = "uplink", column: str | None = None) -> RateTrace:
        """Read one direction of a log.

        Raises:
            InputError: a row that does not fit the columns, a negative rate, times that go back, only zeros.
        """
        lines: list[int] = []
        timestamps_s: list[float] = []
        rates_bps: list[float] = []
        for line, text in numbered_rows(read_text(path)):
            cells = text.split(",")
            if len(cells) < LEAST_COLUMNS:
                raise InputError(f"{path}, line {line}: expected {self.expects}, found {shorten(text)!r}")
            lines.append(line)
            timestamps_s.append(parse_number(cells[0], "a time in seconds", path, line))
            rates_bps.append(
                1e6 * parse_rate(cells[RATE_COLUMN[direction]], f"{direction} in Mbit/s", path, line)
            )
        times_s, rates, period_s = segments_from_timestamps(
            path, lines, timestamps_s, rates_bps, lambda i: f"{timestamps_s[i]:g} s"
        )
        return RateTrace(
            name=f"{path.name} {direction}",
            times_s=times_s,
            rates_bps=rates,
            period_s=period_s,
            source=str(path),
        )


def _has_shape(line: str) -> bool:
    cells = line.split(",")
    return (
        len(cells) >= LEAST_COLUMNS
        and is_number(cells[0])
        and not is_number(cells[1])
        and is_number(cells[5])
        and is_number(cells[6])
    )
