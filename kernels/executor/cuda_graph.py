"""Sparse frames under `fixed` as CUDA graphs: one launch a frame in place of hundreds.

A fast GPU is done with a frame before Python has launched it. A graph is captured for a number of active
blocks and replayed for every frame that has as many or fewer: the lists of tiles are filled up with tiles
beyond the map, of which nothing is written. Captured are the copy of the block set from pinned memory, all
operations, and the moving of what was reused; what is left to the processor is to decide by block
(`draft_levels`) and to round the number of active blocks up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from kernels.executor.plan.plan import Plan
from kernels.executor.policies.fixed import draft_of, run_fixed
from kernels.executor.policies.request import Request
from kernels.executor.state.active_sets import Draft
from kernels.executor.state.cache import Arena, Cache, Pool

_Result = TypeVar("_Result")
_NEVER = 2.0  # a break-even that no share of active blocks reaches


def as_graph(run: Callable[[], _Result], times: int = 1, pool: Any = None) -> Callable[[], _Result]:
    """`run` captured once, replayed from then on; each replay returns the same tensors, filled anew.

    Args:
        times: how often `run` runs in one replay.
        pool: memory to share with other graphs (`torch.cuda.graph_pool_handle`), none of which may be
            replayed at the same time.

    Raises:
        RuntimeError: it does something that cannot be captured, such as waiting for the device.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # workspaces and algorithms are settled before the capture
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        for _ in range(times):
            kept = run()

    def replay(outputs: _Result = kept) -> _Result:  # the graph's memory lives as long as its outputs
        graph.replay()
        return outputs

    return replay


class _TwoArenas(Pool):
    """A pool of two arenas that take turns: a graph's addresses stay what they were."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.arenas = [Arena(plan, plan.kept, plan.cache_floats) for _ in range(2)]
        self.turn = 0  # the arena of the reference; the other takes the new frame

    def take(self) -> Arena:
        return self.arenas[1 - self.turn]

    def give(self, arena: Arena) -> None:
        """They stay here."""


class Replay:
    """A chain of sparse frames, each from the one before, by graphs that are captured when first needed.

    Args:
        plan: of an executor whose policy is `fixed`.
        block_px: side of a block.
        steps: into how many equal numbers of active blocks a frame's is rounded up; a graph or two for each.
        capture: makes a function repeatable at the same addresses; other than `as_graph` only where there is
            no GPU.
    """

    def __init__(
        self,
        plan: Plan,
        block_px: int,
        steps: int = 16,
        capture: Callable[[Callable[[], Any]], Callable[[], Any]] | None = None,
    ) -> None:
        height, width = plan.graph.frame_shape[2:]
        grid = -(-height // block_px), -(-width // block_px)
        self.plan, self._block_px = plan, block_px
        self._step = -(-grid[0] * grid[1] // steps)
        self._pool = _TwoArenas(plan)
        self._frame = torch.zeros(tuple(plan.graph.frame_shape), device=plan.device)
        self._active = torch.zeros(grid, dtype=torch.bool)
        self._vectors = torch.zeros(*grid, 2, dtype=torch.int64)
        self._residuals: dict[int, torch.Tensor | None] = {}
        self._graphs: dict[tuple[int, int], _Graph] = {}
        self._last: Callable[[], Any] | None = None
        if capture is None:
            memory = torch.cuda.graph_pool_handle()
            capture = lambda run: as_graph(run, pool=memory)  # noqa: E731
        self._capture = capture

    def start(self, cache: Cache) -> None:
        """Take a cache of the same plan for the reference of the next frame; it is copied.

        Raises:
            ValueError: a cache of another plan.
        """
        if cache.plan is not self.plan:
            raise ValueError(f"cache must come from the same plan (got {cache!r})")
        cache.settle()
        self._pool.arenas[self._pool.turn].memory.copy_(cache.arena.memory)
        self._residuals = dict(cache.residuals)

    @torch.no_grad()
    def sparse(self, frame: torch.Tensor, active: torch.Tensor, vectors: torch.Tensor) -> Any:
        """What `SparseExecutor.sparse` returns first; the frame after the next overwrites it.

        Args:
            frame, active, vectors: as there, of the plan's size; the latter two on the processor.

        Raises:
            RuntimeError: the network does something that cannot be captured.
        """
        turn, request = self._pool.turn, self._request(active, vectors)
        draft = draft_of(self.plan, request)
        room = max(1, -(-draft.blocks // self._step)) * self._step
        found = self._graphs.get((room, turn))
        if found is None:
            found = self._graphs[room, turn] = _Graph(self.plan.device.type == "cuda")
        found.fill(draft.padded(room))
        self._frame.copy_(frame)
        self._active.copy_(active)
        self._vectors.copy_(vectors)
        if found.run is None:
            found.run = self._capture(lambda: self._once(found))
        outputs = found.run()
        found.mark()
        self._last = found.run
        self._residuals = draft.residuals()
        self._pool.turn = 1 - turn
        return outputs

    @torch.no_grad()
    def again(self) -> Any:
        """The last frame once more, without the processor's part: to time the device.

        Raises:
            ValueError: there is none yet.
        """
        if self._last is None:
            raise ValueError("no frame was replayed yet")
        self._pool.turn = 1 - self._pool.turn
        try:
            return self._last()
        finally:
            self._pool.turn = 1 - self._pool.turn

    def _request(self, active: torch.Tensor, vectors: torch.Tensor) -> Request:
        cache = Cache(self._pool, self._pool.arenas[self._pool.turn], None)
        cache.residuals = self._residuals
        return Request(self._frame, active, vectors.long(), cache, self._block_px, _NEVER)

    def _once(self, graph: _Graph) -> Any:
        request = self._request(self._active, self._vectors)
        steps, after, _ = run_fixed(self.plan, self._pool, request, graph.draft)
        after.settle()
        return steps.outputs()


class _Graph:
    """A graph, the pinned memory that it reads, and when it last did."""

    __slots__ = ("_memory", "_on_gpu", "_read", "draft", "run")

    def __init__(self, on_gpu: bool) -> None:
        self.run: Callable[[], Any] | None = None
        self.draft: Draft | None = None
        self._on_gpu = on_gpu
        self._memory: torch.Tensor | None = None
        self._read: torch.cuda.Event | None = None

    def fill(self, draft: Draft) -> None:
        """Put a frame's block set where the graph reads it, once it has read the one before."""
        if self._read is not None:
            self._read.synchronize()
        self._memory = draft.pack(self._memory, pin=self._on_gpu)
        self.draft = draft

    def mark(self) -> None:
        """Remember that the graph was launched."""
        if self._on_gpu:
            self._read = self._read or torch.cuda.Event()
            self._read.record()
