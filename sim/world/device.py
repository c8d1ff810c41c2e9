"""A device: its processor, and how long a model takes on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from profiler.latency import Profile
from sim.physics.faults import Slowdown
from sim.physics.processor import Processor


class Noise:
    """Where service times get their scatter: uniform numbers, drawn in batches for speed."""

    __slots__ = ("_batch", "_rng")

    def __init__(self, rng: np.random.Generator | None) -> None:
        self._rng = rng
        self._batch: list[float] = []

    def uniform(self) -> float:
        """The next number in [0, 1); always 0.5 where there is no generator (deterministic runs)."""
        if self._rng is None:
            return 0.5
        if not self._batch:
            self._batch = self._rng.random(1024).tolist()
        return self._batch.pop()


@dataclass(frozen=True, slots=True)
class Device:
    """A processor and how long a model takes on it.

    Args:
        processor: its queue.
        profile: its latency model.
        noise: samples the profile's residuals; None gives the model's own curve.
        slowdown: makes it slower than the profile says; None: it is not.
    """

    processor: Processor
    profile: Profile
    noise: Noise | None = None
    slowdown: Slowdown | None = None

    def taking_s(self, service_s: float) -> float:
        """What work takes here and now that would take so long by the profile."""
        if self.slowdown is None:
            return service_s
        return service_s * self.slowdown.factor_at(self.processor.env.now)

    def sparse_s(self, blocks: int) -> float:
        """Time of one sparse inference over `blocks` blocks."""
        if self.noise is None:
            return self.taking_s(self.profile.sparse_s(blocks))
        return self.taking_s(self.profile.sample_s(blocks, self.noise.uniform()))

    def extract_s(self) -> float:
        """Time of motion search and classification; 0 where the profile has none."""
        if self.noise is None:
            return self.taking_s(self.profile.extract_s or 0.0)
        return self.taking_s(self.profile.extract_sample_s(self.noise.uniform()))

    def dense_s(self) -> float:
        """Time of one dense inference."""
        if self.noise is None:
            return self.taking_s(self.profile.dense_s)
        return self.taking_s(self.profile.dense_sample_s(self.noise.uniform()))
