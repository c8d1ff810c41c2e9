"""mahimahi: one integer a line, the millisecond at which one 1500-byte packet may leave.

Repeats mean several packets in that millisecond; the file loops at its last timestamp; an opportunity that
finds nothing waiting is wasted. Netravali et al., "Mahimahi: Accurate Record-and-Replay for HTTP", USENIX
ATC 2015.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from traces.bandwidth import OpportunityTrace
from traces.errors import InputError
from traces.formats.text import is_whole, mostly, numbered_rows, read_text, shorten

NAME = "mahimahi"
EXPECTS = "one whole number a line, the millisecond at which one 1500-byte packet may leave"
PACKET_BYTES = 1500
MAX_DIGITS = 15  # far past any recording, far below the limit of 64-bit integers


def matches(sample: list[str]) -> bool:
    """Whether the sampled lines are one whole number each."""
    return mostly(sample, is_whole)


def load(path: Path) -> OpportunityTrace:
    """Read a mahimahi file.

    Raises:
        InputError: a line that is no whole number of milliseconds, times that go back, or a trace that
            lasts 0 ms.
    """
    rows = list(numbered_rows(read_text(path)))
    if not rows:
        raise InputError(f"{path}: expected {EXPECTS}, found no line")
    for line, text in rows:
        if not is_whole(text) or len(text) > MAX_DIGITS:
            raise InputError(f"{path}, line {line}: expected {EXPECTS}, found {shorten(text)!r}")
    times_ms = np.array([int(text) for _, text in rows], dtype=np.int64)
    backwards = np.flatnonzero(np.diff(times_ms) < 0)
    if backwards.size:
        i = int(backwards[0]) + 1
        raise InputError(
            f"{path}, line {rows[i][0]}: expected milliseconds that do not go back, found {times_ms[i]} "
            f"after {times_ms[i - 1]}"
        )
    if times_ms[-1] == 0:
        raise InputError(f"{path}: expected a last timestamp > 0 ms (the trace loops there), found 0")
    return OpportunityTrace(
        name=path.name,
        times_ms=times_ms,
        period_ms=int(times_ms[-1]),
        packet_bytes=PACKET_BYTES,
        source=str(path),
    )


def dump(trace: OpportunityTrace) -> str:
    """The trace as a mahimahi file.

    The format has no room for a silence after the last opportunity. Where there is one, the loop is entered
    that much earlier (`shifted`), so that it ends with an opportunity: the same loop with another start.
    """
    silence_ms = trace.period_ms - int(trace.times_ms[-1])
    times_ms = trace.times_ms + silence_ms
    return "\n".join(map(str, times_ms.tolist())) + "\n"
