"""Changed pixels against an accumulated reference: what differs, where it is computed, what is kept."""

from __future__ import annotations

from sim.components.deltas.features import DeltaFeatures
from sim.components.deltas.options import PLACEMENTS, check_delta_options, check_time
from sim.components.deltas.paths import DeltaPaths
from sim.components.deltas.reference import Delta, DeltaReceiver, DeltaReference, DeltaSource

__all__ = [
    "PLACEMENTS",
    "Delta",
    "DeltaFeatures",
    "DeltaPaths",
    "DeltaReceiver",
    "DeltaReference",
    "DeltaSource",
    "check_delta_options",
    "check_time",
]
