"""The energy of an edge device: computing, idle, radio. An unknown part is None, and so is the sum then."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from profiler.latency import Power


@dataclass(frozen=True, slots=True)
class EdgeEnergy:
    """What a device, or several together, used; None is unknown.

    Args:
        compute_j: busy power times the time that the processor was busy, background work included.
        idle_j: idle power times the rest.
        radio_j: of the radio.
        with_radio: whether there is one; where there is not, it is no part of the whole.
    """

    compute_j: float | None
    idle_j: float | None
    radio_j: float | None
    with_radio: bool

    @property
    def total_j(self) -> float | None:
        """All parts together; None where one is unknown."""
        parts = (
            (self.compute_j, self.idle_j, self.radio_j) if self.with_radio else (self.compute_j, self.idle_j)
        )
        return _sum(parts)

    def per_frame_j(self, frames: int) -> float | None:
        """The whole over completed frames; None where it is unknown or there is none."""
        total_j = self.total_j
        return None if total_j is None or frames == 0 else total_j / frames


def edge_energy(
    power: Power | None, busy_s: float, simulated_s: float, radio_j: float | None, with_radio: bool
) -> EdgeEnergy:
    """The energy of one device.

    Args:
        power: of its profile; None, and so may either figure be, where the profile does not say.
        busy_s: how long its processor was busy.
        simulated_s: the run's length.
        radio_j, with_radio: as in :class:`EdgeEnergy`.
    """
    busy_w = None if power is None else power.busy_w
    idle_w = None if power is None else power.idle_w
    idle_s = max(0.0, simulated_s - busy_s)
    return EdgeEnergy(
        None if busy_w is None else busy_w * busy_s,
        None if idle_w is None else idle_w * idle_s,
        radio_j,
        with_radio,
    )


def together(energies: Iterable[EdgeEnergy]) -> EdgeEnergy:
    """The energy of several devices together."""
    several = list(energies)
    return EdgeEnergy(
        _sum(energy.compute_j for energy in several),
        _sum(energy.idle_j for energy in several),
        _sum(energy.radio_j for energy in several),
        any(energy.with_radio for energy in several),
    )


def _sum(parts: Iterable[float | None]) -> float | None:
    known: list[float] = []
    for part in parts:
        if part is None:
            return None
        known.append(part)
    return math.fsum(known)
