"""The feature cache: what one frame's maps leave for the next.

A cache is never changed by using it: `sparse` reads it and returns another (under `exact`, for a frame in
which nothing has changed, the same one). Under `fixed` the new one holds only what was computed; the rest is
still in the cache it came from, to be moved along the vectors when it is first needed (`settle`): after the
frame's result is out, or never, where every frame starts from the same reference.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from kernels.allocator import prefer_huge_pages
from kernels.executor.plan.plan import Place, Plan
from kernels.executor.plan.segments import find_stretches
from kernels.ops.cpu.program import Levels


@dataclass(frozen=True, slots=True)
class Origin:
    """Where maps are the same as another frame's.

    Attributes:
        content: of that frame's arena.
        still: positions at which they are, as a policy counts them.
    """

    content: object
    still: torch.Tensor


class Arena:
    """Memory for some slots of a plan, with a view for each node that lives there.

    Attributes:
        content: stands for what is in it, or will be when the frame in the making is done.
        origin: what that has in common with another content, if it is known.
        before: content and origin of the frame whose maps were left in it.
    """

    __slots__ = ("before", "buffers", "content", "memory", "origin", "views")

    def __init__(self, plan: Plan, slots: Iterable[int], floats: int) -> None:
        self.memory = torch.empty(floats, dtype=plan.dtype, device=plan.device)
        if plan.device.type == "cpu":
            prefer_huge_pages(self.memory.data_ptr(), self.memory.nbytes)
        self.content = object()
        self.origin: Origin | None = None
        self.before: tuple[object, Origin | None] = (None, None)
        self.buffers: dict[int, torch.Tensor] = {}
        for slot in slots:
            height, width, channels = plan.slots[slot]
            start = plan.offsets[slot]
            flat = self.memory[start : start + height * width * channels]
            self.buffers[slot] = flat.view(height, width, channels)
        self.views: dict[int, torch.Tensor] = {}
        for node, place in enumerate(plan.places):
            if place is not None and place.slot in self.buffers:
                self.views[node] = self.region(place)

    def renew(self) -> None:
        """For another frame."""
        self.before = self.content, self.origin
        self.content, self.origin = object(), None

    def held(self, source: Arena) -> torch.Tensor | None:
        """Where it has, from before, what `source` has: `Origin.still`; None if that is not known.

        Both may come from one frame, as where every frame starts from the same reference; or this was the
        source's source, as where every frame starts from the one before.
        """
        content, origin = self.before
        if origin is not None and origin.content is source.content:
            return origin.still
        if source.origin is not None and source.origin.content is content:
            return source.origin.still
        return None

    def region(self, place: Place) -> torch.Tensor:
        """The (H, W, C) map at a place."""
        return self.buffers[place.slot][:, :, place.start : place.start + place.channels]


class Pool:
    """Arenas for reuse: a cache that is dropped gives its memory to the next frame's.

    Attributes:
        shared: memory of the maps that no cache keeps.
        stretches: programs of the plan, if its backend has them.
        compiled: what a policy has compiled for itself, by policy.
        settling: held while a cache is settled, which an idle thread may do.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.shared = Arena(plan, plan.shared, plan.shared_floats)
        self.stretches = find_stretches(plan)
        self.compiled: dict[str, Any] = {}
        self.settling = threading.RLock()
        self._free: list[Arena] = []

    def take(self) -> Arena:
        if not self._free:
            return Arena(self.plan, self.plan.kept, self.plan.cache_floats)
        arena = self._free.pop()
        arena.renew()
        return arena

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
        residual: pixels that the rounding of `displacement` left over, by block or position.
    """

    tiles: torch.Tensor
    tile: tuple[int, int]
    positions: int
    fresh: torch.Tensor
    displacement: torch.Tensor
    residual: torch.Tensor | None = None


@dataclass(slots=True)
class Pending:
    """What has not been moved yet: where it is, and how it moves; `compiled` is the same for programs."""

    source: Cache
    levels: dict[int, Level]
    compiled: Levels | None = None


class Cache:
    """The feature maps of one frame. Opaque; it belongs to the executor that made it.

    Attributes:
        residuals: by resolution, the motion in pixels that its maps have not followed yet (`Level.residual`).
    """

    __slots__ = ("_arena", "_pending", "_pool", "residuals", "settled")

    def __init__(self, pool: Pool, arena: Arena, pending: Pending | None) -> None:
        self._pool = pool
        self._arena = arena
        self._pending = pending
        self.settled: set[Place] = set()
        self.residuals: dict[int, torch.Tensor | None] = {}

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
        return self._arena.memory.nbytes

    @property
    def arena(self) -> Arena:
        return self._arena

    def settle(self) -> None:
        """Move everything that was reused into this cache and let go of the one it came from.

        `sparse` does this by itself when the cache is next used; calling it in idle time takes the cost off
        the next frame. Any thread may, on a GPU with the stream of the frames as its current one.
        """
        with self._pool.settling:
            if self._pending is None:
                return
            for regions in self.plan.kept.values():
                for place in regions:
                    self.settle_region(place)
            self._pending = None
            self.settled.clear()

    def settle_region(self, place: Place) -> None:
        """Move the kept region that a place lies in, if that has not been done."""
        with self._pool.settling:
            if self._pending is not None:
                place = self.plan.region_of(place)
            if self._pending is None or place in self.settled:
                return
            stretches, compiled = self._pool.stretches, self._pending.compiled
            source = self._pending.source.arena
            if stretches is not None and compiled is not None:
                move = stretches.regions[place]
                memory = (self._arena.memory, self._pool.shared.memory, source.memory)
                stretches.moves.run(move, move + 1, compiled, *memory)
            else:
                level = self._pending.levels[self.plan.slot_levels[place.slot]]
                assert self.plan.remapper is not None
                self.plan.remapper.module.remap(
                    source.region(place), level.displacement, self._arena.region(place), level.fresh
                )
            self.settled.add(place)
