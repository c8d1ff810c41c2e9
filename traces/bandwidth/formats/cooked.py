"""cooked: `seconds<tab or space>Mbit/s` a line, the form in which adaptive-streaming work shares its traces.

A row's rate holds from its time to the next row's. (Some simulators read it as the rate *up to* its time;
the two readings differ by one row.) Times may start anywhere, for example at 180 or at a Unix time, and are
rebased to 0. The last row holds for the median step, which the file does not say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from traces.bandwidth.formats.columns import TIME_UNITS, ColumnOptions, rate_factor
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


class Cooked:
    """Time and rate, two numbers a line (a `TraceFormat`)."""

    name = "cooked"
    expects = "two numbers a line, time in seconds and rate in Mbit/s"

    @dataclass(frozen=True, slots=True)
    class Options:
        """Units other than seconds and Mbit/s: see `traces.bandwidth.formats.columns`."""

        time_unit: str | None = None
        rate_unit: str | None = None

        def __post_init__(self) -> None:
            ColumnOptions(None, self.time_unit, self.rate_unit)  # says which units there are

    def __init__(self, options: Options) -> None:
        self.options = options

    def matches(self, sample_lines: list[str]) -> bool:
        """Whether the sampled lines are two numbers each, separated by white space."""
        return mostly(sample_lines, _has_shape)

    def read(self, path: Path, direction: str = "uplink", column: str | None = None) -> RateTrace:
        """Read a cooked file.

        Raises:
            InputError: a line that is not two finite numbers, a negative rate, times that go back, or only
                zeros.
        """
        time_unit, rate_unit = self.options.time_unit, self.options.rate_unit
        second = 1.0 if time_unit is None else TIME_UNITS[time_unit]
        factor = (None if rate_unit is None else rate_factor(rate_unit)) or 1e6
        time_name = f"a time in {time_unit or 'seconds'}"
        rate_name = f"a rate in {rate_unit or 'Mbit/s'}"
        lines: list[int] = []
        timestamps_s: list[float] = []
        rates_bps: list[float] = []
        tokens: list[str] = []
        for line, text in numbered_rows(read_text(path)):
            row = text.split()
            if len(row) != 2:
                raise InputError(f"{path}, line {line}: expected {self.expects}, found {shorten(text)!r}")
            lines.append(line)
            tokens.append(row[0])
            timestamps_s.append(second * parse_number(row[0], time_name, path, line))
            rates_bps.append(factor * parse_rate(row[1], rate_name, path, line))
        times_s, rates, period_s = segments_from_timestamps(
            path, lines, timestamps_s, rates_bps, lambda i: f"{tokens[i]} {time_unit or 's'}"
        )
        return RateTrace(
            name=path.name, times_s=times_s, rates_bps=rates, period_s=period_s, source=str(path)
        )


def _has_shape(line: str) -> bool:
    cells = line.split()
    return len(cells) == 2 and all(map(is_number, cells))


def dumps(trace: RateTrace) -> str:
    """The trace as a cooked file; the length of its last segment is lost (a reader assumes the median)."""
    rows = zip(trace.times_s.tolist(), (trace.rates_bps / 1e6).tolist(), strict=True)
    return "".join(f"{time_s!r}\t{rate_mbps!r}\n" for time_s, rate_mbps in rows)
