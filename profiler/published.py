"""How far is a measured device from what a paper published of its kind, and what would explain that?

Published profiles are three coefficients and a dense latency without scatter: this is a description, no
test. Ratios are measured over published. Standard errors are those of the measured fit alone.

Papers give neither power mode nor clock. So the question is turned round: if times went with the GPU's
clock alone, at which clock would this device take the published times, and can it run at that? The same for
the number of pixels: on frames of which size would its dense inference take what was published? Where one
factor covers every k, a clock is enough to explain the difference; where the factor depends on k, no clock
and no power mode is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from profiler.latency import Profile
from traces.errors import InputError

SHARES = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)  # of a frame's blocks; 0 is one block
ONE_FACTOR = 0.1  # ratios that differ by less than this share of their mean are one factor


@dataclass(frozen=True, slots=True)
class PublishedGap:
    """One quantity: published, measured, and the standard error of the measured one where there is one."""

    what: str
    published: float
    measured: float
    error: float | None = None

    @property
    def ratio(self) -> float | None:
        """Measured over published; None where nothing was published to divide by."""
        return self.measured / self.published if self.published > 0 else None


def shared_models(published: Sequence[Profile], measured: Sequence[Profile]) -> list[tuple[Profile, Profile]]:
    """Pairs of one model at one resolution; of a network published at others alone, with all of these.

    Raises:
        InputError: there is no such pair, or a profile is not of the kind that its side asks for.
    """
    for one in published:
        if one.provenance["kind"] == "measured":
            raise InputError(f"{one.device}/{one.model}: expected a published profile, found a measured one")
    for one in measured:
        if one.provenance["kind"] != "measured":
            raise InputError(
                f"{one.device}/{one.model}: expected a measured profile, found a {one.provenance['kind']} one"
            )
    pairs = [(a, b) for a in published for b in measured if a.model == b.model]
    named = {b.model for _, b in pairs}
    pairs += [  # a network that was published at other resolutions alone
        (a, b) for b in measured if b.model not in named for a in published if _network(a) == _network(b)
    ]
    for a, b in pairs:
        if a.block_px != b.block_px:
            raise InputError(
                f"compare: expected blocks of {a.block_px} px, found {b.block_px} px in {b.model}"
            )
    if not pairs:
        raise InputError(
            f"compare: expected a model of {sorted(one.model for one in published)}, found"
            f" {sorted(one.model for one in measured)}"
        )
    return pairs


def _network(profile: Profile) -> str:
    """The model without the resolution that its name may end with."""
    height, width = profile.resolution_px
    name = profile.model
    for end in (f"-{height}x{width}", f"-{height}" if height == width else ""):
        if end and name.endswith(end):
            return name[: -len(end)]
    return name


def gaps(published: Profile, measured: Profile) -> list[PublishedGap]:
    """Every quantity that both have: dense latency, coefficients, the curve, extraction, power."""
    a, b = published.quadratic, measured.quadratic
    found = [PublishedGap("dense (s)", published.dense_s, measured.dense_s)]
    coefficients = (
        ("a (s/block²)", a.a_s, b.a_s, b.a_stderr_s),
        ("b (s/block)", a.b_s, b.b_s, b.b_stderr_s),
        ("c (s)", a.c_s, b.c_s, b.c_stderr_s),
    )
    found += [PublishedGap(*one) for one in coefficients]
    for share in SHARES:
        k, other = (max(1, round(share * one.block_count)) for one in (published, measured))
        label = f"T({share:.0%})" if share else "T(1 block)"
        found.append(PublishedGap(f"{label} (s)", a.seconds(k), measured_seconds(measured, other)))
    if published.extract_s is not None and measured.extract_s is not None:
        found.append(PublishedGap("extraction (s)", published.extract_s, measured.extract_s))
    if published.breakeven_k is not None and measured.breakeven_k is not None:
        shares = [
            one.breakeven_k / one.block_count for one in (published, measured) if one.breakeven_k is not None
        ]
        found.append(PublishedGap("break-even share", *shares))
    powers = [one.power_w.busy_w if one.power_w else None for one in (published, measured)]
    if powers[0] is not None and powers[1] is not None:
        found.append(PublishedGap("power (W)", powers[0], powers[1]))
    return found


def measured_seconds(profile: Profile, k: int) -> float:
    """What a measured device takes for k blocks: by the curve that predicts it better, as a run would."""
    better = profile.provenance.get("better_on_heldout")
    curve = profile.alternative if better == "piecewise_linear" and profile.alternative else profile.quadratic
    return float(curve.seconds(k))


def explanations(published: Profile, measured: Profile, found: Sequence[PublishedGap]) -> list[str]:
    """What would explain the gaps, a sentence each."""
    by_name = {one.what: one for one in found}
    curve = [one.ratio for name, one in by_name.items() if name.startswith("T(") and one.ratio]
    dense = by_name["dense (s)"].ratio
    assert dense is not None
    every = [*curve, dense]
    middle = math.exp(sum(map(math.log, every)) / len(every))
    spread = max(every) / min(every)
    said = []
    if spread <= 1 + ONE_FACTOR:
        said.append(f"one factor covers dense inference and every k: {middle:.2f} (within {spread - 1:.0%})")
    else:
        said.append(
            f"no single factor: {min(every):.2f} to {max(every):.2f}: a clock or power mode alone, which"
            " would scale all times alike, cannot explain it; kernels, host and precision can"
        )
    said += _clock(measured.provenance, dense)
    height, width = measured.resolution_px
    side = math.sqrt(1 / dense)
    said.append(
        f"resolution: dense inference here would take the published {published.dense_s:.4g} s on about"
        f" {height * side:.0f}x{width * side:.0f} px, if time went with the pixels (here: {height}x{width})"
    )
    if published.precision is None and measured.precision is not None:
        said.append(f"precision: the paper gives none; {measured.precision} was measured")
    if published.resolution_px != measured.resolution_px:
        said.append(
            f"resolution: published at {published.resolution_px}, measured at {measured.resolution_px}:"
            " compared at the same share of blocks"
        )
    return said


def _clock(provenance: Mapping[str, Any], dense: float) -> list[str]:
    board = provenance.get("board") or {}
    mode, clock = board.get("power_mode"), board.get("gpu_clock")
    said = [f"power mode: {mode} here, none published"] if mode else []
    if not clock:
        return [*said, "clock: the samples hold none, so nothing can be said of it"]
    # The head's reading is of an idle board, whose governor may have lowered the clock: those between rounds
    # are nearer to what was timed.
    now_hz = max((provenance.get("sensors") or {}).get("gpu_hz", [clock["now_hz"]]))
    wanted, most = now_hz * dense, clock["most_hz"]
    now = now_hz / 1e6
    text = f"clock: at {wanted / 1e6:.0f} MHz (now {now:.0f}) dense inference would take the published time"
    if wanted > 1.02 * most:
        text += f"; this board goes up to {most / 1e6:.0f} MHz in this mode: no clock explains it"
    if clock["least_hz"] != most:
        text += "; the clock was not fixed"
    return [*said, text]


def summary(published: Profile, measured: Profile) -> str:
    """The comparison as text."""
    found = gaps(published, measured)
    source = published.provenance.get("source", "")
    lines = [
        f"{measured.device}/{measured.model} (measured) against {published.device}/{published.model}"
        f" ({published.provenance['kind']}: {source})",
        f"{'':18}{'published':>12}{'measured':>12}{'± error':>11}{'ratio':>8}",
    ]
    for one in found:
        error = "" if one.error is None else f"{one.error:.2g}"
        ratio = "–" if one.ratio is None else f"{one.ratio:.2f}"
        lines.append(f"{one.what:18}{one.published:12.4g}{one.measured:12.4g}{error:>11}{ratio:>8}")
    return "\n".join([*lines, *explanations(published, measured, found)])
