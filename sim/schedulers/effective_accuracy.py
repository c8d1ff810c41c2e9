"""Effective accuracy: what a result is worth when it is late, and the number of blocks that maximises it.

    EA(k) = A · (k / N) · exp(−λ·T(k)),    T(k) = t₀ + k·w + a·(k + d)² + b·(k + d) + c

(FluxShard, §4.2), with N active blocks, w the wire and encoding time of a block (S/B on the cloud path, 0
on the edge), and d dirty blocks that are computed besides but neither sent nor counted.

d(ln EA)/dk = 1/k − λ·(β + 2·a·k) = 0 with β = b + 2·a·d + w gives 2·a·λ·k² + λ·β·k − 1 = 0, whose positive
root is the paper's equations (1) and (2), (−β + √(β² + 8a/λ)) / 4a. Multiplied by its conjugate it reads

    k* = 2 / (λβ + √((λβ)² + 8·a·λ))

which subtracts nothing, divides by no a and no λ, and tends to 1/(λβ) as a → 0. ln EA is concave in k, so
the best whole number within [1, N] is a neighbour of k*, or N. The paper does not bound k: without the
bound EA exceeds A.
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


def optimum(a_s: float, beta_s: float, decay_per_s: float) -> float:
    """k* of the module's docstring before rounding and bounds; infinite if time costs nothing."""
    linear = decay_per_s * beta_s
    denominator = linear + math.hypot(linear, math.sqrt(8.0 * a_s * decay_per_s))
    return 2.0 / denominator if denominator > 0.0 else math.inf


def best_block_count(
    active: int,
    a_s: float,
    b_s: float,
    decay_per_s: float,
    wire_s_per_block: float = 0.0,
    dirty: int = 0,
) -> int:
    """The whole k in [1, active] with the largest EA; 0 if nothing is active."""
    beta_s = b_s + 2.0 * a_s * dirty + wire_s_per_block
    k = optimum(a_s, beta_s, decay_per_s)
    if k >= active:
        return active
    below = int(k)
    if below == 0:
        return 1
    # ln EA(k + 1) − ln EA(k) = ln(1 + 1/k) − λ·(β + a·(2k + 1))
    gain = math.log1p(1.0 / below) - decay_per_s * (beta_s + a_s * (2 * below + 1))
    return below + 1 if gain > 0.0 else below
