"""What a scheduler is told about a frame, and what it answers.

The values are named tuples: one of each is made for every frame, and they are built and read several times
faster than frozen dataclasses.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from sim.schedulers.path_cost import PathCost


class ExecutionPath(str, enum.Enum):
    """Where a frame's result comes from."""

    EDGE = "edge"
    CLOUD = "cloud"


class UplinkOracle(NamedTuple):
    """The true future of the uplink, for the oracle scheduler and for regret.

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
    decode_per_block_s: float = 0.0

    def arrival_s(self, blocks_sent: int) -> float:
        """When a message of so many blocks has arrived and been decoded, in seconds from the capture."""
        n_bytes = math.ceil(self.header_bytes + blocks_sent * self.block_bytes)
        arrived_s = self.finish_s(n_bytes, self.encode_base_s + blocks_sent * self.encode_per_block_s)
        return self.elapsed_s + arrived_s + blocks_sent * self.decode_per_block_s


class Observation(NamedTuple):
    """The paths a frame may take; None for one that is not there (no server reachable, no local model)."""

    edge: PathCost | None
    cloud: PathCost | None
    uplink: UplinkOracle | None = None


class Decision(NamedTuple):
    """A scheduler's answer. Latency and EA are what it expects, not what comes.

    `other_latency_s` and `other_ea` are what it expects of the best use of the path that it has not chosen;
    NaN where it does not look at one.
    """

    path: ExecutionPath
    k: int  # active blocks to process, the most different first
    blocks_computed: int  # those and the others that are computed with them
    dense: bool  # computed by dense inference, which is faster here
    predicted_latency_s: float
    predicted_ea: float
    extrapolated: bool
    other_latency_s: float = math.nan
    other_ea: float = math.nan

    @property
    def blocks_sent(self) -> int:
        """Blocks that cross the uplink before the result: k on the cloud path, none on the edge."""
        return self.k if self.path is ExecutionPath.CLOUD else 0


class Scheduler(Protocol):
    """Chooses a path and a number of blocks for each frame.

    One that has an attribute `wants_truth` that is true finds the link's true future in `observation.uplink`.
    """

    def decide(self, observation: Observation) -> Decision:
        """Decide for one frame.

        Raises:
            ValueError: the observation has no path.
        """
        ...
