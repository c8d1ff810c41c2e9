"""The hardest of some settings at which enough replicates meet a requirement, and what is known of others.

Replicate r meets the same network at every setting, so it has a hardest setting h_r of its own: it meets the
requirement up to there and not beyond. Where `need` of n replicates meet it at a setting and not at the next,
that setting is the need-th largest of h_1 … h_n. Of an order statistic of independent values of any
distribution it is known which share of all values reaches it: with confidence C at least

    B(1 − C; need, n − need + 1),

B being the quantile function of the beta distribution (Wilks, "Determination of sample sizes for setting
tolerance limits", Annals of Mathematical Statistics 12, 1941). It is Clopper and Pearson's lower bound, and
it holds although the setting was searched for, since the search only finds the order statistic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from sim.records.intervals import CONFIDENCE


def hardest(count: int, meets: Callable[[int], bool]) -> int | None:
    """The last of some settings, the easiest first, that meets a requirement; None where the first does not.

    It asks at the first, then at twice as far each time, then bisects: about 2·log2(answer) times.

    Args:
        count: how many settings there are; at least one.
        meets: whether the requirement is met at a setting; once it is not, it is not beyond.
    """
    if not meets(0):
        return None
    good, step = 0, 1
    bad = count
    while good + step < count:
        if not meets(good + step):
            bad = good + step
            break
        good, step = good + step, 2 * step
    while bad - good > 1:
        middle = (good + bad) // 2
        if meets(middle):
            good = middle
        else:
            bad = middle
    return good


def needed(replicates: int, share: float) -> int:
    """How many of some replicates are at least this share of them; one at least."""
    return max(1, math.ceil(share * replicates - 1e-9))


def share_reached(replicates: int, need: int) -> float:
    """The share of all realisations that reaches the need-th best of some replicates, at 95 %."""
    from scipy.stats import beta

    return float(beta.ppf(1.0 - CONFIDENCE, need, replicates - need + 1))


def not_monotone(trials: Sequence[Sequence[bool]]) -> int:
    """How many replicates meet a requirement at a setting though they do not at an easier one.

    Args:
        trials: by setting, the easiest first, whether each replicate meets it.
    """
    return sum(any(late and not early for early, late in pairwise(one)) for one in zip(*trials, strict=True))
