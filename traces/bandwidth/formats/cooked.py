"""cooked: `seconds<tab or space>Mbit/s` a line, the form in which adaptive-streaming work shares its traces.

A row's rate holds from its time to the next row's. (Some simulators read it as the rate *up to* its time;
the two readings differ by one row.) Times may start anywhere, for example at 180 or at a Unix time, and are
rebased to 0. The last row holds for the median step, which the file does not say.
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


class Cooked:
    """Time and rate, two numbers a line (a `TraceFormat`)."""

    name = "cooked"
    expects = "two numbers a line, time in seconds and rate in Mbit/s"

    @dataclass(frozen=True, slots=True)
    class Options:
        """This format has no options."""

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
            timestamps_s.append(parse_number(row[0], "a time in seconds", path, line))
            rates_bps.append(1e6 * parse_rate(row[1], "a rate in Mbit/s", path, line))
        times_s, rates, period_s = segments_from_timestamps(
            path, lines, timestamps_s, rates_bps, lambda i: f"{tokens[i]} s"
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
