"""Are two profiles of the same device? A statistical test with a stated error rate.

At every k that both measured (and for dense inference and extraction) the ratio of geometric mean times gets
an interval from the logarithms, kinds of active set apart and then averaged, all intervals together at the
stated confidence (Šidák). Two runs on one machine are never equal to the last per mille, so the question is
asked with a margin. *Different*: some ratio is shown to lie outside 1 ± margin. *Same*: none is, the average
is shown to lie inside, and a difference of twice the margin in any of them would have been seen. Else
*undecided*. A run that warns of load by other processes, of throttling or of drift is undecided, whatever
its times say. Two runs of one device that differ by no more than the margin
are called different with probability at most 1 − confidence.

Samples are paired by repeat: two runs with one seed measure the same active sets with the same vectors, so
what these cost more or less falls out of the ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from profiler.fit.grouped_samples import OUTLIER_FACTOR
from profiler.fit.least_squares import FloatArray
from profiler.latency.disturbance import disturbances
from profiler.measure.samples import MASKS, SampleTable
from traces.errors import InputError

COMPARED_KEYS = ("model", "resolution_px", "block_px", "precision", "policy", "backend", "clock")


@dataclass(frozen=True, slots=True)
class LatencyRatio:
    """Time of B over time of A for one operation, with its simultaneous interval."""

    what: str
    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    Attributes:
        verdict: ``same``, ``different`` or ``undecided``.
        verdict_from_times: the same by the times alone, as if no run had been disturbed.
        disturbed: ``A: note`` or ``B: note`` for each warning of a run that forbids a verdict.
    """

    verdict: str
    verdict_from_times: str
    disturbed: tuple[str, ...]
    ratios: tuple[LatencyRatio, ...]
    average: LatencyRatio
    margin: float
    confidence: float

    @property
    def worst(self) -> LatencyRatio:
        """The ratio farthest from 1, on the side that its interval supports."""
        return max(self.ratios, key=lambda one: max(math.log(one.low), -math.log(one.high), 0.0) or 1e-12)


def compare(a: SampleTable, b: SampleTable, *, margin: float = 0.05, confidence: float = 0.95) -> Comparison:
    """Compare two sets of samples.

    Args:
        a, b: raw samples of the same model at the same resolution.
        margin: relative difference that two runs on one device may show.
        confidence: of all intervals together.

    Raises:
        InputError: the profiles are of different models, resolutions or settings, or share fewer than 3 k.
    """
    if not 0 <= margin < 1:
        raise InputError(f"margin: expected a share in [0, 1), found {margin}")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: expected a probability in (0, 1), found {confidence}")
    for key in COMPARED_KEYS:
        one, other = a.meta.get(key), b.meta.get(key)
        if one is not None and other is not None and one != other:
            raise InputError(f"compare: expected profiles of the same {key}, found {one!r} and {other!r}")
    pairs = _pairs(a, b)
    shared = sum(what.startswith("k = ") for what, _ in pairs)
    if shared < 3:
        raise InputError(
            f"compare: expected at least 3 k with 3 samples in both {a.where} and {b.where}, found {shared}"
        )
    alone = 1 - confidence ** (1 / len(pairs))
    ratios = tuple(_ratio(what, strata, alone) for what, strata in pairs)
    average = _average(pairs, confidence)
    low, high = 1 / (1 + margin), 1 + margin
    if any(one.low > high or one.high < low for one in ratios):
        verdict_from_times = "different"
    elif (
        low <= average.low
        and average.high <= high
        and all(low**2 <= one.low and one.high <= high**2 for one in ratios)
    ):
        verdict_from_times = "same"
    else:
        verdict_from_times = "undecided"
    disturbed = tuple(
        f"{name}: {note}" for name, one in (("A", a), ("B", b)) for note in disturbances(one.meta)
    )
    verdict = "undecided" if disturbed else verdict_from_times
    return Comparison(verdict, verdict_from_times, disturbed, ratios, average, margin, confidence)


def _pairs(a: SampleTable, b: SampleTable) -> list[tuple[str, list[FloatArray]]]:
    """What both measured: log-ratios by repeat, split into the kinds of active set that both have."""
    shared = np.intersect1d(a.curve()[0], b.curve()[0])
    kinds = (None, *MASKS)
    found = [(f"k = {k:g}", [_log_ratios(a, b, "sparse", k, mask) for mask in kinds]) for k in shared]
    found += [(op, [_log_ratios(a, b, op, None, None)]) for op in ("dense", "extract")]
    kept = [(what, [own for own in strata if len(own) >= 3]) for what, strata in found]
    return [(what, strata) for what, strata in kept if strata]


