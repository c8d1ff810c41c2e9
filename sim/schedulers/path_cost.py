"""What a path costs: its latency as a function of the blocks that it is given.

A named tuple, since two are made for every frame: it is built and read several times faster than a frozen
dataclass.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from profiler.latency import Counts, LatencyCurve, Profile, Quadratic, best_of_times

INSTANT = Quadratic(0.0, 0.0, 0.0)


class PathCost(NamedTuple):
    """One path's latency if k of N active blocks are processed:

    T(k) = ``wait_s`` + k · ``per_block_s`` + min(``curve``(m(k)), ``dense_s``)

    On the cloud path k blocks are sent; m(k), the blocks computed, may be more. They are k +
    ``unsent``, or ``computed[k]`` where the number of others depends on k, as a margin's does.

    The papers' model has no minimum (``dense_s`` infinite, the default); yet their published curves exceed
    dense inference from about half of the blocks on, where a real executor would switch.
    """

    active: int  # N
    wait_s: float  # all that does not depend on k: search, backlog, headers, one-way delays, busy processor
    per_block_s: float  # wire and encoding
    curve: LatencyCurve
    unsent: int = 0  # blocks computed besides the k, neither sent nor counted as active
    computed: Counts | None = None  # (N + 1,) blocks computed for k = 0, …, N, never falling; for ``unsent``
    dense_s: float = math.inf
    k_min: float = 0.0  # profiled range of the blocks computed
    k_max: float = math.inf

    def blocks_computed(self, k: int) -> int:
        """Blocks computed when k active ones are processed."""
        return k + self.unsent if self.computed is None else int(self.computed[k])

    def compute_s(self, k: int) -> float:
        """Time of inference, sparse or dense, whichever is faster."""
        return min(self.curve.seconds(self.blocks_computed(k)), self.dense_s)

    def latency_s(self, k: int) -> float:
        """T(k)."""
        sending_s = k * self.per_block_s if k else 0.0  # 0 blocks over a dead link: 0, not 0 · inf
        return self.wait_s + sending_s + self.compute_s(k)

    def runs_densely(self, k: int) -> bool:
        """Whether dense inference is the faster way to compute what k asks for."""
        return self.dense_s < self.curve.seconds(self.blocks_computed(k))

    def is_extrapolated(self, k: int) -> bool:
        """Whether k takes sparse inference to a number of blocks that nobody profiled."""
        blocks = self.blocks_computed(k)
        if blocks == 0 or self.k_min <= blocks <= self.k_max:
            return False
        return not self.runs_densely(k)

    def best_sparse_count(self, decay_per_s: float) -> int:
        """The k in [1, N] with the largest EA under sparse inference; 0 if nothing is active."""
        if self.computed is None:
            return self.curve.best_block_count(self.active, decay_per_s, self.per_block_s, self.unsent)
        if self.active == 0:
            return 0
        return best_of_times(self.curve.seconds_of(self.computed[1:]), decay_per_s, self.per_block_s)

    def best_dense_count(self, decay_per_s: float) -> int:
        """The k in [1, N] with the largest EA under dense inference, which takes the same for every k."""
        return INSTANT.best_block_count(self.active, decay_per_s, self.per_block_s)


def edge_cost(
    profile: Profile,
    active: int,
    wait_s: float,
    *,
    computed: Counts | None = None,
    dense_fallback: bool = False,
    dense_only: bool = False,
) -> PathCost:
    """The edge path: ``wait_s`` covers the search and whatever the processor must finish first.

    With ``dense_only`` everything is recomputed, whatever k is.
    """
    if dense_only:
        return PathCost(active, wait_s + profile.dense_s, 0.0, INSTANT)
    k_min, k_max = profile.domain
    dense_s = profile.dense_s if dense_fallback else math.inf
    return PathCost(active, wait_s, 0.0, profile.curve, 0, computed, dense_s, k_min, k_max)


def cloud_cost(
    profile: Profile,
    active: int,
    wait_s: float,
    *,
    bandwidth_bps: float,
    block_bytes: float,
    header_bytes: float = 0.0,
    encode_per_block_s: float = 0.0,
    unsent: int = 0,
    computed: Counts | None = None,
    dense_fallback: bool = False,
    dense_only: bool = False,
) -> PathCost:
    """The cloud path over an uplink of an estimated ``bandwidth_bps`` (0: never arrives).

    ``wait_s`` covers the search, the encoding of an empty message, both one-way delays and the wait for
    the server; ``header_bytes`` all that is sent whatever k is.
    """
    byte_s = 8.0 / bandwidth_bps if bandwidth_bps > 0.0 else math.inf
    wait_s += header_bytes * byte_s if header_bytes else 0.0
    per_block_s = (block_bytes * byte_s if block_bytes else 0.0) + encode_per_block_s
    if dense_only:
        return PathCost(active, wait_s + profile.dense_s, per_block_s, INSTANT)
    k_min, k_max = profile.domain
    return PathCost(
        active,
        wait_s,
        per_block_s,
        profile.curve,
        unsent,
        computed,
        profile.dense_s if dense_fallback else math.inf,
        k_min,
        k_max,
    )
