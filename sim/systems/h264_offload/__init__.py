"""One H.264 stream whose bytes follow the estimated uplink."""

from __future__ import annotations

from sim.systems.h264_offload.system import H264Offload

__all__ = ["H264Offload"]