def _log_ratios(a: SampleTable, b: SampleTable, op: str, k: float | None, mask: str | None) -> FloatArray:
    """log(B/A) of every repeat that both have; outliers (see ``OUTLIER_FACTOR``) left out."""
    first, second = _by_repeat(a, op, k, mask), _by_repeat(b, op, k, mask)
    shared = sorted(first.keys() & second.keys())
    one, other = (np.array([times[repeat] for repeat in shared]) for times in (first, second))
    sound = _sound(one) & _sound(other) if shared else np.zeros(0, bool)
    ratios: FloatArray = np.log(other[sound] / one[sound])
    return ratios


def _by_repeat(samples: SampleTable, op: str, k: float | None, mask: str | None) -> dict[int, float]:
    chosen = samples.op == op
    if k is not None:
        chosen = chosen & (samples.k == k) & (samples.mask == mask)
    return dict(zip(samples.repeat[chosen].tolist(), samples.seconds[chosen].tolist(), strict=True))


def _sound(seconds: FloatArray) -> NDArray[np.bool_]:
    typical = np.median(seconds)
    return (seconds <= OUTLIER_FACTOR * typical) & (seconds >= typical / OUTLIER_FACTOR)


def _ratio(what: str, strata: list[FloatArray], error_rate: float) -> LatencyRatio:
    gap, variance, freedom = _gap(strata)
    reach = float(stats.t.ppf(1 - error_rate / 2, freedom)) * math.sqrt(variance)
    return LatencyRatio(what, math.exp(gap), math.exp(gap - reach), math.exp(gap + reach))


def _average(pairs: list[tuple[str, list[FloatArray]]], confidence: float) -> LatencyRatio:
    """Geometric mean of all ratios; hundreds of samples stand behind it, so the normal quantile serves."""
    gaps = [_gap(strata) for _, strata in pairs]
    gap = sum(one for one, _, _ in gaps) / len(gaps)
    reach = float(stats.norm.ppf(0.5 + confidence / 2)) * math.sqrt(sum(v for _, v, _ in gaps)) / len(gaps)
    return LatencyRatio("average", math.exp(gap), math.exp(gap - reach), math.exp(gap + reach))


def _gap(strata: list[FloatArray]) -> tuple[float, float, float]:
    """Mean over strata of the mean log-ratio, its variance, and Satterthwaite's degrees of freedom."""
    parts = [float(own.var(ddof=1)) / len(own) / len(strata) ** 2 for own in strata]
    variance = sum(parts)
    spread = sum(part**2 / (len(own) - 1) for part, own in zip(parts, strata, strict=True))
    freedom = variance**2 / spread if spread else 1.0
    return sum(float(own.mean()) for own in strata) / len(strata), variance, freedom


def summary(found: Comparison, a: SampleTable, b: SampleTable) -> str:
    """A screen of text: the verdict, then every ratio."""
    names = [f"{one.meta.get('device', 'unnamed')} ({one.where})" for one in (a, b)]
    by_times = {
        "same": f"SAME: on average within ±{found.margin:.0%}, and nowhere shown to be outside",
        "different": f"DIFFERENT: {found.worst.what} is shown to lie outside ±{found.margin:.0%}",
        "undecided": f"UNDECIDED at a margin of ±{found.margin:.0%}: more repeats would tell",
    }[found.verdict_from_times]
    verdict = by_times
    if found.disturbed:
        verdict = (
            f"UNDECIDED: the run of {' and of '.join(sorted({one[0] for one in found.disturbed}))} was"
            f" disturbed, measure again (by the times alone: {by_times})"
        )
    lines = [f"A  {names[0]}", f"B  {names[1]}", verdict]
    lines += [f"reason: {reason}" for reason in found.disturbed]
    lines.append("")
    lines.append(f"{'':>10}  {'B / A':>7}  {found.confidence:.0%} interval, all together")
    lines += [
        f"{one.what:>10}  {one.ratio:7.3f}  {one.low:.3f} to {one.high:.3f}"
        for one in (*found.ratios, found.average)
    ]
    for name, one in (("A", a), ("B", b)):
        notes = [f"{name}: {note}" for note in one.meta.get("notes", ())]
        lines += [f"note: {note}" for note in notes if note not in found.disturbed]
    return "\n".join(lines)
