"""The feature cache: what one frame's maps leave for the next.

A cache is never changed by using it: `sparse` reads it and returns another. Under `fixed` the new one holds
only what was computed; the rest is still in the cache it came from, to be moved along the vectors when it is
first needed (`settle`): after the frame's result is out, or never, where every frame starts from the same
reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kernels.executor.plan import Place, Plan


class Arena:
    """One set of buffers for the maps of a plan, with a view for each node."""

    __slots__ = ("buffers", "views")

    def __init__(self, plan: Plan, slots: set[int]) -> None:
        self.buffers = {slot: torch.empty(plan.slots[slot], device=plan.device) for slot in sorted(slots)}
        self.views: dict[int, torch.Tensor] = {}
        for node, place in enumerate(plan.places):
            if place is not None and place.slot in slots:
                self.views[node] = self.region(place)

    def region(self, place: Place) -> torch.Tensor:
        """The (H, W, C) map at a place."""
        return self.buffers[place.slot][:, :, place.start : place.start + place.channels]


class Pool:
    """Arenas for reuse: a cache that is dropped gives its buffers to the next frame's."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.shared = Arena(plan, plan.shared)
        self._free: list[Arena] = []

    def take(self) -> Arena:
        return self._free.pop() if self._free else Arena(self.plan, set(self.plan.kept))

    def give(self, arena: Arena) -> None:
        self._free.append(arena)


@dataclass(slots=True)
class Level:
    """One resolution in one frame.

    Attributes:
        tiles, tile: the active tiles.
        positions: how many positions they cover.
        fresh: (H, W) uint8, 1 at these positions.
        displacement: (H, W, 2) int16 or float32, into the reference.
    """

    tiles: torch.Tensor
    tile: tuple[int, int]
    positions: int
    fresh: torch.Tensor
    displacement: torch.Tensor


@dataclass(slots=True)
class Pending:
    """What has not been moved yet: where it is, and how it moves."""

    source: Cache
    levels: dict[int, Level]


class Cache:
    """The feature maps of one frame. Opaque; it belongs to the executor that made it."""

    __slots__ = ("_arena", "_pending", "_pool", "settled")

    def __init__(self, pool: Pool, arena: Arena, pending: Pending | None) -> None:
        self._pool = pool
        self._arena = arena
        self._pending = pending
        self.settled: set[Place] = set()

    def __del__(self) -> None:
        self._pool.give(self._arena)

    def __repr__(self) -> str:
        height, width = self.plan.graph.frame_shape[2:]
        state = "settled" if self._pending is None else "not settled"
        return f"<Cache of a {width}×{height} frame, {state}, {self.size_bytes / 1e6:.1f} MB>"

    @property
    def plan(self) -> Plan:
        return self._pool.plan

    @property
    def size_bytes(self) -> int:
        """Bytes of its buffers."""
        return sum(buffer.nbytes for buffer in self._arena.buffers.values())

    @property
    def arena(self) -> Arena:
        return self._arena

    def settle(self) -> None:
        """Move everything that was reused into this cache and let go of the one it came from.

        `sparse` does this by itself when the cache is next used; calling it in idle time takes the cost off
        the next frame.
        """
        if self._pending is None:
            return
        for regions in self.plan.kept.values():
            for place in regions:
                self.settle_region(place)
        self._pending = None
        self.settled.clear()

    def settle_region(self, place: Place) -> None:
        """Move the kept region that a place lies in, if that has not been done."""
        if self._pending is not None:
            place = self.plan.region_of(place)
        if self._pending is None or place in self.settled:
            return
        level = self._pending.levels[self.plan.slot_levels[place.slot]]
        assert self.plan.remapper is not None
        self.plan.remapper.module.remap(
            self._pending.source.arena.region(place),
            level.displacement,
            self._arena.region(place),
            level.fresh,
        )
        self.settled.add(place)
