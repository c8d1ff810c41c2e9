"""SPINN as the first FluxShard paper reads it: a network split once."""

from __future__ import annotations

from sim.systems.spinn.system import Spinn

__all__ = ["Spinn"]
