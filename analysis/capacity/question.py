"""What is asked: which key is driven how far, under which requirement, for which systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from traces.errors import InputError


class Driven(NamedTuple):
    """A key that is driven towards harder values.

    Args:
        key: of the simulator's configuration.
        least: whether less of it is harder, as of bandwidth.
        easy, hard: from where to where, unless it is said.
        whole: whether it takes whole numbers.
        title, unit: for people.
    """

    key: str
    least: bool
    easy: float
    hard: float
    whole: bool
    title: str
    unit: str


DRIVEN = {
    "cameras": Driven("cameras", False, 1, 64, True, "most cameras", ""),
    "bandwidth": Driven("trace.mean_mbps", True, 200, 0.5, False, "least mean rate of the uplink", "Mbit/s"),
    "edge": Driven("faults.edge_slowdown", False, 1, 30, False, "slowest edge, times its profile", ""),
}
STEP = 1.05  # from a value to the next, of those that are not whole
ANSWERED = 0.9


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Args:
        find: one of :data:`DRIVEN`.
        systems: each is searched by itself.
        p99_s: that the 99 % quantile of a run's latencies may not exceed.
        accuracy: that a run's mean accuracy must reach.
        answered: share of the captured frames that must have a result: a system that drops frames is quick.
        replicates: of each setting.
        share: of the replicates, on which it must hold.
        easy, hard: where the search begins and ends.
        out: a folder for all runs, the table and the picture.
        overrides: for every run, as ``python -m sim`` takes them.
    """

    find: str
    systems: tuple[str, ...]
    p99_s: float
    accuracy: float
    answered: float
    replicates: int
    share: float
    easy: float
    hard: float
    out: Path
    overrides: tuple[str, ...]

    @property
    def driven(self) -> Driven:
        """The key that is driven."""
        return DRIVEN[self.find]

    def values(self) -> list[float]:
        """The settings, the easiest first: whole numbers, or steps of five percent."""
        first, last = self.easy, self.hard
        if self.driven.whole:
            return [float(value) for value in range(int(first), int(last) + 1)]
        found = [first]
        factor = 1.0 / STEP if self.driven.least else STEP
        while (found[-1] * factor >= last) if self.driven.least else (found[-1] * factor <= last):
            found.append(found[-1] * factor)
        return [float(f"{value:.4g}") for value in found]

    def requirement(self) -> str:
        """What is required, in words."""
        answered = f", {100 * self.answered:g} % of the frames answered" if self.answered else ""
        return f"p99 ≤ {1e3 * self.p99_s:g} ms, accuracy ≥ {self.accuracy:g}{answered}"


_OWN = ("find", "system", "p99_s", "min_accuracy", "min_answered", "replicates", "share", "from", "to", "out")


def parse(arguments: Sequence[str]) -> Question:
    """A question from a command's arguments; what is not its own goes to ``python -m sim``.

    Raises:
        InputError: a value is missing, or is none that can be.
    """
    own: dict[str, str] = {}
    overrides: list[str] = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name in _OWN:
            if name in own:
                raise InputError(f"{name}: expected once, found {name}={own[name]} and {argument}")
            own[name] = value
        else:
            overrides.append(argument)
    for name in ("find", "system", "p99_s", "min_accuracy", "out"):
        if not own.get(name):
            raise InputError(f"capacity: expected {name}=…, found none")
    if own["find"] not in DRIVEN:
        raise InputError(f"find: expected one of {', '.join(DRIVEN)}, found {own['find']!r}")
    driven = DRIVEN[own["find"]]
    taken = next((part for part in overrides if part.lstrip("+").startswith(f"{driven.key}=")), None)
    if taken is not None:
        raise InputError(f"{taken}: expected {driven.key} to be what is searched for, found it given")
    easy = _number("from", own.get("from", str(driven.easy)), 0.0, None, driven.whole)
    hard = _number("to", own.get("to", str(driven.hard)), 0.0, None, driven.whole)
    if (easy <= hard) == driven.least and easy != hard:
        order = "from= above to=" if driven.least else "from= below to="
        raise InputError(f"from, to: expected {order}, the easiest first, found {easy:g} and {hard:g}")
    return Question(
        find=own["find"],
        systems=tuple(part for part in own["system"].split(",") if part),
        p99_s=_number("p99_s", own["p99_s"], 0.0, None),
        accuracy=_number("min_accuracy", own["min_accuracy"], -1.0, 1.0),
        answered=_number("min_answered", own.get("min_answered", str(ANSWERED)), -1.0, 1.0),
        replicates=int(_number("replicates", own.get("replicates", "8"), 1.0, None, True)),
        share=_number("share", own.get("share", "1"), 0.0, 1.0),
        easy=easy,
        hard=hard,
        out=Path(own["out"]),
        overrides=tuple(overrides),
    )


def _number(name: str, text: str, above: float, most: float | None, whole: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not value > above or (most is not None and value > most) or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        limits = f" above {above:g}" if above >= 0.0 else " of at least 0"
        limits += f" and at most {most:g}" if most is not None else ""
        raise InputError(f"{name}: expected {kind}{limits}, found {text!r}")
    return value
