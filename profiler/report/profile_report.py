"""A report on a fitted profile: a plot and a screen of text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from profiler.latency.files import whole_file
from profiler.refit import FittedProfile

COLOURS = {"random": "#3b6fb6", "clustered": "#d1782b", "recorded": "#4f9a57"}


def summary(found: FittedProfile) -> str:
    """A screen of text: the curve with its errors, how well it predicts, and what to know about it."""
    profile, fit = found.profile, found.fit
    height, width = profile.resolution_px
    curve = profile.quadratic
    lines = [
        f"{profile.model} at {height}x{width} on {profile.device}"
        f" ({profile.precision or 'unknown precision'}, {profile.block_count} blocks of {profile.block_px}"
        " px)",
        f"{int(fit.groups.counts.sum())} sparse samples at {len(fit.groups.k)} k from {profile.k_min} to"
        f" {profile.k_max}, {profile.provenance['curve_follows']}",
        "",
        "T(k) = a·k² + b·k + c        estimate   std. error   95 % analytic            95 % bootstrap",
    ]
    errors = fit.standard_errors
    for i, (name, value) in enumerate(zip("abc", (curve.a_s, curve.b_s, curve.c_s), strict=True)):
        low, high = fit.interval[i]
        boot = "" if fit.bootstrap_interval is None else "{:.3e} to {:.3e}".format(*fit.bootstrap_interval[i])
        lines.append(
            f"  {name}  {('s/block²', 's/block ', 's       ')[i]}             {value:.3e}   {errors[i]:.1e}"
            f"      {low:.3e} to {high:.3e}   {boot}"
        )
    piecewise = found.piecewise.heldout_error
    lines += [
        "",
        f"R² {fit.r2:.4f}; held-out error {_percent(found.heldout_error)}, piecewise linear"
        f" {_percent(piecewise)}, free quadratic {_percent(found.free_quadratic_error)}:"
        f" of the first two the {(found.better or 'unknown').replace('_', ' ')} predicts better",
        f"dense {profile.dense_s * 1e3:.2f} ms; break-even {_breakeven(found)}",
    ]
    if profile.extract_s is not None:
        lines.append(f"motion search and classification {profile.extract_s * 1e3:.2f} ms")
    if profile.encode_s is not None:
        base, slope = profile.encode_s.base_s, profile.encode_s.per_block_s
        lines.append(f"encoding {base * 1e3:.2f} ms + {slope * 1e6:.2f} µs a block")
    if profile.layers:
        total_s = sum(layer.seconds for layer in profile.layers)
        slowest = max(profile.layers, key=lambda layer: layer.seconds)
        lines.append(
            f"{len(profile.layers)} layers, {total_s * 1e3:.2f} ms in all; slowest {slowest.name}"
            f" {slowest.seconds * 1e3:.2f} ms"
        )
    if profile.power_w is not None:
        lines.append(f"power: idle {_watts(profile.power_w.idle_w)}, busy {_watts(profile.power_w.busy_w)}")
    lines += [f"note: {finding}" for finding in found.findings]
    return "\n".join(lines)


def plot_profile(found: FittedProfile, path: Path | str) -> None:
    """Draw samples, fit, intervals and break-even above the residuals, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    profile, fit, groups = found.profile, found.fit, found.fit.groups
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    grid = np.linspace(0, profile.block_count, 400)
    curve, error = fit.seconds(grid) * 1e3, 1.96 * fit.mean_error_s(grid) * 1e3
    typical = float(groups.means_s.max()) * 1e3

    chosen = (found.samples.op == "sparse") & ~np.isnan(found.samples.k)
    k, seconds, masks = found.samples.k[chosen], found.samples.seconds[chosen], found.samples.mask[chosen]
    shift = {"random": -1, "clustered": 0, "recorded": 1}
    for mask, colour in COLOURS.items():
        own = masks == mask
        if own.any():
            beside = k[own] + shift[mask] * profile.block_count / 250
            above.plot(beside, seconds[own] * 1e3, ".", ms=3, alpha=0.4, color=colour, label=f"{mask} sets")
            ratio = seconds[own] / fit.seconds(k[own])
            below.plot(beside, ratio, ".", ms=3, alpha=0.4, color=colour)
    above.plot(grid, curve, color="black", lw=1.5, label="quadratic, 95 % of the mean")
    above.fill_between(grid, curve - error, curve + error, color="black", alpha=0.2, lw=0)
    above.plot(
        found.piecewise.k,
        np.array(found.piecewise.knot_s) * 1e3,
        "--",
        color="#8a3ba8",
        lw=1,
        label="piecewise linear",
    )
    above.axhline(profile.dense_s * 1e3, color="#b03030", lw=1, label=f"dense {profile.dense_s * 1e3:.1f} ms")
    if np.isfinite(found.breakeven.k) and profile.breakeven_k is not None:
        high = min(found.breakeven.high, profile.block_count)
        above.axvspan(min(found.breakeven.low, profile.block_count), high, color="#b03030", alpha=0.12, lw=0)
        above.axvline(
            found.breakeven.k, color="#b03030", lw=1, ls=":", label=f"break-even {_breakeven(found)}"
        )
    above.set_ylim(0, 1.45 * max(typical, profile.dense_s * 1e3))
    above.set_ylabel("latency (ms)")
    above.set_title(
        f"{profile.model}, {profile.resolution_px[0]}x{profile.resolution_px[1]} px, {profile.device}"
    )
    above.legend(loc="upper left", fontsize=8, frameon=False)

    quantiles = profile.residual_quantiles
    assert quantiles is not None
    ratio_table = np.array(quantiles.ratio)
    for level, style in ((0.05, ":"), (0.5, "-"), (0.95, ":"), (0.99, "--")):
        row = ratio_table[:, quantiles.levels.index(level)]
        below.plot(quantiles.k, row, style, color="black", lw=1, label=f"p{level * 100:g}")
    shown = ratio_table[:, [quantiles.levels.index(0.01), quantiles.levels.index(0.99)]]
    below.set_ylim(min(0.9, shown.min() - 0.05), max(1.1, shown.max() + 0.1))
    below.set_xlim(-0.01 * profile.block_count, 1.01 * profile.block_count)
    below.set_xlabel(f"blocks processed, k (of {profile.block_count})")
    below.set_ylabel("measured / T(k)")
    below.legend(loc="upper right", ncols=4, fontsize=8, frameon=False)
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=110, metadata={"Software": None})


def _breakeven(found: FittedProfile) -> str:
    if found.profile.breakeven_k is None:
        if not len(found.samples.seconds_of("dense")):
            return "unknown: no dense samples"
        return "none: sparse inference of the whole frame is still faster"
    low, high = found.breakeven.low, min(found.breakeven.high, found.profile.block_count)
    share = found.breakeven.k / found.profile.block_count
    return f"at k = {found.breakeven.k:.0f} ({share:.0%}; {low:.0f} to {high:.0f})"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2%}"


def _watts(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} W"
