"""Disturbances of a measurement: the notes that the profiler writes of them, and a reader's look at them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from profiler.latency.profile import Profile

BUSY_CORES = 0.15
"""Cores kept busy by others from which on a machine is not quiet."""
DRIFT = 0.1
"""Change of dense latency within a run, relative, that no quiet machine shows."""

_BUSY = "other processes kept"
_THROTTLED = "the device throttles"
_DRIFTED = "dense latency went from"
_UNSETTLED = "dense latency had not settled"


def busy_note(cores: float, when: str) -> str:
    """Others had work to do."""
    return f"{_BUSY} {cores:.1f} cores busy {when}"


def throttle_note(reason: str, round_number: int) -> str:
    """The device held its clock back."""
    return f"{_THROTTLED} ({reason}) in round {round_number}"


def drift_note(early_s: float, late_s: float) -> str:
    """The same work took longer, or less long, at the end."""
    return (
        f"{_DRIFTED} {early_s:.4g} s in the first third of the run to {late_s:.4g} s in the last"
        f" ({late_s / early_s - 1:+.0%}): the clock throttled or another job came or went, measure again"
    )


def unsettled_note(calls: int) -> str:
    """Warm-up had no end."""
    return f"{_UNSETTLED} after {calls} calls of warm-up: the machine is not quiet"


def disturbing(notes: Iterable[object]) -> list[str]:
    """Those of a run's notes that speak of a disturbance."""
    words = (_BUSY, _THROTTLED, _DRIFTED, _UNSETTLED)
    return [note for note in map(str, notes) if note.startswith(words)]


def disturbances(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """The notes of a run on other load, throttling or drift; empty for a quiet run.

    The load may have been measured without a note about it. Under ``clock=thread`` load is no disturbance:
    waiting for a core is left out of the times.

    Args:
        meta: of the samples (their `notes`), or the provenance of a profile (its `findings`).
    """
    found = disturbing(meta.get("notes") or meta.get("findings") or ())
    if meta.get("clock") == "thread" or any(note.startswith(_BUSY) for note in found):
        return tuple(found)
    for key, when in (
        ("background_cores", "at the start"),
        ("background_cores_measuring", "while measuring"),
    ):
        cores = meta.get(key)
        if isinstance(cores, (int, float)) and cores > BUSY_CORES:
            found.append(busy_note(cores, when))
    return tuple(found)


def warn_if_disturbed(profile: Profile) -> None:
    """Say that a profile's times are not those of the device alone, if the profiler has found so.

    Warns:
        UserWarning: the run that it comes from was disturbed.
    """
    if found := disturbances(profile.provenance):
        warnings.warn(
            f"profile {profile.device}/{profile.model}: measured on a disturbed machine: {'; '.join(found)}",
            stacklevel=3,
        )
