"""Repeated measurements of a curve, grouped by k: the checks and statistics that every fit starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profiler.fit.least_squares import FloatArray
from traces.errors import InputError

OUTLIER_FACTOR = 10.0
"""A sample this many times above (or below) its group's median is left out as an outlier: it would move a
least-squares curve more than all the others together."""


@dataclass(frozen=True, slots=True)
class GroupedSamples:
    """Samples by distinct k, ascending, gross outliers left out.

    Attributes:
        k: (G,) distinct block counts.
        values: G arrays of kept samples, seconds.
        outliers: (k, seconds, typical seconds) of each sample left out.
    """

    k: FloatArray
    values: tuple[FloatArray, ...]
    outliers: tuple[tuple[float, float, float], ...]

    @property
    def counts(self) -> NDArray[np.int64]:
        """(G,) samples of each group."""
        return np.array([len(group) for group in self.values])

    @property
    def means_s(self) -> FloatArray:
        """(G,) mean of each group."""
        return np.array([group.mean() for group in self.values])

    @property
    def flat(self) -> tuple[FloatArray, FloatArray]:
        """All kept samples as (n,) k and (n,) seconds."""
        return np.repeat(self.k, self.counts), np.concatenate(self.values)

    def without(self, index: int) -> GroupedSamples:
        """All groups but one."""
        keep = [i for i in range(len(self.k)) if i != index]
        return GroupedSamples(self.k[keep], tuple(self.values[i] for i in keep), self.outliers)


def group_by_k(k: FloatArray, seconds: FloatArray, where: str = "samples") -> GroupedSamples:
    """Check samples and group them by k.

    Args:
        k: (n,) block counts.
        seconds: (n,) measured times.
        where: what error messages call the samples, a file for instance.

    Raises:
        InputError: shapes differ, nothing there, or a k or time is negative, zero or not finite.
    """
    k, seconds = np.asarray(k, float), np.asarray(seconds, float)
    if k.ndim != 1 or k.shape != seconds.shape:
        raise InputError(
            f"{where}: expected k and seconds of one length, found {k.shape} and {seconds.shape}"
        )
    if not len(k):
        raise InputError(f"{where}: expected sparse samples over k, found none")
    for name, values, sound, what in (
        ("k", k, np.isfinite(k) & (k >= 0), "a block count ≥ 0"),
        ("seconds", seconds, np.isfinite(seconds) & (seconds > 0), "a time above 0 (seconds)"),
    ):
        if not sound.all():
            row = int(np.flatnonzero(~sound)[0])
            raise InputError(f"{where}: row {row}: {name}: expected {what}, found {values[row]:g}")
    distinct = np.unique(k)
    members = [seconds[k == one] for one in distinct]
    kept: list[FloatArray] = []
    outliers: list[tuple[float, float, float]] = []
    for i, (one, own) in enumerate(zip(distinct, members, strict=True)):
        # The median of one or two samples says nothing: that of their neighbours is used.
        typical = float(np.median(own if len(own) > 2 else np.concatenate(members[max(i - 1, 0) : i + 2])))
        fine = (own <= OUTLIER_FACTOR * typical) & (own >= typical / OUTLIER_FACTOR)
        if len(own) <= 2 and len(members) > 2 and i == 0:  # an end has one side: T never falls,
            typical = float(min(map(np.median, members[1:3])))
            fine = own <= OUTLIER_FACTOR * typical
        elif len(own) <= 2 and len(members) > 2 and i == len(members) - 1:  # and grows by k² at most
            j = max((j for j in range(i) if len(kept[j])), default=0)
            typical = float(np.median(members[j])) * (one / max(distinct[j], 1.0)) ** 2
            fine = (own <= OUTLIER_FACTOR * typical) & (own >= np.median(members[j]) / OUTLIER_FACTOR)
        outliers += [(float(one), float(value), typical) for value in own[~fine]]
        kept.append(own[fine])
    alive = [i for i, own in enumerate(kept) if len(own)]
    return GroupedSamples(distinct[alive], tuple(kept[i] for i in alive), tuple(outliers))
