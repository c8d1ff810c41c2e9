"""COACH: reuse of results by similarity and quantised frames, or a split network."""

from __future__ import annotations

from sim.systems.coach.system import Coach

__all__ = ["Coach"]
