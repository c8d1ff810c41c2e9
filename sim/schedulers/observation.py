"""What a scheduler is told about a frame, and what it answers.

The values are named tuples: one of each is made for every frame, and they are built and read several times
faster than frozen dataclasses.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from profiler.latency import Profile


class ExecutionPath(str, enum.Enum):
    """Where a frame's result comes from."""

    EDGE = "edge"
    CLOUD = "cloud"


class PathCost(NamedTuple):
    """One path's latency as a function of the blocks k it is given:

    T(k) = ``wait_s`` + k · ``per_block_s`` + min(a·(k + d)² + b·(k + d) + c, ``dense_s``)

    The papers' model has no minimum (``dense_s`` infinite, the default); yet their published curves exceed
    dense inference from about half of the blocks on, where a real executor would switch.
    """

    active: int
    wait_s: float  # all that does not depend on k: search, backlog, headers, one-way delays, busy processor
    per_block_s: float  # wire and encoding
    a_s: float
    b_s: float
    c_s: float
    dirty: int = 0  # d: computed besides, neither sent nor counted as active
    dense_s: float = math.inf
    k_min: float = 0.0  # profiled range of the blocks computed
    k_max: float = math.inf

    def sparse_s(self, k: int) -> float:
        """Time of sparse inference over k active and all dirty blocks."""
        blocks = k + self.dirty
        return (self.a_s * blocks + self.b_s) * blocks + self.c_s

    def latency_s(self, k: int) -> float:
        """T(k)."""
        sending_s = k * self.per_block_s if k else 0.0  # 0 blocks over a dead link: 0, not 0 · inf
        return self.wait_s + sending_s + min(self.sparse_s(k), self.dense_s)

    def runs_densely(self, k: int) -> bool:
        """Whether dense inference is the cheaper way to compute k active and all dirty blocks."""
        return self.dense_s < self.sparse_s(k)

    def is_extrapolated(self, k: int) -> bool:
        """Whether k takes sparse inference to a number of blocks that nobody profiled."""
        blocks = k + self.dirty
        if blocks == 0 or self.k_min <= blocks <= self.k_max:
            return False
        return not self.runs_densely(k)


class UplinkOracle(NamedTuple):
    """The true future of the uplink, for the oracle and for regret.

    ``finish_s(n_bytes, enqueued_s)`` says how many seconds from now the last of n bytes reaches the server
    if they are enqueued ``enqueued_s`` from now. It must never fall as either argument grows.
    """

    finish_s: Callable[[int, float], float]
    block_bytes: float
    header_bytes: float
    encode_base_s: float  # from now until an empty message is enqueued
    encode_per_block_s: float
    after_s: float  # from the last byte's arrival until the result is out, without the computation
    elapsed_s: float = 0.0  # from the frame's capture until now: part of every latency

    def arrival_s(self, k: int) -> float:
        """When a message of k blocks has arrived, in seconds from the frame's capture."""
        n_bytes = math.ceil(self.header_bytes + k * self.block_bytes)
        return self.elapsed_s + self.finish_s(n_bytes, self.encode_base_s + k * self.encode_per_block_s)


class Observation(NamedTuple):
    """The paths a frame may take; None for one that is not there (no server reachable, no local model)."""

    edge: PathCost | None
    cloud: PathCost | None
    uplink: UplinkOracle | None = None


class Decision(NamedTuple):
    """A scheduler's answer. Latency and EA are what it expects, not what comes."""

    path: ExecutionPath
    k: int  # active blocks to process, the most different first
    blocks_computed: int  # k and the dirty blocks
    dense: bool  # computed by dense inference, which is cheaper here
    predicted_latency_s: float
    predicted_ea: float
    extrapolated: bool


class Scheduler(Protocol):
    """Chooses a path and a number of blocks for each frame."""

    def decide(self, observation: Observation) -> Decision:
        """Decide for one frame.

        Raises:
            ValueError: the observation has no path.
        """
        ...


def edge_cost(profile: Profile, active: int, wait_s: float, *, dense_fallback: bool = False) -> PathCost:
    """The edge path: ``wait_s`` covers the search and whatever the processor must finish first."""
    fit = profile.quadratic
    return PathCost(
        active,
        wait_s,
        0.0,
        fit.a_s,
        fit.b_s,
        fit.c_s,
        dense_s=profile.dense_s if dense_fallback else math.inf,
        k_min=profile.k_min or 0,
        k_max=profile.block_count if profile.k_max is None else profile.k_max,
    )


def cloud_cost(
    profile: Profile,
    active: int,
    wait_s: float,
    *,
    bandwidth_bps: float,
    block_bytes: float,
    header_bytes: float = 0.0,
    encode_per_block_s: float = 0.0,
    dirty: int = 0,
    dense_fallback: bool = False,
) -> PathCost:
    """The cloud path over an uplink of an estimated ``bandwidth_bps`` (0: never arrives).

    ``wait_s`` covers the search, the encoding of an empty message, both one-way delays and the wait for
    the server; ``header_bytes`` all that is sent whatever k is.
    """
    fit = profile.quadratic
    byte_s = 8.0 / bandwidth_bps if bandwidth_bps > 0.0 else math.inf
    return PathCost(
        active,
        wait_s + (header_bytes * byte_s if header_bytes else 0.0),
        (block_bytes * byte_s if block_bytes else 0.0) + encode_per_block_s,
        fit.a_s,
        fit.b_s,
        fit.c_s,
        dirty,
        profile.dense_s if dense_fallback else math.inf,
        profile.k_min or 0,
        profile.block_count if profile.k_max is None else profile.k_max,
    )
