"""FluxShard: motion-guided reuse on both sides, by effective accuracy."""

from __future__ import annotations

from sim.systems.fluxshard_ea.system import FluxShard

__all__ = ["FluxShard"]
