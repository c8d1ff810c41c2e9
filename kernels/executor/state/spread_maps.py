"""Maps that lie spread over several arenas: what was reused stays where it was computed.

Moving everything that a frame reuses costs as much as a tenth of its arithmetic, and most of it is read by
nobody before it is computed anew or moved again. So a cache may hold the arenas of its last frames, and know
for each position in which of them its value lies and where (`kernels.ops.cpu.reuse.origins`); displacements
of successive frames are composed, and the values are exactly those that moving would have brought. What a
frame still needs of the oldest arena is brought to its own, so that a cache never holds more than
`MOST_ARENAS`.

The C++ programs can read so; other backends move (`FeatureCache.settle`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from kernels.executor.graph.nodes import Concat, Slice
from kernels.executor.plan.execution_plan import BufferSlice, ExecutionPlan
from kernels.executor.plan.fused_segments import FusedSegments
from kernels.executor.state.active_sets import HostActiveSets
from kernels.executor.state.arenas import ArenaLease, ArenaPool
from kernels.executor.state.node_runner import runs_whole
from kernels.ops.cpu.program import ActiveSetTable, ArenaTable
from kernels.ops.cpu.reuse import origins

MOST_ARENAS = 4  # of a cache: more take memory, with fewer more is moved


@dataclass(slots=True)
class SpreadMaps:
    """Where the maps of a cache lie.

    Attributes:
        segments: programs whose steps name the maps.
        leases: the arenas, the cache's own first.
        origins: by resolution, int32 (H · W,).
        table: the same, for programs.
        arenas: the memory of the arenas, for programs.
    """

    segments: FusedSegments
    leases: tuple[ArenaLease, ...]
    origins: dict[int, torch.Tensor]
    table: ActiveSetTable
    arenas: ArenaTable

    @classmethod
    def after(
        cls,
        segments: FusedSegments,
        leases: tuple[ArenaLease, ...],
        before: Mapping[int, torch.Tensor] | None,
        sets: HostActiveSets,
    ) -> SpreadMaps:
        """Those of a frame's cache, and what its programs read.

        Args:
            leases: the frame's own arena, then the reference's.
            before: the reference's origins; None where all lies in its own arena.
            sets: the frame's active sets.
        """
        table = segments.new_table()
        found: dict[int, torch.Tensor] = {}
        lengths = {key: segments.sizes[key][0] * segments.sizes[key][1] for key in sets.by_resolution}
        parts = torch.empty(sum(lengths.values()), dtype=torch.int32).split(list(lengths.values()))
        for (key, one), part in zip(sets.by_resolution.items(), parts, strict=True):
            tile = (1, 1) if one.size is None else one.tile
            there = None if before is None else before[key]
            origins.follow(one.fresh, one.displacement, tile, segments.sizes[key], there, part)
            table.set(key, one.tiles, one.tile)
            table.set_origins(key, part)
            found[key] = part
        return cls(segments, leases, found, table, ArenaTable([lease.arena.memory for lease in leases]))

    def collect(self, begin: int, end: int) -> None:
        """Bring all of some kept slices to the cache's own arena."""
        origins.collect(self.segments.remaps, begin, end, self.table, self.arenas)

    def drop_oldest(self) -> None:
        """Let go of an arena beyond the most, and bring what lies there to the frame's own, once computed."""
        if len(self.leases) <= MOST_ARENAS:
            return
        oldest = len(self.leases) - 1
        origins.collect(self.segments.remaps, 0, len(self.segments.remaps), self.table, self.arenas, oldest)
        for part in self.origins.values():
            origins.bring(part, oldest)
        self.leases = self.leases[:-1]
        self.arenas = ArenaTable([lease.arena.memory for lease in self.leases])

    def fresh_positions(self, resolution: int) -> torch.Tensor:
        """The positions that this frame computes: int64 (n,), row after row."""
        here: torch.Tensor = self.origins[resolution] <= origins.MOST_POSITIONS
        return here.nonzero()[:, 0]

    def whole(self, plan: ExecutionPlan, node: int) -> torch.Tensor:
        """A copy of a map, (1, C, H, W), from wherever it lies."""
        part = plan.slice_of(node)
        height, width, channels = plan.nodes[node].map_shape()
        made = torch.empty(height, width, channels)
        stride = plan.buffer_shapes[part.buffer][2]
        offset = plan.offsets[part.buffer] + part.start
        origins.collect_map(self.origins[plan.resolution_of(node)], self.arenas, offset, stride, made)
        return made.permute(2, 0, 1)[None]


def can_spread(plan: ExecutionPlan, pool: ArenaPool) -> bool:
    """Whether maps may lie in several arenas: all that reads them there runs in programs, or whole."""
    if "spread" not in pool.compiled:
        pool.compiled["spread"] = _can_spread(plan, pool.segments)
    return bool(pool.compiled["spread"])


def _can_spread(plan: ExecutionPlan, segments: FusedSegments | None) -> bool:
    if segments is None or any(height * width > origins.MOST_POSITIONS for height, width in segments.sizes):
        return False
    for index, node in enumerate(plan.nodes):
        joins = isinstance(node.operation, Concat) and index not in plan.copies
        if index == 0 or joins or isinstance(node.operation, Slice):
            continue
        if runs_whole(plan, index):
            # Its map is written everywhere, and stays so under moving where a slice of others is moved
            # before.
            part = plan.slices[index]
            kept = [] if part is None else plan.kept.get(part.buffer, [])
            if any(one != part and _overlap(one, part) for one in kept):
                return False
        elif not any(first <= index < end for first, (_, _, end) in segments.spans.items()):
            return False
    return True


def _overlap(one: BufferSlice, other: BufferSlice | None) -> bool:
    """Of the same buffer."""
    return other is not None and max(one.start, other.start) < min(
        one.start + one.channels, other.start + other.channels
    )
