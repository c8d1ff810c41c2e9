"""What can be given up, what each way of it costs and saves, and which ways are worth having.

A configuration is a triple (size, frame rate, quantiser). A profile knows of each what it sends and what
results are worth; its Pareto set are those that no other one beats in one without losing in the other.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from traces.errors import InputError

LEAST_SIDE_PX = 16  # a macroblock


class Degradation(NamedTuple):
    """One configuration.

    Args:
        scale: of either side of the frame, in (0, 1].
        skipped: frames left out after each one that is sent.
        qp: H.264's quantiser.
    """

    scale: float
    skipped: int
    qp: int

    def size_px(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Height and width of what is sent of such a frame: even, as 4:2:0 needs, a macroblock at least."""
        sides = (max(2 * round(side * self.scale / 2), LEAST_SIDE_PX) for side in (height_px, width_px))
        height, width = sides
        return height, width


class Measured(NamedTuple):
    """What a configuration came to on a clip.

    Args:
        rate_bps: bits a second of video, keyframes included.
        accuracy: mean agreement of what is shown with dense inference on the true frame, in [0, 1].
    """

    degradation: Degradation
    rate_bps: float
    accuracy: float


class Conditions(NamedTuple):
    """What a profile was measured with; elsewhere the same configurations cost and save something else."""

    network: str
    height_px: int
    width_px: int
    fps: float
    clip: str
    frames: int


COLUMNS = (*Conditions._fields, *Degradation._fields, "rate_bps", "accuracy")


def pareto_set(measured: Sequence[Measured]) -> tuple[Measured, ...]:
    """Those that no other beats: less or equal rate and more or equal accuracy, one of them strictly.

    Sorted by rate; both rate and accuracy rise strictly. Of equals the first is kept.
    """
    kept: list[Measured] = []
    for each in sorted(measured, key=lambda one: (one.rate_bps, -one.accuracy)):
        if not kept or each.accuracy > kept[-1].accuracy:
            kept.append(each)
    return tuple(kept)


@dataclass(frozen=True, slots=True)
class DegradationProfile:
    """All configurations of a clip, measured.

    Args:
        conditions: what they were measured with.
        measured: in the order of measuring.
    """

    conditions: Conditions
    measured: tuple[Measured, ...]

    @property
    def levels(self) -> tuple[Measured, ...]:
        """The Pareto set, the most degraded one first."""
        return pareto_set(self.measured)

    def misfits(self, network: str | None, height_px: int, width_px: int, fps: float | None) -> list[str]:
        """In what a run differs from what was measured; None: not known of the run."""
        made = self.conditions
        found = []
        if network is not None and network != made.network:
            found.append(f"network {made.network!r}, found {network!r}")
        if (height_px, width_px) != (made.height_px, made.width_px):
            found.append(f"frames of {made.height_px}x{made.width_px} px, found {height_px}x{width_px}")
        if fps is not None and not math.isclose(fps, made.fps, rel_tol=1e-3):
            found.append(f"{made.fps:g} frames/s, found {fps:g}")
        return found

    def text(self) -> str:
        """As CSV, one row a configuration; the conditions stand in each."""
        out = StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in self.measured:
            made, given = self.conditions, one.degradation
            writer.writerow(
                [
                    *(*made[:3], f"{made.fps:g}", *made[4:], f"{given.scale:.6g}", *given[1:]),
                    *(f"{one.rate_bps:.1f}", f"{one.accuracy:.5f}"),
                ]
            )
        return out.getvalue()


def read_profile(path: Path) -> DegradationProfile:
    """The profile of a file.

    Raises:
        InputError: there is none, or it is no profile; names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise InputError(f"system.profile: expected a CSV file at {path}, found: {found}") from None
    rows = csv.reader(StringIO(text))
    if (head := next(rows, [])) != list(COLUMNS):
        raise InputError(f"{path}:1: expected the columns {','.join(COLUMNS)}, found {','.join(head)!r}")
    measured: list[Measured] = []
    conditions: Conditions | None = None
    for number, row in enumerate(rows, 2):
        try:
            made, one = _read_row(row)
        except ValueError as error:
            raise InputError(f"{path}:{number}: expected a measured configuration, found {error}") from None
        if conditions is not None and made != conditions:
            above, found = (", ".join(map(str, each)) for each in (conditions, made))
            raise InputError(f"{path}:{number}: expected {above}, as above, found {found}")
        conditions = made
        measured.append(one)
    if conditions is None:
        raise InputError(f"{path}: expected a measured configuration at least, found none")
    return DegradationProfile(conditions, tuple(measured))


def _read_row(row: Sequence[str]) -> tuple[Conditions, Measured]:
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} values instead of {len(COLUMNS)}")
    cells = dict(zip(COLUMNS, row, strict=True))

    def number(name: str, low: float, high: float) -> float:
        value = float(cells[name])
        if not low <= value <= high:
            raise ValueError(f"{name} {value:g} outside {low:g} to {high:g}")
        return value

    def whole(name: str, low: int, high: int) -> int:
        value = number(name, low, high)
        if value != int(value):
            raise ValueError(f"{name} {value:g}, which is not whole")
        return int(value)

    made = Conditions(
        cells["network"],
        whole("height_px", LEAST_SIDE_PX, 65535),
        whole("width_px", LEAST_SIDE_PX, 65535),
        number("fps", 1e-3, 1e4),
        cells["clip"],
        whole("frames", 1, 10**9),
    )
    given = Degradation(number("scale", 1e-3, 1.0), whole("skipped", 0, 10**6), whole("qp", 1, 51))
    return made, Measured(given, number("rate_bps", 1e-3, 1e12), number("accuracy", 0.0, 1.0))
