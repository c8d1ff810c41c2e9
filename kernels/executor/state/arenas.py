"""Arenas: the memory that the feature maps of one frame live in, and a pool that reuses it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from kernels.allocator import prefer_huge_pages
from kernels.executor.plan.execution_plan import BufferSlice, ExecutionPlan
from kernels.executor.plan.fused_segments import fuse_segments
from kernels.torch_versions import bytes_of


@dataclass(frozen=True, slots=True)
class ContentOrigin:
    """At which positions the maps are the same as those of another frame.

    Attributes:
        content: `Arena.content` of that frame.
        unmoved: bool, the positions at which they are equal, in the order that the policy uses.
    """

    content: object
    unmoved: torch.Tensor


class Arena:
    """Memory for some buffers of a plan, with a view for each node whose map lies there.

    Attributes:
        content: identity of the frame whose maps it holds, or will hold when the current frame is done.
        origin: what these maps have in common with another frame's, if that is known.
        before: content and origin of the frame that used this memory before.
    """

    __slots__ = ("before", "buffers", "content", "memory", "origin", "views")

    def __init__(self, plan: ExecutionPlan, buffers: Iterable[int], floats: int) -> None:
        self.memory = torch.empty(floats, dtype=plan.dtype, device=plan.device)
        if plan.device.type == "cpu":
            prefer_huge_pages(self.memory.data_ptr(), bytes_of(self.memory))
        self.content = object()
        self.origin: ContentOrigin | None = None
        self.before: tuple[object, ContentOrigin | None] = (None, None)
        self.buffers: dict[int, torch.Tensor] = {}
        for buffer in buffers:
            height, width, channels = plan.buffer_shapes[buffer]
            start = plan.offsets[buffer]
            flat = self.memory[start : start + height * width * channels]
            self.buffers[buffer] = flat.view(height, width, channels)
        self.views: dict[int, torch.Tensor] = {}
        for node, part in enumerate(plan.slices):
            if part is not None and part.buffer in self.buffers:
                self.views[node] = self.view(part)

    def reset(self) -> None:
        """Reuse the memory for another frame."""
        self.before = self.content, self.origin
        self.content, self.origin = object(), None

    def up_to_date_with(self, source: Arena) -> torch.Tensor | None:
        """The positions whose values, left from before, already equal those in `source`; None if unknown.

        Either both were made from one frame (every frame starts from the same reference), or this memory held
        the frame that `source` was made from (every frame starts from the one before).
        """
        content, origin = self.before
        if origin is not None and origin.content is source.content:
            return origin.unmoved
        if source.origin is not None and source.origin.content is content:
            return source.origin.unmoved
        return None

    def view(self, part: BufferSlice) -> torch.Tensor:
        """The (H, W, C) map in a buffer slice."""
        return self.buffers[part.buffer][:, :, part.start : part.start + part.channels]


class ArenaLease:
    """Keeps an arena from being used again for as long as it is held, by however many."""

    __slots__ = ("_pool", "arena")

    def __init__(self, pool: ArenaPool, arena: Arena) -> None:
        self._pool = pool
        self.arena = arena

    def __del__(self) -> None:
        self._pool.release(self.arena)


class ArenaPool:
    """Arenas for reuse: a cache that is dropped returns its memory for a later frame.

    Attributes:
        workspace: memory of the maps that no cache keeps.
        segments: fused segments of the plan, if its backend has programs.
        compiled: what a policy has compiled for itself, by policy.
        lock: taken while a cache is settled, which may happen in an idle thread.
    """

    def __init__(self, plan: ExecutionPlan) -> None:
        self.plan = plan
        self.workspace = Arena(plan, plan.workspace, plan.workspace_floats)
        self.segments = fuse_segments(plan)
        self.compiled: dict[str, Any] = {}
        self.lock = threading.RLock()
        self._free: list[Arena] = []

    def acquire(self) -> Arena:
        """An arena that no cache uses, made if there is none."""
        if not self._free:
            return Arena(self.plan, self.plan.kept, self.plan.cache_floats)
        arena = self._free.pop()
        arena.reset()
        return arena

    def release(self, arena: Arena) -> None:
        """Return an arena whose cache was dropped."""
        self._free.append(arena)
