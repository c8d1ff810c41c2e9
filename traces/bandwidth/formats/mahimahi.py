"""mahimahi: one integer a line, the millisecond at which one 1500-byte packet may leave.

Repeats mean several packets in that millisecond; the file loops at its last timestamp; an opportunity that
finds nothing waiting is wasted. Stamps in Unix milliseconds count from the first one. Netravali et al.,
"Mahimahi: Accurate Record-and-Replay for HTTP", USENIX ATC 2015.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traces.bandwidth.formats.parsing import is_unsigned_integer, mostly, numbered_rows, read_text, shorten
from traces.bandwidth.formats.stamps import loop_start_ms
from traces.bandwidth.trace import OpportunityTrace
from traces.errors import InputError

PACKET_BYTES = 1500
MAX_DIGITS = 15  # far past any recording, far below the limit of 64-bit integers
_PLAIN = re.compile(rf"(?:[0-9]{{1,{MAX_DIGITS}}}\r?\n)+(?:[0-9]{{1,{MAX_DIGITS}}})?")


class Mahimahi:
    """Milliseconds of delivery opportunities, one a line (a `TraceFormat`)."""

    name = "mahimahi"
    expects = "one whole number a line, the millisecond at which one 1500-byte packet may leave"

    @dataclass(frozen=True, slots=True)
    class Options:
        """This format has no options."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def matches(self, sample_lines: list[str]) -> bool:
        """Whether the sampled lines are one whole number each."""
        return mostly(sample_lines, is_unsigned_integer)

    def read(self, path: Path, direction: str = "uplink", column: str | None = None) -> OpportunityTrace:
        """Read a mahimahi file.

        Raises:
            InputError: a line that is no whole number of milliseconds, times that go back or are in another
                unit, or a trace that lasts 0 ms.
        """
        text = read_text(path)
        if _PLAIN.fullmatch(text):
            # What every written file is: converted at once, ten times faster than line by line.
            times_ms = np.array(text.split(), dtype=f"S{MAX_DIGITS}").astype(np.int64)
        else:
            times_ms = _line_by_line(path, text)
        backwards = np.flatnonzero(np.diff(times_ms) < 0)
        if backwards.size:
            i = int(backwards[0]) + 1
            line = next(itertools.islice(numbered_rows(text), i, None))[0]
            raise InputError(
                f"{path}, line {line}: expected milliseconds that do not go back, found {times_ms[i]} "
                f"after {times_ms[i - 1]}"
            )
        first_line = next(numbered_rows(text))[0]
        times_ms -= loop_start_ms(path, first_line, int(times_ms[0]))
        if times_ms[-1] == 0:
            raise InputError(f"{path}: expected a last timestamp > 0 ms (the trace loops there), found 0")
        return OpportunityTrace(
            name=path.name,
            times_ms=times_ms,
            period_ms=int(times_ms[-1]),
            packet_bytes=PACKET_BYTES,
            source=str(path),
        )


def _line_by_line(path: Path, text: str) -> NDArray[np.int64]:
    """The timestamps of a file with comments, spaces or mistakes in it."""
    times_ms: list[int] = []
    for line, row in numbered_rows(text):
        if not is_unsigned_integer(row) or len(row) > MAX_DIGITS:
            raise InputError(f"{path}, line {line}: expected {Mahimahi.expects}, found {shorten(row)!r}")
        times_ms.append(int(row))
    if not times_ms:
        raise InputError(f"{path}: expected {Mahimahi.expects}, found no line")
    return np.array(times_ms, dtype=np.int64)


def dumps(trace: OpportunityTrace) -> str:
    """The trace as a mahimahi file.

    The format has no room for a silence after the last opportunity. Where there is one, the loop is entered
    that much earlier (`shifted`), so that it ends with an opportunity: the same loop with another start.
    """
    silence_ms = trace.period_ms - int(trace.times_ms[-1])
    times_ms = trace.times_ms + silence_ms
    return "\n".join(map(str, times_ms.tolist())) + "\n"
