"""Regions of interest: what a small detector on the edge finds is sent, and nothing else."""

from __future__ import annotations

from sim.systems.roi.system import Roi

__all__ = ["Roi"]
