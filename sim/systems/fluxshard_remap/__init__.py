"""FluxShard, remapping: a cache that flows with motion, and critical blocks by salience."""

from __future__ import annotations

from sim.systems.fluxshard_remap.system import FluxShardRemap

__all__ = ["FluxShardRemap"]
