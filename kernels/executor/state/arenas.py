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


@dataclass(frozen=True, slots=True)
class ContentOrigin:
    """Where maps are the same as another frame's.

    Attributes:
        content: of that frame's arena.
        still: positions at which they are, as a policy counts them.
    """

    content: object
    unmoved: torch.Tensor


class Arena:
    """Memory for some slots of a plan, with a view for each node that lives there.

    Attributes:
        content: stands for what is in it, or will be when the frame in the making is done.
        origin: what that has in common with another content, if it is known.
        before: content and origin of the frame whose maps were left in it.
    """

    __slots__ = ("before", "buffers", "content", "memory", "origin", "views")

    def __init__(self, plan: ExecutionPlan, buffer_shapes: Iterable[int], floats: int) -> None:
        self.memory = torch.empty(floats, dtype=plan.dtype, device=plan.device)
        if plan.device.type == "cpu":
            prefer_huge_pages(self.memory.data_ptr(), self.memory.nbytes)
        self.content = object()
        self.origin: ContentOrigin | None = None
        self.before: tuple[object, ContentOrigin | None] = (None, None)
        self.buffers: dict[int, torch.Tensor] = {}
        for buffer in buffer_shapes:
            height, width, channels = plan.buffer_shapes[buffer]
            start = plan.offsets[buffer]
            flat = self.memory[start : start + height * width * channels]
            self.buffers[buffer] = flat.view(height, width, channels)
        self.views: dict[int, torch.Tensor] = {}
        for node, place in enumerate(plan.slices):
            if place is not None and place.buffer in self.buffers:
                self.views[node] = self.region(place)

    def renew(self) -> None:
        """For another frame."""
        self.before = self.content, self.origin
        self.content, self.origin = object(), None

    def up_to_date(self, source: Arena) -> torch.Tensor | None:
        """Where it has, from before, what `source` has: `ContentOrigin.unmoved`; None if that is not known.

        Both may come from one frame, as where every frame starts from the same reference; or this was the
        source's source, as where every frame starts from the one before.
        """
        content, origin = self.before
        if origin is not None and origin.content is source.content:
            return origin.unmoved
        if source.origin is not None and source.origin.content is content:
            return source.origin.unmoved
        return None

    def region(self, place: BufferSlice) -> torch.Tensor:
        """The (H, W, C) map at a place."""
        return self.buffers[place.buffer][:, :, place.start : place.start + place.channels]


class ArenaPool:
    """Arenas for reuse: a cache that is dropped gives its memory to the next frame's.

    Attributes:
        shared: memory of the maps that no cache keeps.
        stretches: programs of the plan, if its backend has them.
        compiled: what a policy has compiled for itself, by policy.
        settling: held while a cache is settled, which an idle thread may do.
    """

    def __init__(self, plan: ExecutionPlan) -> None:
        self.plan = plan
        self.workspace = Arena(plan, plan.workspace, plan.workspace_floats)
        self.segments = fuse_segments(plan)
        self.compiled: dict[str, Any] = {}
        self.settling = threading.RLock()
        self._free: list[Arena] = []

    def acquire(self) -> Arena:
        if not self._free:
            return Arena(self.plan, self.plan.kept, self.plan.cache_floats)
        arena = self._free.pop()
        arena.renew()
        return arena

    def release(self, arena: Arena) -> None:
        self._free.append(arena)
