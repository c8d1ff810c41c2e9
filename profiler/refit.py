"""From raw samples to a profile: every fit of a run in one place, with no hardware needed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from profiler.fit.breakeven import BreakEven, break_even
from profiler.fit.free_quadratic import fit_free_quadratic, free_quadratic_error
from profiler.fit.grouped_samples import OUTLIER_FACTOR, group_by_k
from profiler.fit.holdout import heldout_errors, median_error
from profiler.fit.least_squares import FloatArray, nonnegative_least_squares
from profiler.fit.piecewise import fit_piecewise
from profiler.fit.quadratic import QuadraticFit, fit_quadratic, predict_quadratic
from profiler.fit.residuals import residual_quantiles
from profiler.latency import Encoding, Layer, PiecewiseLinear, Power, Profile, Quadratic
from profiler.measure.samples import MARGIN, MASKS, SampleTable
from traces.errors import InputError

QUADRATIC, PIECEWISE = "quadratic", "piecewise_linear"
IDENTITY = ("device", "model", "resolution_px", "block_px", "precision")


@dataclass(frozen=True, slots=True)
class FittedProfile:
    """A profile and the fits it was made from."""

    profile: Profile
    fit: QuadraticFit
    piecewise: PiecewiseLinear
    heldout_error: float | None
    better: str | None
    free_quadratic_error: float | None
    breakeven: BreakEven
    mask_ratios: Mapping[str, float]
    findings: tuple[str, ...]
    samples: SampleTable


def fit_profile(
    samples: SampleTable, overrides: Mapping[str, Any] | None = None, *, seed: int = 0, draws: int = 1000
) -> FittedProfile:
    """Fit everything a profile holds.

    Args:
        samples: raw samples; their meta names device, model, resolution and block size.
        overrides: the same for a file without meta; what neither knows gets a neutral name, and a square
            frame that the largest k fits into.
        seed: of the bootstrap; the same samples and seed give the same profile, byte for byte.
        draws: bootstrap refits.

    Raises:
        InputError: the sparse samples do not determine a curve, k exceeds the frame's blocks, or an override
            contradicts what was measured.
    """
    findings: list[str] = list(samples.meta.get("notes", ()))
    identity = _identity(samples, overrides or {}, findings)
    height, width = identity["resolution_px"]
    block = identity["block_px"]
    blocks = -(-height // block) * -(-width // block)
    followed = fitted_masks(samples)
    k, seconds = samples.curve(masks=followed)
    if len(k) and k.max() > blocks:
        raise InputError(
            f"{samples.where}: k: expected at most {blocks} blocks ({height}x{width} px in blocks of"
            f" {block}), found {k.max():g}"
        )
    fit = fit_quadratic(
        k, seconds, draws=draws, generator=np.random.default_rng(seed), where=f"{samples.where}: sparse"
    )
    findings += fit.findings
    piecewise = fit_piecewise(fit.groups)
    heldout = median_error(heldout_errors(fit.groups, predict_quadratic))
    dense, extract = (_without_outliers(samples, op, findings) for op in ("dense", "extract"))
    if len(dense):
        dense_s = float(np.median(dense))
        dense_error = float(1.2533 * dense.std() / math.sqrt(len(dense)))  # of a median, normal noise
    else:
        dense_s, dense_error = float(fit.seconds(np.array([blocks]))[0]), 0.0
        findings.append("no dense samples: dense_s is T(all blocks), which says nothing about break-even")
    better = _better(heldout, piecewise.heldout_error)
    free, free_error = (
        fit_free_quadratic(fit.groups, blocks),
        free_quadratic_error(fit.groups, blocks),
    )
    if heldout is not None and free_error is not None and free.a_s < 0 and free_error < 0.5 * heldout:
        findings.append(
            f"a free quadratic would predict held-out points to {free_error:.1%} instead of {heldout:.1%}:"
            " the curvature is negative"
        )
    crossing = break_even(fit, piecewise if better == PIECEWISE else None, dense_s, dense_error, blocks)
    ratios = _mask_ratios(samples, fit)
    for mask, ratio in ratios.items():
        if abs(ratio - 1) > 0.05:
            findings.append(f"{mask} active sets take {ratio:.2f} times the curve")
    curve = fit.seconds(fit.groups.k)
    profile = Profile(
        **identity,
        dense_s=_short(dense_s),
        quadratic=Quadratic(*map(_short, fit.coefficients), *map(_short, fit.standard_errors)),
        provenance={
            **_provenance(samples, fit, better, crossing, ratios, followed, findings),
            "free_quadratic": _free_quadratic(free, free_error),
            **({"margin_ratios": margins} if (margins := _margin_ratios(samples, fit)) else {}),
        },
        extract_s=_short(float(np.median(extract))) if len(extract) else None,
        encode_s=_encoding(samples),
        r2=round(fit.r2, 6),
        heldout_error=None if heldout is None else round(heldout, 6),
        k_min=int(fit.groups.k[0]),
        k_max=int(fit.groups.k[-1]),
        breakeven_k=round(crossing.k, 1) if len(dense) and math.isfinite(crossing.k) else None,
        residual_quantiles=residual_quantiles(
            fit.groups,
            curve,
            fit.noise_s,
            dense if len(dense) else None,
            extract if len(extract) else None,
        ),
        alternative=PiecewiseLinear(
            piecewise.k,
            tuple(map(_short, piecewise.knot_s)),
            None if piecewise.heldout_error is None else round(piecewise.heldout_error, 6),
        ),
        power_w=Power(**samples.meta["power_w"]) if samples.meta.get("power_w") else None,
        layers=_layers(samples),
    )
    return FittedProfile(
        profile,
        fit,
        piecewise,
        heldout,
        better,
        free_error,
        crossing,
        ratios,
        tuple(findings),
        samples,
    )


def _without_outliers(samples: SampleTable, op: str, findings: list[str]) -> FloatArray:
    """(m,) times of an operation, without outliers."""
    seconds = samples.seconds_of(op)
    if not len(seconds):
        return seconds
    groups = group_by_k(np.zeros_like(seconds), seconds, f"{samples.where}: {op}")
    if groups.outliers:
        _, worst, typical = max(groups.outliers, key=lambda one: one[1] / one[2])
        findings.append(
            f"{len(groups.outliers)} of {len(seconds)} {op} samples lie more than {OUTLIER_FACTOR:g}"
            f" times off and were left out ({worst:.3g} s, typical {typical:.3g} s)"
        )
    return groups.flat[1]


def fitted_masks(samples: SampleTable) -> tuple[str, ...] | None:
    """The kinds of mask whose samples the curve is fitted to; None for all.

    Recorded ones where every k has at least five of them: they are what a system meets on real video. Random
    sets touch more of the deep maps and clustered ones fewer, and pooling all three would pass the difference
    off as noise.
    """
    k, _ = samples.curve()
    recorded, _ = samples.curve(masks=("recorded",))
    distinct, counts = np.unique(recorded, return_counts=True)
    enough = len(distinct) > 2 and counts.min() >= 5 and np.array_equal(distinct, np.unique(k))
    return ("recorded",) if enough else None


def _better(quadratic: float | None, piecewise: float | None) -> str | None:
    if quadratic is None or piecewise is None:
        return None
    return QUADRATIC if quadratic <= piecewise else PIECEWISE


def _identity(samples: SampleTable, overrides: Mapping[str, Any], findings: list[str]) -> dict[str, Any]:
    meta = samples.meta
    for name in ("resolution_px", "block_px", "precision"):
        asked, measured = overrides.get(name), meta.get(name)
        if isinstance(measured, list):
            measured = tuple(measured)
        if asked is not None and measured is not None and asked != measured:
            raise InputError(
                f"{samples.where}: {name}: measured at {measured}, asked for {asked}:"
                " a profile holds only where it was measured, measure again there"
            )
    known = {name: overrides.get(name, meta.get(name)) for name in IDENTITY}
    block = int(known["block_px"] or 16)
    if known["resolution_px"] is None:
        k, _ = samples.curve()
        side = block * math.ceil(math.sqrt(k.max() if len(k) else 1))
        known["resolution_px"] = (side, side)
        findings.append(f"the samples name no resolution: {side}x{side} px is the least that k fits into")
    height, width = known["resolution_px"]
    return {
        "device": str(known["device"] or "unnamed"),
        "model": str(known["model"] or "unnamed"),
        "resolution_px": (int(height), int(width)),
        "block_px": block,
        "precision": known["precision"],
    }


def _mask_ratios(samples: SampleTable, fit: QuadraticFit) -> dict[str, float]:
    """Median of measured over fitted time for each kind of active set."""
    chosen = (samples.op == "sparse") & ~np.isnan(samples.k)
    ratio = samples.seconds[chosen] / fit.seconds(samples.k[chosen])
    masks = samples.mask[chosen]
    return {mask: float(np.median(ratio[masks == mask])) for mask in MASKS if (masks == mask).any()}


def _margin_ratios(samples: SampleTable, fit: QuadraticFit) -> dict[str, dict[str, float]]:
    """Median of measured time with a margin over the curve at the blocks computed, by margin in px and mask.

    1 would say that a run may ask the curve for the blocks that it computes, margin included.
    """
    found: dict[str, dict[str, float]] = {}
    for margin_px, kinds in samples.meta.get("margin_computed", {}).items():
        rows = samples.op == f"{MARGIN}{margin_px}"
        for mask, computed in kinds.items():
            own = rows & (samples.mask == mask)
            known = np.array([str(int(k)) in computed for k in samples.k[own]], bool)
            if not known.any():
                continue
            blocks = np.array([computed[str(int(k))] for k in samples.k[own][known]])
            ratio = float(np.median(samples.seconds[own][known] / fit.seconds(blocks)))
            found.setdefault(margin_px, {})[mask] = round(ratio, 4)
    return found


def _encoding(samples: SampleTable) -> Encoding | None:
    k, seconds = samples.curve("encode")
    if len(np.unique(k)) < 2:
        return None
    groups = group_by_k(k, seconds, f"{samples.where}: encode")
    columns = np.column_stack([np.ones_like(groups.k), groups.k])
    medians = np.array([np.median(own) for own in groups.values])
    base, slope = nonnegative_least_squares(columns, medians, groups.counts / medians**2)
    return Encoding(_short(base), _short(slope))


def _layers(samples: SampleTable) -> tuple[Layer, ...] | None:
    sizes = samples.meta.get("layers")
    if not sizes or not samples.layers:
        return None
    measured = set(samples.layers)
    return tuple(
        Layer(
            one["name"],
            _short(float(np.median(samples.seconds_of("layer:" + one["name"])))),
            int(one["output_bytes"]),
            None if one.get("live_bytes") is None else int(one["live_bytes"]),
        )
        for one in sizes
        if one["name"] in measured
    )


def _provenance(
    samples: SampleTable,
    fit: QuadraticFit,
    better: str | None,
    crossing: BreakEven,
    ratios: Mapping[str, float],
    followed: tuple[str, ...] | None,
    findings: list[str],
) -> dict[str, Any]:
    elsewhere = (*IDENTITY, "layers", "power_w", "source", "notes")
    meta = {key: value for key, value in samples.meta.items() if key not in elsewhere}
    bootstrap = fit.bootstrap_interval
    return {
        "kind": "measured",
        "source": samples.meta.get("source") or "samples fitted without their meta",
        **meta,
        "samples": int(fit.groups.counts.sum()),
        "grid": [int(k) for k in fit.groups.k],
        "interval_95": _intervals(fit.interval),
        "bootstrap_interval_95": None if bootstrap is None else _intervals(bootstrap),
        "lack_of_fit_p": None if fit.lack_of_fit_p is None else _short(fit.lack_of_fit_p),
        "better_on_heldout": better,
        "breakeven_interval": [_finite(crossing.low), _finite(crossing.high)],
        "curve_follows": "recorded active sets" if followed else "all active sets",
        "mask_ratios": {mask: round(ratio, 4) for mask, ratio in ratios.items()},
        "findings": list(findings),
    }


def _free_quadratic(curve: Quadratic, error: float | None) -> dict[str, float | None]:
    coefficients = {"a_s": _short(curve.a_s), "b_s": _short(curve.b_s), "c_s": _short(curve.c_s)}
    return {**coefficients, "heldout_error": None if error is None else round(error, 6)}


def _intervals(interval: FloatArray) -> dict[str, list[float]]:
    return {
        f"{name}_s": [_short(low), _short(high)] for name, (low, high) in zip("abc", interval, strict=True)
    }


def _finite(value: float) -> float | None:
    return round(value, 1) if math.isfinite(value) else None


def _short(value: float) -> float:
    """Nine significant digits: more than any clock has, few enough to read."""
    return float(f"{value:.9g}")
