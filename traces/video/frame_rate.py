"""The rate of a clip from the times of its frames; what the container states is believed where they agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

JITTER = 0.25  # of an interval: beyond that from the mean, it is said that the rate varies
DRIFT = 0.5  # of an interval: likewise, how far a frame may lie from where an even rate puts it


@dataclass(frozen=True, slots=True)
class FrameRate:
    """Frames a second on average, and the shortest and longest interval in seconds where they vary."""

    fps: float
    varies_s: tuple[float, float] | None = None


def frame_rate(steps: Sequence[int], tick_s: Fraction, stated: Iterable[Fraction | None]) -> FrameRate | None:
    """The mean rate of frames that are `steps` ticks apart, in the order in which they are seen.

    An even rate whose times were rounded to ticks is taken from `stated`, the container's own exact
    figures, where one of them agrees with the times.

    Returns:
        None where no step is known.
    """
    if not steps:
        return None
    mean = Fraction(sum(steps), len(steps))  # ticks
    fps = 1 / (mean * tick_s)
    if _varies(steps, float(mean)):
        return FrameRate(float(fps), (float(min(steps) * tick_s), float(max(steps) * tick_s)))
    rounding = Fraction(2, sum(steps))  # the first and the last time are off by up to a tick each
    for rate in stated:
        if rate and abs(rate / fps - 1) <= rounding:
            return FrameRate(float(rate))
    return FrameRate(float(fps))


def _varies(steps: Sequence[int], mean: float) -> bool:
    rounding = 1.0 if mean >= 2 else 0.0  # a tick that is as long as a frame rounds nothing
    jitter, drift = max(rounding, JITTER * mean), max(rounding, DRIFT * mean)
    place = 0.0
    for step in steps:
        place += step - mean
        if abs(step - mean) > jitter or abs(place) > drift:
            return True
    return False
