"""MotionDeltaCNN: deltas against a reference that a homography aligns the frame with."""

from __future__ import annotations

from sim.systems.motion_deltacnn.system import MotionDeltaCnn

__all__ = ["MotionDeltaCnn"]
