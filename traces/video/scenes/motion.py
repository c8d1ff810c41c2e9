"""Motion of the camera and the objects of a scene: tables of positions, drawn once from a seed.

Every table is built from the first frame on, so a longer scene begins exactly like a shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHAKE_HZ = (0.7, 1.1, 1.9, 2.7, 4.3, 6.1)  # hand tremor and steps; amplitudes fall with the frequency


@dataclass(frozen=True, slots=True)
class MotionParameters:
    """Magnitudes of movement, for a picture 640 px high; lengths grow with the picture.

    camera_px_per_s: speed of the camera along the street while it moves.
    pause_ratio: share of its time that the camera rests, in [0, 1).
    shake_px: standard deviation of the camera's shake, each axis.
    zoom_ratio: largest change of scale, 0.05 for ±5 %.
    object_px_per_s: typical speed of an object.
    exposure_ratio: largest drift of the brightness, 0.02 for ±2 %.
    """

    camera_px_per_s: float
    pause_ratio: float
    shake_px: float
    zoom_ratio: float
    object_px_per_s: float
    exposure_ratio: float


def stop_and_go(
    rng: np.random.Generator,
    times_s: NDArray[np.float64],
    speed_px_per_s: float,
    pause_ratio: float,
    leg_s: tuple[float, float],
) -> NDArray[np.float64]:
    """Position in px at each of the evenly spaced `times_s` of something that walks, halts and walks on.

    The speed is piecewise linear between knots; knots lie a uniform leg_s apart and come to rest with
    probability `pause_ratio`. The direction of each leg keeps the first one's four times out of five.
    """
    rng = np.random.default_rng(
        rng.integers(2**63)
    )  # a longer walk draws more, and must not shift other draws
    end_s = float(times_s[-1]) if times_s.size else 0.0
    knots_s, speeds = [0.0], [0.0]
    forward = 1.0 if rng.random() < 0.5 else -1.0
    while knots_s[-1] <= end_s:
        length, rest, turn, pace = rng.random(4)
        direction = -forward if turn < 0.2 else forward
        speed = 0.0 if rest < pause_ratio else direction * speed_px_per_s * (0.6 + 0.8 * pace)
        duration = leg_s[0] + (leg_s[1] - leg_s[0]) * length
        ramp = 0.25 * duration
        knots_s += [knots_s[-1] + ramp, knots_s[-1] + duration]
        speeds += [speed, speed]
    speed_at = np.interp(times_s, knots_s, speeds)
    step_s = float(times_s[1] - times_s[0]) if times_s.size > 1 else 0.0
    return np.asarray(np.cumsum(speed_at) * step_s, dtype=np.float64)


def shake(rng: np.random.Generator, times_s: NDArray[np.float64], deviation_px: float) -> NDArray[np.float64]:
    """Shake in px of the given standard deviation: sinusoids at fixed frequencies with random phases."""
    amplitudes = np.array([1.0 / hertz for hertz in SHAKE_HZ])
    amplitudes *= deviation_px * np.sqrt(2.0 / np.sum(amplitudes**2))
    phases = rng.uniform(0.0, 2.0 * np.pi, len(SHAKE_HZ))
    moved = np.zeros_like(times_s)
    for hertz, amplitude, phase in zip(SHAKE_HZ, amplitudes, phases, strict=True):
        moved += amplitude * np.sin(2.0 * np.pi * hertz * times_s + phase)
    return moved


def drift(rng: np.random.Generator, times_s: NDArray[np.float64], amplitude: float) -> NDArray[np.float64]:
    """A slow wander within ±amplitude: two sinusoids with periods between 3 and 12 seconds."""
    periods_s, phases = rng.uniform(3.0, 12.0, 2), rng.uniform(0.0, 2.0 * np.pi, 2)
    return np.asarray(
        amplitude
        * 0.5
        * (
            np.sin(2 * np.pi * times_s / periods_s[0] + phases[0])
            + np.sin(2 * np.pi * times_s / periods_s[1] + phases[1])
        ),
        dtype=np.float64,
    )
