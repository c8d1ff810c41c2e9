"""The feature cache: the feature maps that one frame leaves for the next.

A cache is never changed by using it: `sparse` reads it and returns another (under `exact`, for a frame in
which nothing has changed, the same one). Under `fixed` and `adaptive` the new one holds only what was
computed. The rest stays where it is, in the arenas of earlier frames, and is read there (`SpreadMaps`); or,
where a backend cannot, in the cache it came from, to be moved along the vectors when it is first needed
(`settle`): after the frame's result is out, or never, where every frame starts from the same reference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch

from kernels.executor.plan.execution_plan import BufferSlice, ExecutionPlan
from kernels.executor.state.active_sets import ActiveSet
from kernels.executor.state.arenas import Arena, ArenaLease, ArenaPool
from kernels.executor.state.spread_maps import SpreadMaps
from kernels.ops.cpu.program import ActiveSetTable
from kernels.torch_versions import bytes_of


@dataclass(slots=True)
class PendingRemap:
    """Maps that still lie in the source cache and have to be moved along the vectors.

    Attributes:
        source: the cache that they lie in.
        sets: the active set of each resolution, with the displacements.
        table: the same, for programs.
    """

    source: FeatureCache
    sets: dict[int, ActiveSet]
    table: ActiveSetTable | None = None


class FeatureCache:
    """The feature maps of one frame. Opaque; it belongs to the executor that made it.

    On a CPU its maps may lie in the memory of several frames (`spread_maps.MOST_ARENAS`), until it is
    settled.

    Attributes:
        residuals: by resolution, the motion in pixels that its maps have not followed yet
            (`ActiveSet.residual`).
        behind: bool (rows, columns) of blocks, under `adaptive`: where layers that are computed at salient
            blocks only have not followed the others; None for nowhere.
        settled: kept slices that have been moved, where others have not.
    """

    __slots__ = ("_lease", "_pending", "_pool", "_spread", "behind", "residuals", "settled")

    def __init__(
        self,
        pool: ArenaPool,
        arena: Arena | ArenaLease,
        pending: PendingRemap | None = None,
        spread: SpreadMaps | None = None,
    ) -> None:
        self._pool = pool
        self._lease = ArenaLease(pool, arena) if isinstance(arena, Arena) else arena
        self._pending = pending
        self._spread = spread
        self.settled: set[BufferSlice] = set()
        self.residuals: dict[int, torch.Tensor | None] = {}
        self.behind: torch.Tensor | None = None

    def __repr__(self) -> str:
        height, width = self.plan.graph.frame_shape[2:]
        state = "settled" if self._pending is None and self._spread is None else "not settled"
        return f"<FeatureCache of a {width}×{height} frame, {state}, {self.size_bytes / 1e6:.1f} MB>"

    @property
    def plan(self) -> ExecutionPlan:
        """The plan whose maps it holds."""
        return self._pool.plan

    @property
    def size_bytes(self) -> int:
        """Bytes of its buffers."""
        return bytes_of(self.arena.memory)

    @property
    def arena(self) -> Arena:
        """The memory of its maps."""
        return self._lease.arena

    def spread(self) -> tuple[tuple[ArenaLease, ...], dict[int, torch.Tensor] | None]:
        """Where its maps lie, for a frame that reads them: arenas, its own first; origins, if several."""
        with self._pool.lock:
            if self._spread is not None:
                return self._spread.leases, self._spread.origins
            self.settle()
            return (self._lease,), None

    def settle(self) -> None:
        """Move everything that was reused into this cache and let go of the one it came from.

        `sparse` does this by itself when the cache is next used; calling it in idle time takes the cost off
        the next frame. Any thread may, on a GPU with the stream of the frames as its current one.
        """
        with self._pool.lock:
            if self._spread is not None:
                self._spread.collect(0, len(self._spread.segments.remaps))
                self._spread = None
            if self._pending is None:
                return
            segments, table = self._pool.segments, self._pending.table
            if segments is not None and table is not None:  # as few calls as there are runs of steps
                source = self._pending.source.arena
                memory = (self.arena.memory, self._pool.workspace.memory, source.memory)
                done = {segments.remap_of[part] for part in self.settled}
                for begin, end in _runs(len(segments.remaps), done):
                    segments.remaps.run(begin, end, table, *memory)
            else:
                for parts in self.plan.kept.values():
                    for part in parts:
                        self.settle_slice(part)
            self._pending = None
            self.settled.clear()

    def settle_slice(self, part: BufferSlice) -> None:
        """Move the kept slice that contains `part`, if that has not been done."""
        with self._pool.lock:
            if self._spread is not None:
                step = self._spread.segments.remap_of[self.plan.kept_slice(part)]
                self._spread.collect(step, step + 1)
                return
            if self._pending is not None:
                part = self.plan.kept_slice(part)
            if self._pending is None or part in self.settled:
                return
            segments, table = self._pool.segments, self._pending.table
            source = self._pending.source.arena
            if segments is not None and table is not None:
                step = segments.remap_of[part]
                memory = (self.arena.memory, self._pool.workspace.memory, source.memory)
                segments.remaps.run(step, step + 1, table, *memory)
            else:
                active_set = self._pending.sets[self.plan.buffer_resolutions[part.buffer]]
                assert self.plan.remap_backend is not None
                self.plan.remap_backend.module.remap(
                    source.view(part), active_set.displacement, self.arena.view(part), active_set.fresh
                )
            self.settled.add(part)


def _runs(count: int, without: Collection[int]) -> Iterator[tuple[int, int]]:
    """[begin, end) of the runs of 0 … count - 1 that are left when some numbers are taken out."""
    begin = 0
    for number in sorted(without):
        if begin < number:
            yield begin, number
        begin = number + 1
    if begin < count:
        yield begin, count
