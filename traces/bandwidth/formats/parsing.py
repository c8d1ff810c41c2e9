"""Parsing text files so that every error message names the file and the line."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traces.bandwidth.formats.compression import read_bytes
from traces.bandwidth.formats.parquet_file import parquet_columns
from traces.errors import InputError

SAMPLE_LINES = 40
BINARY_PROBE_BYTES = 65536
FAR_FUTURE_S = 1e11  # the year 5138: such a time is Unix milliseconds
GAP_RATIO = 2.0


def read_text(path: Path) -> str:
    """The file's text without a byte-order mark, its lines ended by \\n whoever wrote it.

    Raises:
        InputError: no such file, a folder, an empty file, or bytes that are not text.
    """
    data = read_bytes(path)
    if _is_binary(data):
        raise InputError(f"{path}: expected a text file, found binary data")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: expected UTF-8 text, found binary data") from None


@dataclass(frozen=True, slots=True)
class FileSample:
    """The start of a file, for telling its format.

    lines: its first 40 lines but blanks and `#` comments, stripped. Of a file with binary data there is one
        line: the printable characters that it starts with, which for many binary formats are their name. Of
        a parquet file a second one follows: the names of its columns, between tabs.
    numbers: their numbers in the file, from 1.
    binary: whether the file holds binary data.
    """

    lines: list[str]
    numbers: list[int]
    binary: bool

    @property
    def first_line(self) -> int:
        """Number of the first line that is neither blank nor a comment; 1 where there is none."""
        return self.numbers[0] if self.numbers else 1


def sample_file(path: Path) -> FileSample:
    """The start of a file of any format.

    Raises:
        InputError: no such file, a folder, or an empty file.
    """
    data = read_bytes(path)
    if _is_binary(data):
        printable = re.match(rb"[\x20-\x7e]*", data)
        magic = printable.group().decode("ascii") if printable else ""
        lines = [magic, *parquet_columns(data)]
        return FileSample(lines, [1] * len(lines), binary=True)
    text = data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    rows = list(itertools.islice(numbered_rows(text), SAMPLE_LINES))
    return FileSample([row for _, row in rows], [number for number, _ in rows], binary=False)


def numbered_rows(text: str, *, strip: bool = True) -> Iterator[tuple[int, str]]:
    """(line number from 1, stripped line) of every line but blanks and `#` comments.

    strip: False keeps white space at both ends: in a table between tabs it stands for empty cells.
    """
    for number, line in enumerate(io.StringIO(text), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped if strip else line.rstrip("\n")


def mostly(sample: list[str], has_shape: Callable[[str], bool]) -> bool:
    """Whether at least three quarters of the lines have a shape: a few bad ones get their own message."""
    return bool(sample) and sum(map(has_shape, sample)) * 4 >= len(sample) * 3


def is_number(token: str) -> bool:
    """Whether a token reads as a number (infinite and NaN ones too: the loader refuses them by line)."""
    try:
        float(token)
    except ValueError:
        return False
    return True


def is_unsigned_integer(token: str) -> bool:
    """Whether a token is a whole number >= 0 without a point, as mahimahi and the log formats write them."""
    return token.isascii() and token.isdigit()


def parse_number(token: str, what: str, path: Path, line: int) -> float:
    """The token as a finite number.

    Raises:
        InputError: it is none; `what` names the value and its unit.
    """
    try:
        value = float(token)
    except ValueError:
        hint = " (decimals take a point, not a comma)" if is_number(token.replace(",", ".", 1)) else ""
        raise InputError(f"{path}, line {line}: expected {what}, found {shorten(token)!r}{hint}") from None
    if not math.isfinite(value):
        raise InputError(f"{path}, line {line}: expected {what}, finite, found {shorten(token)!r}")
    return value


def parse_rate(token: str, what: str, path: Path, line: int) -> float:
    """The token as a rate >= 0.

    Raises:
        InputError: it is no finite number or negative.
    """
    value = parse_number(token, what, path, line)
    if value < 0:
        raise InputError(f"{path}, line {line}: expected {what} >= 0, found {token}")
    return value


def shorten(text: str, limit: int = 40) -> str:
    """The text, cut for a one-line message."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def segments_from_timestamps(
    path: Path,
    lines: list[int],
    timestamps_s: list[float],
    rates_bps: list[float],
    time_text: Callable[[int], str],
    word: str = "line",
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """(times_s from 0, rates_bps, period_s) of rows that say "from this time on, this rate".

    A row's rate holds until the next row's time, however long that gap is. Times are rebased to 0. The file
    does not say how long the last row holds: it gets the median step (see `_usual_step_s`). Of rows with the
    same time the last counts, since the others hold for no time at all; `merge_repeats` takes their mean.

    lines: number of each row; word: what they number; time_text: the row's time as the file wrote it. All
        three are for messages.

    Raises:
        InputError: no row, a time that goes back, one row only, times that are no seconds, or every rate 0.
    """
    if not timestamps_s:
        raise InputError(f"{path}: expected rows of time and rate, found none")
    if len(timestamps_s) == 1:
        raise InputError(
            f"{path}, {word} {lines[0]}: expected at least two rows, found one; how long it holds is unknown"
        )
    times_s, rates = np.array(timestamps_s), np.array(rates_bps)
    steps_s = np.diff(times_s)
    if steps_s.min() < 0:
        i = int(np.argmax(steps_s < 0)) + 1
        raise InputError(
            f"{path}, {word} {lines[i]}: expected times that do not go back, found {time_text(i)} "
            f"after {time_text(i - 1)}"
        )
    if steps_s.max() == 0:
        raise InputError(f"{path}: expected times that advance, found {time_text(0)} in every row")
    if times_s[0] > FAR_FUTURE_S:
        raise InputError(
            f"{path}, {word} {lines[0]}: expected times in seconds, found {time_text(0)}, past the year "
            "5000; is the unit another one (time_unit=ms)?"
        )
    if rates.max() <= 0:
        raise InputError(f"{path}: expected at least one rate > 0, found only 0")
    step_s = _usual_step_s(steps_s[steps_s > 0])
    kept = np.append(steps_s > 0, True)
    times_s = times_s[kept] - times_s[0]
    return times_s, rates[kept], float(times_s[-1]) + step_s


def _usual_step_s(steps_s: NDArray[np.float64]) -> float:
    """The median step, which the last row is taken to hold for.

    Of an even number the median lies between two steps. Where these are far apart, one of them is a gap of
    the recording and the middle would be a length that the file never shows: the shorter one then counts.
    """
    ordered = np.sort(steps_s)
    shorter, longer = ordered[(ordered.size - 1) // 2], ordered[ordered.size // 2]
    return float(shorter) if longer > GAP_RATIO * shorter else float(np.median(steps_s))


def merge_repeats(
    lines: list[int], timestamps_s: list[float], rates_bps: list[float]
) -> tuple[list[int], list[float], list[float]]:
    """Rows that follow each other with one time, as one row with their mean rate and the last one's number.

    A recorder that writes a row a second, but reads a clock of whole seconds, repeats one now and then and
    leaves another out. Rows that all have one time come back as they are.
    """
    if len(set(timestamps_s)) < 2:
        return lines, timestamps_s, rates_bps
    merged = [list(group) for _, group in itertools.groupby(range(len(lines)), key=timestamps_s.__getitem__)]
    return (
        [lines[group[-1]] for group in merged],
        [timestamps_s[group[-1]] for group in merged],
        [sum(rates_bps[i] for i in group) / len(group) for group in merged],
    )


def _is_binary(data: bytes) -> bool:
    return b"\0" in data[:BINARY_PROBE_BYTES]
