"""Effective accuracy: what a result is worth when it is late.

    EA(k) = A · (k / N) · exp(−λ·T(k)),    T(k) = t₀ + k·w + C(m(k))

(FluxShard, §4.2), with N active blocks, w the wire and encoding time of a block (S/B on the cloud path, 0
on the edge) and C the latency curve, which is asked for the blocks computed, m(k) ≥ k: k of them are sent,
the others are known to the server already or lie in a margin around the active ones. The best k follows
from the curve (:mod:`profiler.latency.curves`).
"""

from __future__ import annotations

import math

#: Accuracy halves in 100 ms. The papers do not publish λ; this is a choice, to be swept.
DEFAULT_DECAY_PER_S = math.log(2) / 0.1


def effective_accuracy(accuracy: float, k: int, active: int, latency_s: float, decay_per_s: float) -> float:
    """EA of processing k of ``active`` blocks in ``latency_s``; nothing active means nothing is missed.

    A result that never comes (infinite latency) is worth nothing, even where λ is 0.

    Raises:
        ValueError: k is not within [0, active].
    """
    if not 0 <= k <= active:
        raise ValueError(f"k: expected 0 to {active} blocks (those active), found {k}")
    if latency_s == math.inf:
        return 0.0
    share = k / active if active else 1.0
    return accuracy * share * math.exp(-decay_per_s * latency_s)
