"""What a scheduler maximises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import itemgetter

from sim.schedulers.effective_accuracy import DEFAULT_DECAY_PER_S, effective_accuracy
from sim.schedulers.interface import Decision, ExecutionPath
from sim.schedulers.path_cost import PathCost


@dataclass(frozen=True, slots=True)
class EffectiveAccuracyObjective:
    """λ and A: how a latency and a share of processed blocks become an effective accuracy.

    Raises:
        ValueError: a decay below 0 or not finite, or an accuracy outside [0, 1].
    """

    decay_per_s: float = DEFAULT_DECAY_PER_S
    dense_accuracy: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.decay_per_s) and self.decay_per_s >= 0.0):
            raise ValueError(f"decay_per_s: expected at least 0 per second, found {self.decay_per_s!r}")
        if not 0.0 <= self.dense_accuracy <= 1.0:
            raise ValueError(f"dense_accuracy: expected a value from 0 to 1, found {self.dense_accuracy!r}")

    def score(self, active: int, k: int, latency_s: float) -> float:
        """ln(EA / A) of k of ``active`` blocks: unlike EA it still tells two hopeless choices apart."""
        if latency_s == math.inf:
            return -math.inf
        if active == 0:
            return -self.decay_per_s * latency_s
        return math.log(k / active) - self.decay_per_s * latency_s if k else -math.inf

    def best_choice(self, cost: PathCost) -> tuple[int, float, float]:
        """The k of a path with the largest EA, its latency in seconds and its score.

        With a dense fallback T is the smaller of two curves, so EA is the larger of two, and its maximum
        the larger of their two maxima.
        """
        active, wait_s, per_block_s, curve, unsent, computed, dense_s, _, _ = cost
        decay_per_s = self.decay_per_s
        if (
            active == 0
            or computed is not None
            or dense_s < math.inf
            or per_block_s == math.inf
            or wait_s == math.inf
        ):
            candidates = [cost.best_sparse_count(decay_per_s)]
            if dense_s < math.inf:
                candidates.append(cost.best_dense_count(decay_per_s))
            return max((self._valued(cost, k) for k in candidates), key=itemgetter(2))
        # the common case, PathCost.latency_s and score written out for speed
        k = curve.best_block_count(active, decay_per_s, per_block_s, unsent)
        latency_s = wait_s + k * per_block_s + curve.seconds(k + unsent)
        return k, latency_s, math.log(k / active) - decay_per_s * latency_s

    def _valued(self, cost: PathCost, k: int) -> tuple[int, float, float]:
        latency_s = cost.latency_s(k)
        return k, latency_s, self.score(cost.active, k, latency_s)

    def decision(
        self,
        path: ExecutionPath,
        cost: PathCost,
        k: int,
        latency_s: float,
        other_latency_s: float = math.nan,
        other_score: float = math.nan,
    ) -> Decision:
        """The decision for k blocks on a path, with the effective accuracy it promises.

        Args:
            path, cost, k, latency_s: the choice.
            other_latency_s, other_score: of the best choice on the other path; NaN where there is none.
        """
        ea = effective_accuracy(self.dense_accuracy, k, cost.active, latency_s, self.decay_per_s)
        return Decision(
            path,
            k,
            cost.blocks_computed(k),
            cost.runs_densely(k),
            latency_s,
            ea,
            cost.is_extrapolated(k),
            other_latency_s,
            self.dense_accuracy * math.exp(other_score),
        )


DEFAULT_OBJECTIVE = EffectiveAccuracyObjective()


def no_path() -> ValueError:
    """The error for an observation that offers nothing."""
    return ValueError("observation: expected an edge path, a cloud path or both, found neither")
