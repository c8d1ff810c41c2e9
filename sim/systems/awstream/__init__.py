"""Offline profile of degradations, and a controller that adapts to the send queue."""

from __future__ import annotations

from sim.systems.awstream.system import AwStream

__all__ = ["AwStream"]
