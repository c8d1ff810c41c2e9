"""Sparse frames under `fixed` as CUDA graphs: one launch a frame in place of hundreds.

A fast GPU finishes a frame before Python has launched it. A graph is captured for a number of active
blocks and replayed for every frame that has as many or fewer: the lists of tiles are filled up with tiles
beyond the map, of which nothing is written. Captured are the copy of the active sets from pinned memory, all
operations, and the moving of what was reused. What is left to the host is to decide by block
(`decide_active_sets`) and to round the number of active blocks up to a bucket.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.policies.fixed import run_fixed
from kernels.executor.policies.sparse_request import SparseRequest, host_active_sets
from kernels.executor.state.active_sets import HostActiveSets
from kernels.executor.state.arenas import Arena, ArenaPool
from kernels.executor.state.feature_cache import FeatureCache

_Result = TypeVar("_Result")
_NEVER = 2.0  # a break-even that no share of active blocks reaches


def capture_graph(run: Callable[[], _Result], times: int = 1, pool: Any = None) -> Callable[[], _Result]:
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


class _AlternatingArenas(ArenaPool):
    """A pool of two arenas that alternate, so that the addresses in a graph stay valid."""

    def __init__(self, plan: ExecutionPlan) -> None:
        super().__init__(plan)
        self.arenas = [Arena(plan, plan.kept, plan.cache_floats) for _ in range(2)]
        self.turn = 0  # the arena of the reference; the other takes the new frame

    def acquire(self) -> Arena:
        return self.arenas[1 - self.turn]

    def release(self, arena: Arena) -> None:
        """Nothing to do: both arenas belong to the pool."""


class CudaGraphRunner:
    """Runs sparse frames, each reusing the one before, as CUDA graphs that are captured when first needed.

    Args:
        plan: of an executor whose policy is `fixed`.
        block_px: side of a block.
        margin_px: how far beyond the active blocks every layer computes.
        buckets: a frame's number of active blocks is rounded up to one of this many; each has one or two
            graphs.
        capture: `capture_graph`, or where there is no GPU whatever makes a function repeatable at the same
            addresses.
    """

    def __init__(
        self,
        plan: ExecutionPlan,
        block_px: int,
        buckets: int = 16,
        capture: Callable[[Callable[[], Any]], Callable[[], Any]] | None = None,
        margin_px: int = 0,
    ) -> None:
        height, width = plan.graph.frame_shape[2:]
        grid = -(-height // block_px), -(-width // block_px)
        self.plan, self._block_px, self._margin_px = plan, block_px, margin_px
        self._bucket = -(-grid[0] * grid[1] // buckets)
        self._pool = _AlternatingArenas(plan)
        self._frame = torch.zeros(tuple(plan.graph.frame_shape), device=plan.device)
        self._active = torch.zeros(grid, dtype=torch.bool)
        self._vectors = torch.zeros(*grid, 2, dtype=torch.int64)
        self._residuals: dict[int, torch.Tensor | None] = {}
        self._graphs: dict[tuple[int, int], _CapturedGraph] = {}
        self._last: Callable[[], Any] | None = None
        if capture is None:
            memory = torch.cuda.graph_pool_handle()
            capture = lambda run: capture_graph(run, pool=memory)  # noqa: E731
        self._capture = capture

    def start(self, cache: FeatureCache) -> None:
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
            frame, active, vectors: as there, of the plan's size; the latter two on the CPU.

        Raises:
            RuntimeError: the network does something that cannot be captured.
        """
        turn, request = self._pool.turn, self._request(active, vectors)
        host_sets = host_active_sets(self.plan, request)
        blocks = max(1, -(-host_sets.blocks // self._bucket)) * self._bucket
        found = self._graphs.get((blocks, turn))
        if found is None:
            found = self._graphs[blocks, turn] = _CapturedGraph(self.plan.device.type == "cuda")
        found.fill(host_sets.padded(blocks))
        self._frame.copy_(frame)
        self._active.copy_(active)
        self._vectors.copy_(vectors)
        if found.run is None:
            found.run = self._capture(lambda: self._once(found))
        outputs = found.run()
        found.mark()
        self._last = found.run
        self._residuals = host_sets.residuals()
        self._pool.turn = 1 - turn
        return outputs

    @torch.no_grad()
    def replay_last(self) -> Any:
        """The last frame once more, without the host's part: to time the device.

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

    def _request(self, active: torch.Tensor, vectors: torch.Tensor) -> SparseRequest:
        cache = FeatureCache(self._pool, self._pool.arenas[self._pool.turn], None)
        cache.residuals = self._residuals
        return SparseRequest(
            self._frame, active, vectors.long(), cache, self._block_px, _NEVER, self._margin_px
        )

    def _once(self, graph: _CapturedGraph) -> Any:
        request = self._request(self._active, self._vectors)
        runner, after, _ = run_fixed(self.plan, self._pool, request, graph.host_sets)
        after.settle()
        return runner.outputs()


class _CapturedGraph:
    """A graph, the pinned memory that it reads, and an event that says when it last did."""

    __slots__ = ("_memory", "_on_gpu", "_read", "host_sets", "run")

    def __init__(self, on_gpu: bool) -> None:
        self.run: Callable[[], Any] | None = None
        self.host_sets: HostActiveSets | None = None
        self._on_gpu = on_gpu
        self._memory: torch.Tensor | None = None
        self._read: torch.cuda.Event | None = None

    def fill(self, host_sets: HostActiveSets) -> None:
        """Put a frame's active sets where the graph reads them, once it has read the previous ones."""
        if self._read is not None:
            self._read.synchronize()
        self._memory = host_sets.pack(self._memory, pin=self._on_gpu)
        self.host_sets = host_sets

    def mark(self) -> None:
        """Remember that the graph was launched."""
        if self._on_gpu:
            self._read = self._read or torch.cuda.Event()
            self._read.record()
